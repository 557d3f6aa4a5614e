"""Activations computed again in the backward pass: a network's training pass in parts that keep only their inputs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from models.costs import Trace, trace

Tensor = Any
Segment = range


@dataclass(frozen=True)
class Part:
    """Some consecutive layers of a network.

    Attributes:
        model: The layers, sharing the network's variables.
        inputs: Numbers of the tensors they read.
        outputs: Numbers of the tensors that later layers read, or the network returns.
    """

    model: keras.Model
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Recomputed:
    """A network's training pass that keeps few activations, and computes the others again when gradients need them.

    The layers, in the order they run, are cut into parts; of each only the tensors that leave it are kept. The cuts are
    those with the smallest sum of what is kept and of the largest part, after Chen et al., "Training Deep Nets with
    Sublinear Memory Cost", 2016, https://arxiv.org/abs/1604.06174. A step costs one forward pass more.
    `keras.RematScope` would wrap each layer by itself, whose inputs are most of the memory, and fails in TensorFlow's
    graphs where layers are called with keywords.

    Random numbers are drawn once: dropout sees the same mask again. The averages of batch normalisation move once.

    Args:
        network: Functional, images `(b, *s, c)` of a known size to logits.
    """

    def __init__(self, network: keras.Model) -> None:
        inner = network.layers[-1]
        whole = inner if len(network.layers) == 2 and isinstance(inner, keras.Model) else network
        self._parts, self._source, self._results = _cut(whole, network.input_shape[1:-1])
        self._single = not isinstance(network.output, list | tuple)

    def __len__(self) -> int:
        return len(self._parts)

    def __call__(self, images: Tensor) -> Tensor | list[Tensor]:
        """What the network returns in training."""
        tensors = {self._source: images}
        for part in self._parts:
            made = _run(part.model, [tensors[place] for place in part.inputs])
            tensors |= dict(zip(part.outputs, made, strict=True))
        results = [tensors[place] for place in self._results]
        return results[0] if self._single else results


def _run(model: keras.Model, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of a part; a pure function of tensors is what backends can recompute."""
    trained, state = model.trainable_variables, model.non_trainable_variables
    weights = [keras.ops.copy(variable.value) for variable in trained]
    before = [keras.ops.copy(variable.value) for variable in state]
    moved: list[int] = []

    def pure(*tensors: Tensor) -> list[Tensor]:
        values = zip([*trained, *state], [*tensors[len(inputs) :], *before], strict=True)
        with keras.StatelessScope(state_mapping=list(values)) as scope:
            outputs = model(list(tensors[: len(inputs)]), training=True)
        after = [scope.get_current_value(variable) for variable in state]
        moved[:] = [place for place, value in enumerate(after) if value is not before[place]]
        return [*keras.tree.flatten(outputs), *(after[place] for place in moved)]

    results = keras.remat(pure)(*inputs, *weights)
    made, after = results[: len(model.outputs)], results[len(model.outputs) :]
    for place, value in zip(moved, after, strict=True):
        state[place].assign(value)
    return list(made)


def _cut(network: keras.Model, size: Sequence[int]) -> tuple[list[Part], int, list[int]]:
    passed = trace(network, size)
    parts = []
    for segment in segments(passed):
        inside = {place for turn in segment for place in passed.calls[turn].outputs}
        read = (place for turn in segment for place in passed.calls[turn].inputs)
        inputs = tuple(dict.fromkeys(place for place in read if place not in inside))
        outputs = tuple(sorted(inside & _leaving(passed, segment.stop)))
        model = keras.Model(
            [passed.tensors[place] for place in inputs],
            [passed.tensors[place] for place in outputs],
            name=f"{network.name}_part_{len(parts)}",
        )
        parts.append(Part(model, inputs, outputs))
    return parts, passed.sources[0], list(passed.results)


def segments(passed: Trace) -> list[Segment]:
    """Consecutive layers as turns of the pass, cut where the memory of a training step becomes least.

    What a step holds is estimated as all tensors that cross a cut, and everything made in the largest segment.
    """
    made = [sum(passed.sizes[place] for place in call.outputs) for call in passed.calls]
    crossing = [_leaving(passed, turn) for turn in range(len(made) + 1)]
    widths = [sum(passed.sizes[place] for place in places) for places in crossing]

    def cost(cuts: Sequence[int]) -> int:
        kept = {place for cut in cuts for place in crossing[cut]}
        return sum(passed.sizes[place] for place in kept) + max(sum(made[a:b]) for a, b in itertools.pairwise(cuts))

    candidates = [_greedy(made, widths, sum(made) / count) for count in range(1, min(len(made), 64) + 1)]
    best = min(candidates, key=cost)
    return [range(a, b) for a, b in itertools.pairwise(best)]


def _greedy(made: Sequence[int], widths: Sequence[int], room: float) -> list[int]:
    """Cuts, the first 0 and the last the end: each the narrowest in the second half of what fits into `room`."""
    cuts = [0]
    while cuts[-1] < len(made):
        reach = list(itertools.accumulate(made[cuts[-1] :]))
        fits = max(1, sum(total <= room for total in reach))
        first = max(1, sum(total <= room / 2 for total in reach[:fits]))
        if fits == len(reach):
            cuts.append(len(made))
        else:
            cuts.append(min(range(cuts[-1] + first, cuts[-1] + fits + 1), key=widths.__getitem__))
    return cuts


def _leaving(passed: Trace, turn: int) -> set[int]:
    """Tensors made before a turn that are read from it on or returned; without the network's inputs."""
    before = {place for call in passed.calls[:turn] for place in call.outputs}
    after = {place for call in passed.calls[turn:] for place in call.inputs} | set(passed.results)
    return before & after
