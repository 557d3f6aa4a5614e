"""Cleaning a predicted label: gaps, largest components, holes, small islands.

nnU-Net decides on the largest component by cross-validation; here each is an option that is off by default.
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
        closing: Classes whose gaps of a voxel in the background are closed, before their components are looked at.
        second_component: Classes of which the second largest part is kept as well, where it has more than a tenth of
            the voxels of the largest.
    """

    largest_component: tuple[int, ...] = ()
    fill_holes: tuple[int, ...] = ()
    minimum_mm3: float = 0.0
    largest_of: tuple[tuple[int, ...], ...] = ()
    closing: tuple[int, ...] = ()
    second_component: tuple[int, ...] = ()

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
        for value in self.closing:
            cleaned[(cleaned == 0) & close_gaps(cleaned == value)] = value
        for value in (*self.largest_component, *self.second_component):
            part = cleaned == value
            cleaned[part & ~(two_components if value in self.second_component else largest_component)(part)] = 0
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


def two_components(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask, and the second where it has more than a tenth of the first's voxels."""
    first = largest_component(mask)
    second = largest_component(mask & ~first)
    return first | second if 10 * int(second.sum()) > int(first.sum()) else first


def close_gaps(mask: np.ndarray) -> np.ndarray:
    """Binary closing by a cube of 3 voxels without its corners; the border of the volume takes nothing away."""
    ball = ndimage.generate_binary_structure(mask.ndim, 2)
    padded = ndimage.binary_closing(np.pad(mask, 1), ball)
    return padded[(slice(1, -1),) * mask.ndim]


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
