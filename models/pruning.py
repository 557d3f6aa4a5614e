"""One head of a UNet++, or all of them: the paper's pruned, fast and accurate modes.

Zhou et al., https://arxiv.org/abs/1912.05074, sections III-B and V: a network trained with deep supervision contains
shallower ones that answer by themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from models.unetplusplus import prune_level


def prune(
    model: keras.Model,
    level: int | str,
    *,
    deep_supervision: bool = False,
    output_weights: Sequence[float] | None = None,
) -> keras.Model:
    """The shallower network inside a trained UNet++: the nodes with i + j <= level and their head.

    Its answer is head `level` of the whole network, bit for bit without XLA. It shares the layers of `model`: training
    the one changes the other. Saved, it is a small network of its own.

    Args:
        model: From `unetplusplus` with `deep_supervision=True`.
        level: 1 to depth, as `3` or `"L3"`.
        deep_supervision: Whether the heads below `level` stay as further outputs.
        output_weights: Weights the heads were trained with, last head first, where they are known.

    Returns:
        A network of float32 logits `(b, *s, k)`; with `deep_supervision` a list, head `level` first.

    Raises:
        ValueError: The model has no such head, or the head was trained with weight 0.
    """
    outputs = _outputs_by_level(model)
    wanted = prune_level(level, max(outputs))
    if wanted not in outputs:
        raise ValueError(
            f"This UNet++ has no head at L{wanted}, only at {_listed(outputs)}. Train it with "
            "MODEL.DEEP_SUPERVISION=True, or train the small network itself with MODEL.PRUNE_AT."
        )
    if output_weights is not None and output_weights[list(outputs).index(wanted)] == 0:
        raise ValueError(
            f"Head L{wanted} was trained with weight 0 and has learned nothing. Prune to another level, or train with "
            "every weight of LOSS.OUTPUT_WEIGHTS above 0."
        )
    kept = [outputs[n] for n in range(wanted, 0, -1) if n in outputs] if deep_supervision else outputs[wanted]
    return keras.Model(model.inputs[0], kept, name=model.name)


def mean_of_heads(
    model: keras.Model, *, levels: Sequence[int | str] | None = None, overlapping: bool = False
) -> keras.Model:
    """The accurate mode: the mean of the heads' probabilities, written as logits.

    A softmax (or sigmoids) of the answer are the mean probabilities, so the network is used like any other.

    Args:
        model: From `unetplusplus` with `deep_supervision=True`.
        levels: Heads to average; `None` means all.
        overlapping: Whether the k > 1 classes are independent sigmoids (regions) instead of a softmax.

    Returns:
        A network of float32 logits `(b, *s, k)` that shares the layers of `model`.

    Raises:
        ValueError: The model has not the heads asked for.
    """
    outputs = _outputs_by_level(model)
    wanted = list(outputs) if levels is None else sorted({prune_level(n, max(outputs)) for n in levels}, reverse=True)
    absent = [n for n in wanted if n not in outputs]
    if absent or not wanted:
        raise ValueError(
            f"This UNet++ has heads at {_listed(outputs)}, not at {_listed(absent)}. Train it with "
            "MODEL.DEEP_SUPERVISION=True, or average other heads."
        )
    mean: Any = MeanOfHeads(overlapping=overlapping, name="mean_of_heads")
    return keras.Model(model.inputs[0], mean([outputs[n] for n in wanted]), name=model.name)


def choose_heads(model: keras.Model, heads: str | int | Sequence[int | str]) -> keras.Model:
    """The network with the heads that are asked for.

    Args:
        model: From `unetplusplus` with `deep_supervision=True`.
        heads: `"accurate"`: the mean of all; `"L3"` or `3`: that one; a list: the mean of these.

    Raises:
        ValueError: The model is no UNet++, or has not these heads.
    """
    if heads == "accurate":
        return mean_of_heads(model)
    if isinstance(heads, str | int):
        return prune(model, heads)
    return mean_of_heads(model, levels=list(heads))


@keras.saving.register_keras_serializable(package="medical_unets")  # pyright: ignore[reportUntypedClassDecorator]
class MeanOfHeads(keras.layers.Layer):
    """Mean of probabilities, from logits to logits; float32.

    With a softmax the answer is the logarithm of the mean, `log (1/n sum_h p_h)`; with a sigmoid its logit,
    `log (sum_h p_h) - log (sum_h (1 - p_h))`. Both stay finite where every head is certain.

    Args:
        overlapping: Whether k > 1 channels are independent sigmoids. One channel always is.
        options: Of `keras.layers.Layer`.
    """

    def __init__(self, *, overlapping: bool = False, **options: Any) -> None:
        super().__init__(**{"dtype": "float32"} | options)
        self.overlapping = overlapping

    def call(self, inputs: Sequence[Any]) -> Any:
        """Logits `(b, *s, k)` from n logits of that shape."""
        logits = ops.stack(list(inputs))
        if self.overlapping or inputs[0].shape[-1] == 1:
            foreground = ops.logsumexp(ops.log_sigmoid(logits), axis=0)
            return foreground - ops.logsumexp(ops.log_sigmoid(-logits), axis=0)
        return ops.logsumexp(ops.log_softmax(logits), axis=0) - ops.log(float(len(inputs)))

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Shape of one head."""
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "overlapping": self.overlapping}


def _outputs_by_level(model: keras.Model) -> dict[int, keras.KerasTensor]:
    """Level of a head to its logits, last head first.

    Raises:
        ValueError: The model is no UNet++.
    """
    named: Mapping[str, Any] = dict(zip(model.output_names, model.outputs, strict=True))
    levels = {
        int(name.removeprefix("head")): tensor
        for name, tensor in named.items()
        if model.name == "unetplusplus" and name.removeprefix("head").isdigit()
    }
    if not levels:
        raise ValueError(f"{model.name} has no nested heads to choose from. Only MODEL.TYPE=unetplusplus has.")
    return levels


def _listed(levels: Sequence[int] | Mapping[int, Any]) -> str:
    return ", ".join(f"L{level}" for level in levels)
