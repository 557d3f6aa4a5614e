"""Lovasz-softmax: the convex surrogate of the Jaccard index."""

from keras import ops

from losses.encoding import Regions, Tensor, encode


def lovasz_softmax(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    classes: str = "all",
    per_image: bool = False,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`mean_c sum_k e_(k) dJ_k`: errors of class `c`, largest first, times the growth of the Jaccard loss.

    `e = |g - p|`; `J_k = 1 - (G - sum_{i<=k} g_i) / (G + sum_{i<=k} (1 - g_i))` with `G` the reference voxels of the
    class. The mean runs over all classes of a softmax, the background too, or over all sigmoids. For a class absent
    from the reference the value is the largest probability it is given anywhere. All voxels ignored: 0.
    Source: Berman et al., The Lovasz-Softmax loss, CVPR 2018, https://arxiv.org/abs/1705.08790; `classes="all"` over
    the whole batch as in the universal U-Net, Huang et al., MICCAI 2019.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`, spatial shape known.
        classes: `"all"`, or `"present"` to leave classes out that the reference does not hold.
        per_image: Sort within each image and average, instead of over the voxels of the batch together.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar in [0, 1].
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    channels = case.logits.shape[-1]
    p, g = (ops.moveaxis(x, -1, 1) for x in (case.probabilities, case.target))
    if not per_image:
        p, g = (ops.expand_dims(ops.moveaxis(x, 1, 0), 0) for x in (p, g))
    p, g = (ops.reshape(x, (-1 if per_image else 1, channels, _length(x.shape))) for x in (p, g))
    values = _lovasz(ops.abs(g - p), g)
    if classes == "all":
        return ops.mean(values)
    present = ops.cast(ops.any(g > 0, axis=-1), "float32")
    return ops.sum(values * present) / ops.maximum(ops.sum(present), 1.0)


def _length(shape: tuple[int | None, ...]) -> int:
    """Voxels of one row of an `(n, channels, ...)` tensor; -1 where a size is not known."""
    product = 1
    for size in shape[2:]:
        if size is None:
            return -1
        product *= size
    return product


def _lovasz(errors: Tensor, g: Tensor) -> Tensor:
    """Lovasz extension for rows `(..., n)`: `(...)`.

    Ignored voxels have error 0 and reference 0: they come last and add nothing. The growth of `J` is written out
    (`1 / U` at a reference voxel, `I / (U (U - 1))` elsewhere) because differences of `J` cancel in float32.
    """
    order = ops.argsort(-errors, axis=-1)
    g = ops.take_along_axis(g, order, axis=-1)
    total = ops.sum(g, axis=-1, keepdims=True)
    intersection = total - ops.cumsum(g, axis=-1)
    union = total + ops.cumsum(1.0 - g, axis=-1)
    elsewhere = ops.where(union > 1.5, intersection / ops.maximum(union * (union - 1.0), 1.0), 1.0)
    growth = ops.where(g > 0.5, 1.0 / ops.maximum(union, 1.0), elsewhere)
    return ops.sum(ops.take_along_axis(errors, order, axis=-1) * growth, axis=-1)
