"""What a network costs before it runs: multiply-adds and memory of one forward pass, from shapes alone."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from models.attention import AttentionResidual, PairedAttention

_SAME_STORAGE = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Identity)
_SAME_AT_INFERENCE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.ActivityRegularization,
)


@dataclass(frozen=True)
class Call:
    """One layer's turn in a forward pass: tensors by a number of their own."""

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """A forward pass of one sample, layer by layer in topological order.

    Attributes:
        calls: Of every layer, in the order Keras runs them.
        tensors: The symbolic tensors by their numbers.
        sources: Tensors of the inputs.
        results: Tensors of the outputs.
        shapes: Tensor to its shape without the batch.
        sizes: Tensor to its bytes.
    """

    calls: tuple[Call, ...]
    tensors: tuple[Any, ...]
    sources: tuple[int, ...]
    results: tuple[int, ...]
    shapes: dict[int, tuple[int, ...]]
    sizes: dict[int, int]


def trace(model: keras.Model, spatial_shape: Sequence[int]) -> Trace:
    """Follows one sample of a size through a network; no value is computed and no weight copied.

    Args:
        model: Functional, each input `(b, *s, c)`.
        spatial_shape: Size `s` of the sample.
    """
    calls: list[Call] = []
    numbers: dict[int, int] = {}
    kept: list[Any] = []

    def number(tensor: Any) -> int:
        if id(tensor) not in numbers:
            numbers[id(tensor)] = len(kept)
            kept.append(tensor)
        return numbers[id(tensor)]

    def call(layer: Any, *args: Any, **options: Any) -> Any:
        answer = layer(*args, **options)
        if not isinstance(layer, keras.layers.InputLayer):
            used = [leaf for leaf in keras.tree.flatten((args, options)) if isinstance(leaf, keras.KerasTensor)]
            made = keras.tree.flatten(answer)
            calls.append(Call(layer, tuple(map(number, used)), tuple(map(number, made))))
        return answer

    inputs = [keras.Input((*spatial_shape, one.shape[-1]), batch_size=1, dtype=one.dtype) for one in model.inputs]
    sources = tuple(number(one) for one in inputs)
    whole = keras.models.clone_model(
        model,
        input_tensors=inputs if len(inputs) > 1 else inputs[0],
        clone_function=lambda layer: layer,
        call_function=call,
    )
    shapes = {place: tuple(int(n or 1) for n in tensor.shape[1:]) for place, tensor in enumerate(kept)}
    sizes = {place: math.prod(shapes[place]) * _bytes(tensor.dtype) for place, tensor in enumerate(kept)}
    results = tuple(number(one) for one in whole.outputs)
    return Trace(tuple(calls), tuple(kept), sources, results, shapes, sizes)


def _bytes(dtype: str) -> int:
    return 1 if dtype == "bool" else int("".join(filter(str.isdigit, dtype)) or 32) // 8


def multiply_adds(model: keras.Model, spatial_shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions, dense layers and attention products for one sample.

    Every layer counts as its definition says, however it is executed: the direct convolution, all its taps inside.
    Normalisations, activations, poolings and bilinear resizing are not counted: they are memory traffic.

    Args:
        model: As in `trace`; convolutions of any kind have a `kernel`.
        spatial_shape: Size `s` of the sample.

    Returns:
        Multiply-adds, twice as many floating-point operations.
    """
    passed = trace(model, spatial_shape)
    return sum(_of_layer(call, passed) for call in passed.calls)


def _of_layer(call: Call, passed: Trace) -> int:
    layer, before, after = call.layer, passed.shapes[call.inputs[0]], passed.shapes[call.outputs[0]]
    if isinstance(layer, keras.Model):
        return multiply_adds(layer, before[:-1])
    if isinstance(layer, AttentionResidual) and isinstance(layer.attention, PairedAttention):
        return attention_multiply_adds(layer.attention, tokens=math.prod(before[:-1]), width=before[-1])
    if not hasattr(layer, "kernel"):
        return 0
    # A transposed convolution spends its kernel at every input position, all others at every output position.
    transposed = type(layer).__name__.endswith("Transpose")
    return math.prod((before if transposed else after)[:-1]) * math.prod(layer.kernel.shape)


def attention_multiply_adds(attention: PairedAttention, *, tokens: int, width: int) -> int:
    """Multiply-adds of a paired attention on `(tokens, width)`.

    With n tokens of c channels, p projected tokens and heads of d channels: `4 n c c` for queries, keys and both
    values; `2 n c p` for the projections of the token axis; `2 n c d` for the channel attention and `2 n c p` for the
    spatial one; `n c c` for the two output layers, which the variant of one matrix lacks.
    """
    each = 4 * width + 4 * attention.tokens + 2 * (width // attention.heads)
    return tokens * width * (each + (0 if attention.projection == "matrix" else width))


def peak_activation_bytes(model: keras.Model, spatial_shape: Sequence[int]) -> int:
    """Largest sum of tensors that must exist at once in a forward pass of one sample.

    A tensor lives from the layer that makes it to the last layer that reads it, outputs to the end; layers run in
    topological order, and while one runs both what it reads and what it makes exist. Reshaped tensors, and those that
    dropout passes on at inference, take no room of their own. Weights and what a layer needs inside are not counted.

    Args:
        model: As in `trace`.
        spatial_shape: Size `s` of the sample.
    """
    passed = trace(model, spatial_shape)
    storage = {place: place for place in passed.shapes}
    for call in passed.calls:
        if isinstance(call.layer, _SAME_STORAGE + _SAME_AT_INFERENCE):
            storage[call.outputs[0]] = storage[call.inputs[0]]
    first, last = dict.fromkeys(passed.sources, 0), dict.fromkeys(passed.sources, 0)
    for turn, call in enumerate(passed.calls):
        for place in map(storage.__getitem__, (*call.inputs, *call.outputs)):
            first.setdefault(place, turn)
            last[place] = turn
    end = len(passed.calls)
    last |= {storage[place]: end for place in passed.results}
    change = [0] * (end + 2)
    for place, turn in first.items():
        change[turn] += passed.sizes[place]
        change[last[place] + 1] -= passed.sizes[place]
    return max(itertools.accumulate(change))


def saved_activation_bytes(model: keras.Model, spatial_shape: Sequence[int]) -> int:
    """Sum of the inputs and of all that layers make for one sample: what a training step keeps for its gradients.

    Reshaped tensors take no room of their own; dropout does. Gradients, weights, optimizer state, and what a layer
    keeps inside are not counted.

    Args:
        model: As in `trace`.
        spatial_shape: Size `s` of the sample.
    """
    passed = trace(model, spatial_shape)
    made = (place for call in passed.calls if not isinstance(call.layer, _SAME_STORAGE) for place in call.outputs)
    return sum(passed.sizes[place] for place in {*passed.sources, *made})
