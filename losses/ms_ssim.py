"""Multi-scale structural similarity as a loss on probability maps."""

import itertools
import math

from keras import ops

from losses.encoding import Regions, Tensor, encode

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang et al.)."""
WINDOW = 11
SIGMA = 1.5
FLOOR = 1e-6
_C1, _C2 = 0.01**2, 0.03**2


def ms_ssim(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    scales: int = 5,
    small: str = "fewer",
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> Tensor:
    """`1 - mean L_M^{w_M} prod_{m<M} C_m^{w_m}` over images and foreground channels.

    At scale `m` (1 is full resolution, then mean pooling by 2 on every axis) with Gaussian-windowed means `mu`,
    variances and covariance of probability map `p` and reference `g`: `c = (2 cov + C2) / (var_p + var_g + C2)`,
    `l = (2 mu_p mu_g + C1) / (mu_p^2 + mu_g^2 + C1)`; `C_m` is the mean of `c` over space, `L_M` the mean of `l c` at
    the last scale. Window 11 wide, sigma 1.5, no padding; `C1 = 0.01^2`, `C2 = 0.03^2`. In 3D window and pooling are
    those of the third axis as well. Each factor is at least 1e-6, which keeps the gradient finite where structures
    contradict (`tf.image.ssim_multiscale` gives NaN there; elsewhere the two are equal).

    `M` scales need `10 * 2^(M-1) + 1` voxels on the shortest axis: 11, 21, 41, 81, 161. Smaller images use fewer
    scales, the weights of these scaled to the sum 1, unless `small="error"`.

    An ignored voxel is background in both maps. On an empty reference the value is bounded, for a constant map `p`:
    0.0013 at 1e-3, 0.088 at 0.01, 0.46 at 0.1, 0.65 at 0.5, 0.71 at 1.
    Sources: Wang, Simoncelli and Bovik, Asilomar 2003, https://doi.org/10.1109/ACSSC.2003.1292216; as a term of
    UNet 3+, Huang et al., ICASSP 2020, https://arxiv.org/abs/2004.08790 (which prints `l` at every scale; the
    authors' code and the reference they cite have it at the last only, and so has this).

    Args:
        y_true: Labels, `(b, *s, 1)`, spatial shape known.
        y_pred: Logits, `(b, *s, k)`.
        scales: Number of scales wanted, 1 to 5.
        small: `"fewer"` or `"error"`: what an image too small for `scales` does.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: The image is smaller than the window, or than `scales` need and `small="error"`.
    """
    case = encode(y_true, y_pred, ignore_label=ignore_label, regions=regions)
    p, g = case.foreground(case.probabilities), case.foreground(case.target)
    count = _scale_count(p.shape[1:-1], scales=scales, small=small)
    # The five published weights add up to 1.0001 and are used as published.
    share = 1.0 if count == len(SCALE_WEIGHTS) else sum(SCALE_WEIGHTS[:count])
    similarity = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS[:count]):
        if scale:
            p, g = _halve(p), _halve(g)
        structure, full = _similarity(p, g)
        factor = full if scale == count - 1 else structure
        similarity = similarity * ops.maximum(factor, FLOOR) ** (weight / share)
    return 1.0 - ops.mean(similarity)


def _scale_count(space: tuple[int | None, ...], *, scales: int, small: str) -> int:
    if None in space:
        raise ValueError(f"ms_ssim needs a known spatial shape, not {tuple(space)}: set INPUT sizes or another loss.")
    shortest = min(n for n in space if n is not None)
    if not 1 <= scales <= len(SCALE_WEIGHTS):
        raise ValueError(f"ms_ssim has 1 to {len(SCALE_WEIGHTS)} scales, not scales={scales}.")
    if shortest < WINDOW:
        raise ValueError(
            f"Images of {tuple(space)} are smaller than the {WINDOW}-wide window of ms_ssim: "
            f"use larger patches, or a loss without this term."
        )
    possible = int(math.log2((shortest - 1) / (WINDOW - 1))) + 1
    if possible < scales and small == "error":
        raise ValueError(
            f"Images of {tuple(space)} allow {possible} of {scales} scales of ms_ssim "
            f'(M scales need 10 * 2^(M-1) + 1 voxels): set scales={possible}, or small="fewer".'
        )
    return min(scales, possible)


def _similarity(p: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Spatial means of `c` and of `l c`, each `(b, channels)`."""
    axes = tuple(range(1, len(p.shape) - 1))
    channels = p.shape[-1]
    moments = _blur(ops.concatenate([p, g, p * g, p * p + g * g], axis=-1))
    mean_p, mean_g, product, squares = (moments[..., i * channels : (i + 1) * channels] for i in range(4))
    cross, own = mean_p * mean_g, mean_p * mean_p + mean_g * mean_g
    structure = (2.0 * (product - cross) + _C2) / (squares - own + _C2)
    luminance = (2.0 * cross + _C1) / (own + _C1)
    return ops.mean(structure, axes), ops.mean(luminance * structure, axes)


def _blur(x: Tensor) -> Tensor:
    """Gaussian filter on every spatial axis, without padding.

    Shifts and sums, not a convolution: on recent GPUs a float32 convolution may run in TF32, whose error is larger
    than `C2`, and a variance is a small difference of large numbers.
    """
    taps = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
    total = sum(taps)
    for axis in range(1, len(x.shape) - 1):
        length = x.shape[axis] - WINDOW + 1
        x = sum(tap / total * _cut(x, axis, start, length) for start, tap in enumerate(taps))
    return x


def _cut(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    index = [slice(None)] * len(x.shape)
    index[axis] = slice(start, start + length)
    return x[tuple(index)]


def _halve(x: Tensor) -> Tensor:
    """Mean pooling by 2 on every spatial axis; an odd axis repeats its last element first."""
    axes = range(1, len(x.shape) - 1)
    for axis in axes:
        if x.shape[axis] % 2:
            x = ops.concatenate([x, _cut(x, axis, x.shape[axis] - 1, 1)], axis=axis)
    sizes = list(itertools.chain.from_iterable((x.shape[axis] // 2, 2) for axis in axes))
    split = ops.reshape(x, (-1, *sizes, x.shape[-1]))
    return ops.mean(split, axis=tuple(2 + 2 * i for i in range(len(sizes) // 2)))
