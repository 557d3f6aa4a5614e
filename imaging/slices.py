"""Resizing slices in their plane, fast."""

import numpy as np


def resize_slices(array: np.ndarray, height: int, width: int, *, label: bool) -> np.ndarray:
    """Resizes every slice to `height` x `width`; slices do not mix.

    Pixel areas coincide: pixel `i` of `n` is centred at `(i + 0.5) / n`. Images are averaged over areas along an axis
    that shrinks and interpolated linearly along one that grows; labels take the nearest pixel.

    Args:
        array: `(d, h, w)` or `(d, h, w, c)`.
        height: New `h`.
        width: New `w`.
        label: Nearest neighbour, values and type kept; otherwise float32.

    Returns:
        `(d, height, width)` or `(d, height, width, c)`, contiguous.

    Raises:
        ValueError: A size below 1.
    """
    if height < 1 or width < 1:
        raise ValueError(f"slices cannot be resized to {height} x {width}: give sizes of at least 1")
    if label:
        rows, columns = _nearest(array.shape[1], height), _nearest(array.shape[2], width)
        return np.ascontiguousarray(array[:, rows][:, :, columns])
    result = np.empty((array.shape[0], height, width, *array.shape[3:]), dtype=np.float32)
    for index, plane in enumerate(array):
        # One slice at a time: OpenCV takes at most 512 channels and drops a last axis of size 1.
        result[index] = _resize(plane, height, width).reshape(result.shape[1:])
    return result


def _nearest(old: int, new: int) -> np.ndarray:
    return np.minimum(((np.arange(new) * 2 + 1) * old) // (2 * new), old - 1)


def _resize(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    plane = np.ascontiguousarray(plane, dtype=np.float32)
    shrunk = (min(width, plane.shape[1]), min(height, plane.shape[0]))
    if shrunk != plane.shape[1::-1]:
        plane = np.asarray(cv2.resize(plane, shrunk, interpolation=cv2.INTER_AREA))
    if (width, height) != shrunk:
        plane = np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR))
    return plane
