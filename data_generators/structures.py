"""Balls moved over masks: dilation, erosion, opening, closing; and single components of a mask.

A ball is a stack of discs, and OpenCV takes a volume's slices as channels, so that each disc is one call: a ball of
radius 8 costs nine, where SciPy visits its 2,109 voxels one after the other.
"""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from scipy import ndimage

_CHANNELS = 256  # slices of one call of OpenCV


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """Voxels `(h, w)` or `(d, h, w)` that lie within `radius` voxels of the mask; bool."""
    volume = mask.reshape(-1, *mask.shape[-2:])
    found = np.zeros(volume.shape, np.uint8)
    for step in range(radius + 1 if mask.ndim == 3 else 1):
        disc = _widened(volume, radius**2 - step**2)
        found[step:] |= disc[: len(disc) - step]
        if step:
            found[:-step] |= disc[step:]
    return found.astype(bool).reshape(mask.shape)


def eroded(mask: np.ndarray, radius: int) -> np.ndarray:
    """Voxels of the mask with nothing else within `radius`; what lies outside the array does not count."""
    return ~dilated(~mask, radius)


_OPERATORS: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "dilation": dilated,
    "erosion": eroded,
    "opening": lambda mask, radius: dilated(eroded(mask, radius), radius),
    "closing": lambda mask, radius: eroded(dilated(mask, radius), radius),
}


def apply_operator(mask: np.ndarray, operator: str, *, radius: int) -> np.ndarray:
    """`dilation`, `erosion`, `opening` or `closing` of a bool mask by a ball, in voxels."""
    return _OPERATORS[operator](mask, radius)


def without_component(mask: np.ndarray, *, share: float, most: int) -> np.ndarray:
    """A mask without one of its connected parts (corners connect).

    Args:
        mask: Bool.
        share: Which one, in [0, 1): a share of the number of parts that may go.
        most: Voxels below which a part may go.

    Returns:
        The mask itself where none may.
    """
    parts, _ = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    sizes = np.bincount(parts.ravel())[1:]
    small = np.flatnonzero(sizes < most) + 1
    return mask if not len(small) else mask & (parts != small[int(share * len(small))])


def _widened(volume: np.ndarray, squared_radius: int) -> np.ndarray:
    """Every slice of `(d, h, w)` dilated by a disc; uint8."""
    if squared_radius == 0:
        return volume.astype(np.uint8)
    reach = np.arange(-math.isqrt(squared_radius), math.isqrt(squared_radius) + 1)
    disc = (reach[:, None] ** 2 + reach**2 <= squared_radius).astype(np.uint8)
    planes = np.ascontiguousarray(volume.transpose(1, 2, 0), np.uint8)
    blocks = [planes[..., start : start + _CHANNELS] for start in range(0, planes.shape[-1], _CHANNELS)]
    moved = [cv2.dilate(np.ascontiguousarray(block), disc).reshape(block.shape) for block in blocks]
    return np.concatenate(moved, axis=-1).transpose(2, 0, 1)
