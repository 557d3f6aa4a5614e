"""Soft intersection over union."""

from keras import ops

from losses.encoding import Regions, Tensor, encode


def iou(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    empty: str = "skip",
    smooth: float = 1.0,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`mean 1 - (I + s) / (U + s)`, `I = sum p g`, `U = sum p + sum g - I`, over images and foreground classes.

    `p` are probabilities, `g` the 0/1 reference, `s` is `smooth`; the sums run over space. What an image without the
    class does is `empty`'s to say, because most slices of a CT hold no liver and a soft sum over 100,000 voxels
    overwhelms any smoothing (constant `p = 1e-3` over 320 x 320 already costs 0.990):

    - `"skip"`: it does not count; 0 if no image of the batch holds any class;
    - `"batch"`: the sums run over the batch, and a class absent from all of it costs `1 - s / (sum p + s)`;
    - `"keep"`: it costs `1 - s / (sum p + s)`.

    Source: the IoU term of UNet 3+, Huang et al., ICASSP 2020, https://arxiv.org/abs/2004.08790.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        empty: `"skip"`, `"batch"` or `"keep"`.
        smooth: Added above and below.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar in [0, 1].
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    p, g = case.foreground(case.probabilities), case.foreground(case.target)
    axes = (0, *case.space) if empty == "batch" else case.space
    size = ops.sum(g, axes)
    intersection = ops.sum(p * g, axes)
    union = ops.sum(p, axes) + size - intersection
    loss = 1.0 - (intersection + smooth) / ops.maximum(union + smooth, 1e-8)
    if empty != "skip":
        return ops.mean(loss)
    present = ops.cast(size > 0, "float32")
    return ops.sum(loss * present) / ops.maximum(ops.sum(present), 1.0)
