"""Soft Dice losses: nnU-Net's, and mmsegmentation's with squares in the denominator."""

from keras import ops

from losses.encoding import Regions, Tensor, encode


def soft_dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    smooth: float = 1e-5,
    batch_dice: bool = False,
    include_background: bool = False,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`1 - mean (2 sum p g + s) / (sum p + sum g + s)` over images and foreground classes.

    `p` are probabilities, `g` the 0/1 reference, `s` is `smooth`; the sums run over space. For a class absent from an
    image the loss is `1 - s / (sum p + s)`: 1 for all practical predictions, 0 only if `sum p` is far below `s`.
    Source: Isensee et al., nnU-Net, Nature Methods 2021, https://github.com/MIC-DKFZ/nnUNet (there without the 1).

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        smooth: Added above and below.
        batch_dice: Sum over the batch too; then absent classes in single images do not matter.
        include_background: Count the background of a softmax as a class.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar in [0, 1].
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    keep = (lambda x: x) if include_background else case.foreground
    p, g = keep(case.probabilities), keep(case.target)
    axes = (0, *case.space) if batch_dice else case.space
    above = 2.0 * ops.sum(p * g, axes) + smooth
    below = ops.sum(p, axes) + ops.sum(g, axes) + smooth
    return 1.0 - ops.mean(above / ops.maximum(below, 1e-8))


def squared_dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    smooth: float = 1.0,
    exponent: float = 2.0,
    include_background: bool = True,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`mean 1 - (2 sum p g + s) / (sum p^e + sum g + s)` over images and classes, background included.

    `s` is `smooth`, `e` is `exponent`. For a class absent from an image: `1 - s / (sum p^e + s)`, near 0 for a right
    answer. Source: `DiceLoss` of https://github.com/open-mmlab/mmsegmentation, the loss of its vessel recipes; with
    ignored voxels left out of the denominator too, where the original counts them.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        smooth: Added above and below.
        exponent: Power of the probabilities in the denominator.
        include_background: Count the background of a softmax as a class.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar in [0, 1].
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    keep = (lambda x: x) if include_background else case.foreground
    p, g = keep(case.probabilities), keep(case.target)
    above = 2.0 * ops.sum(p * g, case.space) + smooth
    below = ops.sum(p**exponent, case.space) + ops.sum(g, case.space) + smooth
    return 1.0 - ops.mean(above / ops.maximum(below, 1e-8))
