"""Focal loss."""

from collections.abc import Sequence

from keras import ops

from losses.encoding import Encoded, Regions, Tensor, encode, float_list


def focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float | Sequence[float] | None = 0.25,
    gamma: float = 2.0,
    detach_modulator: bool = False,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`mean_i  alpha_i (1 - p_i)^gamma (-log p_i)` over the voxels `i` that count (and over channels of sigmoids).

    `p_i` is the probability given to the reference at `i`; `alpha_i` is `alpha` where the reference is foreground and
    `1 - alpha` where it is background. Computed from log-sigmoid and log-softmax: finite for any logits. False
    positives cost. On an empty reference: the background part alone, 0 for a certain and right answer. All voxels
    ignored: 0. Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, https://arxiv.org/abs/1708.02002.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        alpha: Weight of the foreground against the background; one weight for each class of a softmax as a list;
            `None` weighs all alike.
        gamma: Exponent of the modulating factor; 0 is cross-entropy.
        detach_modulator: No gradient through `(1 - p_i)^gamma`, as the universal U-Net of Huang et al. was trained.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar.

    Raises:
        ValueError: Shapes do not fit, or the list `alpha` has another length than there are classes.
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    minus_log_p = case.channel_cross_entropy
    values = minus_log_p
    if gamma > 0:
        # 1 - p, without cancellation for p near 1; the floor keeps the slope of a root (gamma < 1) finite.
        modulator = ops.maximum(-ops.expm1(-minus_log_p), 1e-12) ** gamma
        values = (ops.stop_gradient(modulator) if detach_modulator else modulator) * minus_log_p
    if alpha is not None:
        values = values * _balance(case, alpha)
    return case.mean(values)


def _balance(case: Encoded, alpha: float | Sequence[float]) -> Tensor:
    """Weight of each voxel's term by its reference, shaped to multiply `channel_cross_entropy`."""
    single = isinstance(alpha, int | float)
    if single and not case.exclusive:
        return alpha * case.target + (1.0 - alpha) * (1.0 - case.target)
    if not case.exclusive:
        raise ValueError(f"alpha={alpha} is a list, which softmax classes take; sigmoids take one number.")
    classes = case.logits.shape[-1]
    weights = float_list([1.0 - alpha] + [alpha] * (classes - 1) if single else alpha, classes, name="alpha")
    return ops.sum(case.target * weights, axis=-1, keepdims=True)
