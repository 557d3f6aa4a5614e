"""Cleaning a predicted label: largest component, holes, small islands.

nnU-Net decides on the first of these by cross-validation; here each is an option that is off by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class PostProcessing:
    """What is done to a predicted label, in this order but for `largest_of`.

    Attributes:
        largest_component: Classes of which only the largest connected part is kept.
        fill_holes: Classes whose enclosed background becomes foreground.
        minimum_mm3: Connected parts of any class below this volume are removed; 0 removes none.
        largest_of: Sets of classes, such as all of them or a region, of which only the largest connected part is kept;
            done first.
    """

    largest_component: tuple[int, ...] = ()
    fill_holes: tuple[int, ...] = ()
    minimum_mm3: float = 0.0
    largest_of: tuple[tuple[int, ...], ...] = ()

    def __call__(self, label: np.ndarray, *, spacing_mm: Sequence[float]) -> np.ndarray:
        """A cleaned copy of the label `(d, h, w)`; spacing in mm per axis.

        Raises:
            ValueError: The minimum volume is negative.
        """
        if self.minimum_mm3 < 0:
            raise ValueError(
                f"INFERENCE.MIN_VOLUME_MM3={self.minimum_mm3} is negative: give a volume in mm3, 0 for none."
            )
        cleaned = label.copy()
        for values in self.largest_of:
            cleaned = keep_largest(cleaned, values)
        for value in self.largest_component:
            cleaned[(cleaned == value) & ~largest_component(cleaned == value)] = 0
        for value in self.fill_holes:
            cleaned[(cleaned == 0) & fill_holes(cleaned == value)] = value
        if self.minimum_mm3 > 0:
            least = self.minimum_mm3 / float(np.prod(np.asarray(spacing_mm, float)))
            for value in np.unique(cleaned[cleaned > 0]):
                cleaned[(cleaned == value) & ~large_components(cleaned == value, minimum_voxels=least)] = 0
        return cleaned


def keep_largest(label: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """The label where voxels of these values outside their largest connected part are background."""
    mask = np.isin(label, values)
    return np.where(mask & ~largest_component(mask), 0, label).astype(label.dtype)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask (corners connect); the first of several equal ones; an empty mask stays."""
    parts, count = ndimage.label(mask, _full_connectivity(mask.ndim))
    if count <= 1:
        return mask.astype(bool)
    sizes = np.bincount(parts.ravel())
    return parts == 1 + int(np.argmax(sizes[1:]))


def large_components(mask: np.ndarray, *, minimum_voxels: float) -> np.ndarray:
    """The connected parts of a mask (corners connect) that have at least `minimum_voxels` voxels."""
    parts, _ = ndimage.label(mask, _full_connectivity(mask.ndim))
    keep = np.bincount(parts.ravel()) >= minimum_voxels
    keep[0] = False
    return keep[parts]


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with the background that it encloses; a volume of one slice is filled in the plane.

    Enclosed means: no path over voxel faces leads to the border of the volume.
    """
    if mask.ndim == 3 and mask.shape[0] == 1:
        return ndimage.binary_fill_holes(mask[0])[None]  # pyright: ignore[reportOptionalSubscript]
    return np.asarray(ndimage.binary_fill_holes(mask))


def _full_connectivity(rank: int) -> np.ndarray:
    return ndimage.generate_binary_structure(rank, rank)
