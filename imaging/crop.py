"""Where an image has content."""

from typing import TypeAlias

import numpy as np

Crop: TypeAlias = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def nonzero_bounding_box(array: np.ndarray) -> Crop:
    """Smallest box that holds every voxel that is not 0 in some channel; everything where all are 0.

    Args:
        array: `(d, h, w)` or `(d, h, w, c)`.

    Returns:
        `((d0, d1), (h0, h1), (w0, w1))`, ends exclusive.
    """
    return mask_bounding_box(_any_channel(array))


def nonzero_mask(array: np.ndarray) -> np.ndarray:
    """Voxels that are not 0 in some channel, holes filled (nnU-Net's mask of the imaged body).

    Args:
        array: `(d, h, w)` or `(d, h, w, c)`.

    Returns:
        Boolean `(d, h, w)`.
    """
    from scipy import ndimage

    return np.asarray(ndimage.binary_fill_holes(_any_channel(array)))


def mask_bounding_box(mask: np.ndarray) -> Crop:
    """Smallest box around the non-zero voxels of `(d, h, w)`; everything where there are none."""
    planes = np.logical_or.reduce(mask, axis=(1, 2))
    if not planes.any():
        d, h, w = mask.shape
        return (0, d), (0, h), (0, w)
    outline = np.logical_or.reduce(mask, axis=0)
    rows, columns = np.logical_or.reduce(outline, axis=1), np.logical_or.reduce(outline, axis=0)
    return _range(planes), _range(rows), _range(columns)


def crop_slices(crop: Crop) -> tuple[slice, slice, slice]:
    """Index of a crop: `array[crop_slices(crop)]`."""
    (d0, d1), (h0, h1), (w0, w1) = crop
    return slice(d0, d1), slice(h0, h1), slice(w0, w1)


def _any_channel(array: np.ndarray) -> np.ndarray:
    return array != 0 if array.ndim == 3 else (array != 0).any(axis=3)


def _range(line: np.ndarray) -> tuple[int, int]:
    places = np.flatnonzero(line)
    return int(places[0]), int(places[-1]) + 1
