"""Window and in-plane size in one pass: what `resize_slices(window_to_unit(x))` gives, in float16, for less time."""

from collections.abc import Callable

import cv2
import numpy as np

from imaging import resize_slices, rgb_to_unit, window_to_unit

SLAB = 16
_LARGEST = 65535


def windowed(array: np.ndarray, height: int, width: int, *, window_hu: tuple[float, float]) -> np.ndarray:
    """Clips to the window, maps it to [0, 1], then resizes every slice.

    16-bit scans that shrink are averaged as whole numbers of at least 16 bits per window, which is finer than float16
    and twice as fast; everything else goes through float32.

    Args:
        array: `(d, h, w)` or `(d, h, w, c)`, HU; a view of any strides.
        height: New `h`.
        width: New `w`.
        window_hu: `(lo, hi)`.

    Returns:
        float16, `(d, height, width, c)`.
    """
    whole = all(float(end).is_integer() and abs(end) < 2**14 for end in window_hu)
    if array.dtype != np.int16 or array.ndim != 3 or not whole or height > array.shape[1] or width > array.shape[2]:
        return _by_slabs(array, height, width, lambda slab: window_to_unit(slab, window_hu=window_hu))
    low, high = (int(end) for end in window_hu)
    steps = _LARGEST // (high - low)
    units = (np.arange(_LARGEST + 1) / (steps * (high - low))).astype(np.float16)
    result = np.empty((array.shape[0], height, width, 1), np.float16)
    small = np.empty((height, width), np.uint16)
    for index, plane in enumerate(array):
        levels = np.clip(plane, low, high, out=np.empty(plane.shape, np.int16))
        levels -= low
        scaled = np.multiply(levels.view(np.uint16), np.uint16(steps))
        cv2.resize(scaled, (width, height), dst=small, interpolation=cv2.INTER_AREA)
        np.take(units, small, out=result[index, ..., 0], mode="clip")
    return result


def coloured(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Divides by the largest value of the type, then resizes every slice; float16, `(d, height, width, c)`.

    Raises:
        ValueError: Values outside the range of 8- or 16-bit colours.
    """
    return _by_slabs(array, height, width, rgb_to_unit)


def labelled(label: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes a label `(d, h, w)` with values 0 to 255 by nearest neighbour; uint8, `(d, height, width)`."""
    _, rows, columns = label.shape
    # The rule is that of `resize_slices`, asked once: which pixel of a plane goes where.
    places = resize_slices(np.arange(rows * columns).reshape(1, rows, columns), height, width, label=True)[0]
    sized = np.empty((label.shape[0], height, width), np.uint8)
    for index, plane in enumerate(label):
        sized[index] = np.ascontiguousarray(plane).reshape(-1).take(places)
    return sized


def _by_slabs(array: np.ndarray, height: int, width: int, to_unit: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    channels = array.shape[3] if array.ndim == 4 else 1
    result = np.empty((array.shape[0], height, width, channels), np.float16)
    for start in range(0, array.shape[0], SLAB):
        slab = resize_slices(to_unit(array[start : start + SLAB]), height, width, label=False)
        result[start : start + SLAB] = slab.reshape(len(slab), height, width, channels)
    return result
