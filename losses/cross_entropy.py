"""Cross-entropy over voxels, and over the hardest voxels only."""

from collections.abc import Sequence

from keras import ops

from losses.encoding import Encoded, Regions, Tensor, encode, float_list


def cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`-sum_i w_i log p_i / sum_i w_i` over the voxels `i` that count; sigmoids: mean over voxels and channels.

    `p_i` is the probability of the reference class, `w_i` its weight (1 without `class_weights`). Smoothing mixes
    the reference with the uniform distribution. On an empty reference: `-log` of the background probability, so 0 for
    a certain and right answer. All voxels ignored: 0.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        class_weights: One weight for each class; two, background and foreground, for a single sigmoid.
        label_smoothing: Share of the uniform distribution in the target, in [0, 1].
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar.

    Raises:
        ValueError: Shapes do not fit, or the number of weights does not; regions take no weights.
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    values = case.channel_cross_entropy
    if label_smoothing > 0:
        values = (1.0 - label_smoothing) * values + label_smoothing * _uniform(case)
    if class_weights is None:
        return case.mean(values)
    if regions is not None:
        raise ValueError("class_weights belong to exclusive classes; with regions leave them out.")
    classes = max(case.logits.shape[-1], 2)
    weights = float_list(class_weights, classes, name="class_weights")
    one_hot = case.target if case.exclusive else ops.concatenate([1.0 - case.target, case.target], axis=-1)
    weight = ops.sum(one_hot * weights, axis=-1, keepdims=True) * case.valid
    return ops.sum(values * weight) / ops.maximum(ops.sum(weight), 1e-12)


def _uniform(case: Encoded) -> Tensor:
    """Cross-entropy against the uniform distribution, shaped as `channel_cross_entropy`."""
    if case.exclusive:
        return -ops.mean(ops.log_softmax(case.logits), axis=-1, keepdims=True) * case.valid
    return 0.5 * (ops.softplus(case.logits) + ops.softplus(-case.logits)) * case.valid


def topk_ce(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    fraction: float = 0.1,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """Mean of the largest `fraction` of the voxels' cross-entropies, over the whole batch.

    The number of voxels taken is `floor(fraction * n)` of the `n` that count, at least 1. With sigmoids every channel
    of a voxel is one value. On an empty reference: the mean over the most falsely sure background voxels. All voxels
    ignored: 0. Source: the top-k variant of nnU-Net (Isensee et al., https://github.com/MIC-DKFZ/nnUNet).

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`, spatial shape known.
        fraction: Share of the values that count, in (0, 1].
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar.
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    values = case.channel_cross_entropy
    channels = float(values.shape[-1])
    ordered = -ops.sort(-ops.reshape(values, (-1,)))
    count = ops.maximum(ops.floor(fraction * ops.sum(case.valid) * channels + 1e-3), 1.0)
    taken = ops.arange(ops.shape(ordered)[0], dtype="int32") < ops.cast(count, "int32")
    return ops.sum(ops.where(taken, ordered, 0.0)) / count
