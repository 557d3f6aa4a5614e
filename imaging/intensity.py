"""Intensities: from what a scanner stores to what a network sees. Everything returns float32."""

import numpy as np


def window_to_unit(array_hu: np.ndarray, *, window_hu: tuple[float, float]) -> np.ndarray:
    """Clips to a window and maps it to [0, 1]: `(clip(x, lo, hi) - lo) / (hi - lo)`.

    The window is fixed, so that one tissue has one grey value in every slice of every scan. Do it before resampling.

    Args:
        array_hu: Any shape, HU. NaN stays NaN.
        window_hu: `(lo, hi)`, `lo < hi`.

    Returns:
        float32, same shape.

    Raises:
        ValueError: `lo >= hi`.
    """
    low, high = window_hu
    if not low < high:
        raise ValueError(f"window {window_hu} is empty: the first value must be below the second, e.g. [-200, 250]")
    result = array_hu.astype(np.float32)
    np.clip(result, low, high, out=result)
    result -= np.float32(low)
    result /= np.float32(high - low)
    return result


def clip_zscore(array: np.ndarray, *, low: float, high: float, mean: float, std: float) -> np.ndarray:
    """Clips to `[low, high]`, subtracts `mean`, divides by `max(std, 1e-8)`: nnU-Net's rule for CT.

    The four numbers come from the training foreground, not from this image.

    Args:
        array: Any shape.
        low: Percentile 0.5 of the training foreground.
        high: Percentile 99.5.
        mean: Mean of the training foreground.
        std: Population standard deviation of the training foreground.

    Returns:
        float32, same shape.

    Raises:
        ValueError: `low > high`.
    """
    if low > high:
        raise ValueError(f"clip range ({low}, {high}) is empty: the first value must not be above the second")
    result = array.astype(np.float32)
    np.clip(result, low, high, out=result)
    result -= np.float32(mean)
    result /= np.float32(max(std, 1e-8))
    return result


def zscore(array: np.ndarray, *, mask: np.ndarray | None = None) -> np.ndarray:
    """Zero mean, unit population standard deviation, each channel by itself: nnU-Net's rule for MRI.

    Args:
        array: `(d, h, w)` or `(d, h, w, c)`.
        mask: `(d, h, w)`; statistics from non-zero mask voxels, voxels outside become 0. An empty mask gives zeros.

    Returns:
        float32, same shape. A constant image becomes zeros.
    """
    result = array.astype(np.float32)
    channels = [result] if result.ndim == 3 else [result[..., index] for index in range(result.shape[3])]
    inside = None if mask is None else mask.astype(bool)
    for channel in channels:
        _standardise(channel, inside)
    return result


def rescale_to_unit(array: np.ndarray) -> np.ndarray:
    """Maps the image's own range to [0, 1], each channel of `(d, h, w, c)` by itself; constant becomes 0."""
    axes = tuple(range(min(array.ndim, 3)))
    result = array.astype(np.float32)
    result -= result.min(axis=axes, keepdims=True)
    result /= np.maximum(result.max(axis=axes, keepdims=True), np.float32(1e-8))
    return result


def rgb_to_unit(array: np.ndarray) -> np.ndarray:
    """Divides 8-bit colours by 255, 16-bit ones (dtype uint16) by 65535.

    Raises:
        ValueError: Values outside the range of the depth.
    """
    limit = 65535 if array.dtype == np.uint16 else 255
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > limit:
        raise ValueError(f"colours lie in [{low:g}, {high:g}], not in [0, {limit}]: normalise this image by z-score")
    return array.astype(np.float32) / np.float32(limit)


def _standardise(channel: np.ndarray, inside: np.ndarray | None) -> None:
    """In place; sums in float64, slice by slice, so that no float64 volume arises."""
    count = channel.size if inside is None else int(np.count_nonzero(inside))
    if count:
        everywhere = True if inside is None else inside
        channel -= np.float32(channel.sum(dtype=np.float64, where=everywhere) / count)
        squares = sum(
            float(np.square(plane, dtype=np.float64).sum(where=True if inside is None else inside[index]))
            for index, plane in enumerate(channel)
        )
        channel /= np.float32(max(np.sqrt(squares / count), 1e-8))
    if inside is not None:
        channel[~inside] = 0
