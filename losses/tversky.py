"""Tversky and focal Tversky loss."""

from keras import ops

from losses.encoding import Regions, Tensor, encode


def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    false_positive_weight: float = 0.3,
    false_negative_weight: float = 0.7,
    smooth: float = 1e-5,
    gamma: float = 1.0,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`mean (1 - T)^gamma`, `T = (sum p g + s) / (sum p g + a sum p (1 - g) + b sum (1 - p) g + s)`.

    The mean runs over images and foreground classes, the sums over space; `a` and `b` weigh false positives and
    false negatives, `s` is `smooth`. `a = b = 1/2` is soft Dice, `a = b = 1` soft IoU. For a class absent from an
    image `T = s / (a sum p + s)`: the loss is 1 for all practical predictions, 0 only if `sum p` is far below `s`.
    Sources: Salehi et al., MLMI 2017, https://arxiv.org/abs/1706.05721; Abraham and Khan, ISBI 2019,
    https://arxiv.org/abs/1810.07842 (`gamma`; their exponent is `1 / gamma`).

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        false_positive_weight: `a`.
        false_negative_weight: `b`.
        smooth: Added above and below.
        gamma: Exponent; below 1 it presses on classes that are nearly right.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar in [0, 1].
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    p, g = case.foreground(case.probabilities), case.foreground(case.target)
    hit = ops.sum(p * g, case.space)
    excess = ops.sum(p, case.space) - hit
    miss = ops.sum(g, case.space) - hit
    below = hit + false_positive_weight * excess + false_negative_weight * miss + smooth
    index = (hit + smooth) / ops.maximum(below, 1e-8)
    # The floor keeps the slope finite where a class is perfect and gamma < 1.
    return ops.mean(ops.maximum(1.0 - index, 1e-7) ** gamma) if gamma != 1 else 1.0 - ops.mean(index)
