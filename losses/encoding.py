"""From labels and logits to what all losses share: targets, probabilities, the mask of voxels that count."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

from keras import ops

Tensor: TypeAlias = Any
"""A tensor of whichever backend runs."""

Regions: TypeAlias = Sequence[Sequence[int]]
"""For every output channel the label values that belong to it, for example `[[1, 2, 3], [2, 3], [3]]`."""


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Targets and logits, channels last, float32; ignored voxels hold target 0, logit 0 and valid 0.

    Attributes:
        logits: `(b, *s, k)`.
        target: `(b, *s, k)`, 0 or 1.
        valid: `(b, *s, 1)`, 1 where the voxel counts.
        exclusive: Classes exclude each other (softmax); otherwise every channel is a sigmoid of its own.
    """

    logits: Tensor
    target: Tensor
    valid: Tensor
    exclusive: bool

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial axes, `(1, 2)` or `(1, 2, 3)`."""
        return tuple(range(1, len(self.logits.shape) - 1))

    @functools.cached_property
    def probabilities(self) -> Tensor:
        """Softmax or sigmoid of the logits, `(b, *s, k)`; at ignored voxels 0."""
        activate = ops.softmax if self.exclusive else ops.sigmoid
        return activate(self.logits) * self.valid

    @functools.cached_property
    def channel_cross_entropy(self) -> Tensor:
        """`-log p_t`: `(b, *s, 1)` for softmax, `(b, *s, k)` for sigmoids; at ignored voxels 0."""
        if self.exclusive:
            return -ops.sum(self.target * ops.log_softmax(self.logits), axis=-1, keepdims=True)
        signed = (2.0 * self.target - 1.0) * self.logits
        return ops.softplus(-signed) * self.valid

    def foreground(self, channels: Tensor) -> Tensor:
        """The channels without the background, `(b, *s, k - 1)` for softmax, all `k` for sigmoids."""
        return channels[..., 1:] if self.exclusive else channels

    def mean(self, values: Tensor) -> Tensor:
        """Mean of `(b, *s, n)` over the voxels that count and the channels; 0 where none counts."""
        count = ops.sum(self.valid) * float(values.shape[-1])
        return ops.sum(values * self.valid) / ops.maximum(count, 1.0)


def encode(y_true: Tensor, y_pred: Tensor, *, ignore_label: int, regions: Regions | None) -> Encoded:
    """Prepare labels and logits for a loss.

    Args:
        y_true: Labels, `(b, *s, 1)`, any numeric dtype, integral values.
        y_pred: Logits, `(b, *s, k)`, any floating dtype.
        ignore_label: Voxels of this label are taken out: whatever the logits are there, even NaN.
        regions: Label values of each output channel, or `None` for `k` exclusive classes.

    Returns:
        Targets, logits and mask in float32.

    Raises:
        ValueError: The two shapes do not belong together, or `regions` has another length than `k`.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    channels = _check_shapes(y_true.shape, y_pred.shape, regions)
    label = ops.cast(y_true, "int32")
    counts = ops.not_equal(label, ignore_label)
    valid = ops.cast(counts, "float32")
    logits = ops.where(counts, ops.cast(y_pred, "float32"), 0.0)
    exclusive = regions is None and channels > 1
    if regions is not None:
        hits = [functools.reduce(ops.logical_or, [ops.equal(label, v) for v in values]) for values in regions]
        target = ops.concatenate(hits, axis=-1)
    elif exclusive:
        target = ops.equal(label, ops.arange(channels, dtype="int32"))
    else:
        target = ops.greater(label, 0)
    return Encoded(logits, ops.cast(target, "float32") * valid, valid, exclusive)


def _check_shapes(labels: tuple[int | None, ...], logits: tuple[int | None, ...], regions: Regions | None) -> int:
    channels = logits[-1]
    if len(labels) != len(logits) or labels[-1] != 1 or channels is None:
        raise ValueError(
            f"Labels {tuple(labels)} do not fit logits {tuple(logits)}: labels are (b, *s, 1), logits (b, *s, k)."
        )
    different = [(a, b) for a, b in zip(labels[:-1], logits[:-1], strict=True) if None not in (a, b) and a != b]
    if different:
        raise ValueError(
            f"Labels {tuple(labels)} and logits {tuple(logits)} differ in batch or space; "
            f"resize the labels, as losses.objective.Objective does."
        )
    if regions is not None and len(regions) != channels:
        raise ValueError(f"{len(regions)} regions are declared, but the network has {channels} output channels.")
    return channels


def float_list(values: Sequence[float], length: int, *, name: str) -> Tensor:
    """A constant float32 vector of `length` numbers.

    Raises:
        ValueError: Another number of values was given.
    """
    if len(values) != length:
        raise ValueError(f"{name} has {len(values)} values, but {length} are needed: {list(values)}.")
    return ops.convert_to_tensor([float(v) for v in values], dtype="float32")
