"""The whole objective of a network: every supervised output, and the classification head where there is one."""

from collections.abc import Sequence

from keras import ops

from losses.encoding import Tensor
from losses.loss import SegmentationLoss


class Objective:
    """A loss summed over the outputs of a network.

    Outputs of rank 2, `(b, 2)`, are class logits and get binary cross-entropy against "this image holds foreground";
    all others are segmentation logits, finest first, and get `loss`. Labels are brought to each output's resolution
    by taking voxel `f // 2` of every `f` (nearest-exact), never by interpolation.
    """

    def __init__(
        self,
        loss: SegmentationLoss,
        *,
        output_weights: Sequence[float] | None = None,
        classification_weight: float = 1.0,
    ):
        """State what is summed.

        Args:
            loss: From `losses.build_loss`.
            output_weights: One weight for each segmentation output, used as given; outputs of weight 0 are skipped.
                `None`: equal weights `1 / n` if all outputs have the label's resolution (UNet 3+, UNet++), otherwise
                `1, 1/2, 1/4, ...` with the last one 0, scaled to the sum 1 (nnU-Net). A single output has weight 1.
            classification_weight: Of the class logits' cross-entropy.

        Raises:
            ValueError: A weight is negative, or all are 0.
        """
        if output_weights is not None and (min(output_weights, default=0) < 0 or not any(output_weights)):
            raise ValueError(f"output_weights={list(output_weights)} must be numbers of at least 0, not all 0.")
        self.loss = loss
        self.output_weights = output_weights
        self.classification_weight = classification_weight

    def __call__(self, y_true: Tensor, outputs: Tensor | Sequence[Tensor]) -> Tensor:
        """The value to minimise.

        Args:
            y_true: Labels, `(b, *s, 1)`.
            outputs: What the network returned, one tensor or several.

        Returns:
            A float32 scalar.
        """
        terms = self.terms(y_true, outputs)
        return sum(terms[name] for name in ("segmentation", "classification") if name in terms)

    def terms(self, y_true: Tensor, outputs: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """The value in parts, for separate logging; weights are included.

        Returns:
            `segmentation`, the sum over outputs; each summand of the loss by its name (`focal`, `ms_ssim`, ...), which
            add up to `segmentation`; and `classification` where there are class logits.
        """
        outputs = [ops.convert_to_tensor(x) for x in (outputs if isinstance(outputs, list | tuple) else [outputs])]
        y_true = ops.cast(y_true, "int32")
        maps = [x for x in outputs if len(x.shape) != 2]
        totals: dict[str, Tensor] = {}
        for weight, logits in zip(self._weights(y_true, maps), maps, strict=True):
            if weight:
                for name, value in self.loss.terms(resize_labels(y_true, logits), logits).items():
                    totals[name] = totals.get(name, 0.0) + weight * value
        terms = {"segmentation": sum(totals.values()), **totals}
        for logits in (x for x in outputs if len(x.shape) == 2):
            value = presence_cross_entropy(y_true, logits, ignore_label=self.loss.ignore_label)
            terms["classification"] = terms.get("classification", 0.0) + self.classification_weight * value
        return terms

    def _weights(self, y_true: Tensor, maps: Sequence[Tensor]) -> Sequence[float]:
        if not maps:
            raise ValueError("The network returned no segmentation output, only class logits of rank 2.")
        if self.output_weights is None:
            full = all(tuple(x.shape[1:-1]) == tuple(y_true.shape[1:-1]) for x in maps)
            return [1.0 / len(maps)] * len(maps) if full else decreasing_weights(len(maps))
        if len(self.output_weights) != len(maps):
            raise ValueError(
                f"{len(self.output_weights)} output weights are given for {len(maps)} segmentation outputs: "
                f"{list(self.output_weights)}."
            )
        return self.output_weights


def decreasing_weights(count: int) -> list[float]:
    """Weights of nnU-Net's deep supervision: `1, 1/2, 1/4, ...`, the last 0, scaled to the sum 1; one output: `[1]`."""
    raw = [0.5**i for i in range(count)]
    if count > 1:
        raw[-1] = 0.0
    return [x / sum(raw) for x in raw]


def resize_labels(y_true: Tensor, logits: Tensor) -> Tensor:
    """Labels at the resolution of `logits`: voxel `f // 2` of every `f` on each axis.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        logits: `(b, *r, k)`, each size of `s` a multiple of that of `r`.

    Returns:
        Labels, `(b, *r, 1)`.

    Raises:
        ValueError: A size is no multiple.
    """
    for axis in range(1, len(logits.shape) - 1):
        large, few = y_true.shape[axis], logits.shape[axis]
        if None in (large, few):
            few = ops.shape(logits)[axis]
            factor = ops.shape(y_true)[axis] // few
            y_true = ops.take(y_true, factor // 2 + factor * ops.arange(few), axis=axis)
            continue
        if large % few:
            raise ValueError(
                f"Labels {tuple(y_true.shape)} cannot be brought to an output {tuple(logits.shape)}: "
                f"axis {axis} has {large} voxels, no multiple of {few}. Choose an input size the network divides."
            )
        factor = large // few
        index = [slice(None)] * len(y_true.shape)
        index[axis] = slice(factor // 2, None, factor)
        y_true = y_true[tuple(index)] if factor > 1 else y_true
    return y_true


def presence_cross_entropy(y_true: Tensor, logits: Tensor, *, ignore_label: int) -> Tensor:
    """Binary cross-entropy of class logits against "the image holds a foreground voxel that is not ignored".

    Args:
        y_true: Labels, `(b, *s, 1)`.
        logits: `(b, 2)`, absent and present; or `(b, 1)`, present.
        ignore_label: Label of voxels that do not count; images of nothing else do not count either.

    Returns:
        Mean over images and channels, a float32 scalar; 0 if no image counts.
    """
    label = ops.cast(y_true, "int32")
    axes = tuple(range(1, len(y_true.shape)))
    counts = ops.not_equal(label, ignore_label)
    present = ops.cast(ops.any(ops.logical_and(counts, label > 0), axes), "float32")
    known = ops.cast(ops.any(counts, axes), "float32")
    target = ops.stack([1.0 - present, present], axis=-1)[:, -logits.shape[-1] :]
    loss = ops.mean(ops.softplus((1.0 - 2.0 * target) * ops.cast(logits, "float32")), axis=-1)
    return ops.sum(loss * known) / ops.maximum(ops.sum(known), 1.0)
