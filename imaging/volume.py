"""Volumes: an array and where it lies in the patient.

Axes are `(d, h, w)` or `(d, h, w, c)`. The affine maps array indices `(d, h, w, 1)` to RAS+ world millimetres
(positive towards the patient's Right, Anterior and Superior, as in NIfTI).
Inside the program every volume runs Superior, Posterior, Left ("SPL"): slice 0 is inferior, row 0 anterior,
column 0 the patient's right, which is how radiologists look at an axial slice.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from imaging.errors import ImageError

Shape: TypeAlias = tuple[int, int, int]

CANONICAL = "SPL"
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_WORLD_AXIS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
_CODES = (("L", "R"), ("P", "A"), ("I", "S"))


def picture_affine() -> np.ndarray:
    """Affine `(4, 4)` of a file without geometry: unit spacing, already in canonical orientation."""
    return np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where voxels lie: how many along `(d, h, w)`, and the affine of the array indices, RAS+ mm."""

    shape: Shape
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along `(d, h, w)`, mm."""
        return _spacing_mm(self.affine)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: `{"shape": [d, h, w], "affine": 4 x 4 list}`."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Grid":
        """Inverse of `to_dict`; `KeyError` or `ValueError` where the entry is damaged."""
        d, h, w = (int(size) for size in entry["shape"])
        return cls((d, h, w), np.asarray(entry["affine"], dtype=np.float64).reshape(4, 4))


@dataclasses.dataclass(frozen=True)
class Volume:
    """Voxels and their place.

    Attributes:
        array: `(d, h, w)` or `(d, h, w, c)`.
        affine: `(4, 4)` float64, array indices `(d, h, w, 1)` to RAS+ world, mm.
        source: File or folder it came from, for messages.
        has_geometry: False where the file states no spacing and place (PNG, JPG): then the spacing is 1.

    Raises:
        ImageError: The array is not of rank 3 or 4, or the affine is not finite or not invertible.
    """

    array: np.ndarray
    affine: np.ndarray
    source: str = ""
    has_geometry: bool = True

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4) or 0 in self.array.shape:
            raise ImageError(
                f"{self.source or 'volume'}: shape {self.array.shape} is not (d, h, w) or (d, h, w, c): "
                "give one image of two or three spatial axes."
            )
        object.__setattr__(self, "affine", checked_affine(self.affine, source=self.source))

    @property
    def shape(self) -> Shape:
        """Spatial size `(d, h, w)`, without channels."""
        return cast(Shape, self.array.shape[:3])

    @property
    def channels(self) -> int:
        """Number of channels; 1 for an array of rank 3."""
        return self.array.shape[3] if self.array.ndim == 4 else 1

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along `(d, h, w)`, mm; 1 where `has_geometry` is False."""
        return _spacing_mm(self.affine)

    @property
    def grid(self) -> Grid:
        """Shape and affine without the voxels."""
        return Grid(self.shape, self.affine)

    def with_array(self, array: np.ndarray) -> "Volume":
        """The same place with other voxels, e.g. a mask of this image."""
        return dataclasses.replace(self, array=array)


def checked_affine(affine: np.ndarray, *, source: str) -> np.ndarray:
    """`(4, 4)` float64 copy of an affine that is finite and invertible; `ImageError` naming `source` otherwise."""
    affine = np.array(affine, dtype=np.float64)
    name = source or "volume"
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ImageError(f"{name}: the affine is not 4 x 4 finite numbers: repair the header or export the file again.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing <= 0).any() or abs(np.linalg.det(affine[:3, :3] / np.where(spacing > 0, spacing, 1))) < 1e-6:
        raise ImageError(
            f"{name}: the affine is singular (spacing {_plain(spacing)} mm along d, h, w): "
            "write the right voxel spacing and directions into the header, or export the file again."
        )
    return affine


def orientation(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axis-aligned orientation nearest to an affine, oblique ones included.

    Args:
        affine: `(4, 4)`, invertible.

    Returns:
        For each array axis the world axis (0 x, 1 y, 2 z) it mostly runs along, and its sign (1 or -1).
        Every world axis occurs once: the permutation with the largest sum of absolute cosines.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sums = {axes: sum(abs(directions[axes[a], a]) for a in range(3)) for axes in itertools.permutations(range(3))}
    axes = max(sums, key=lambda key: round(sums[key], 9))
    return axes, tuple(1 if directions[axes[a], a] > 0 else -1 for a in range(3))


def axis_codes(affine: np.ndarray) -> str:
    """Three letters: towards which side each array axis runs, e.g. `"SPL"`; nearest directions if oblique."""
    axes, signs = orientation(affine)
    return "".join(_CODES[axis][(sign + 1) // 2] for axis, sign in zip(axes, signs, strict=True))


def axis_moves(affine: np.ndarray, codes: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """How an array must move to run along `codes`.

    Returns:
        `(order, flips)`: new axis `a` is the old axis `order[a]`, reversed where `flips[a]`.

    Raises:
        ValueError: `codes` is not one letter each of R/L, A/P, S/I.
    """
    if len(codes) != 3 or sorted(_WORLD_AXIS.get(code, -1) for code in codes) != [0, 1, 2]:
        raise ValueError(f"orientation {codes!r} is not one letter each of R/L, A/P and S/I, e.g. 'SPL' or 'RAS'")
    now = axis_codes(affine)
    order = tuple(
        next(axis for axis, code in enumerate(now) if _WORLD_AXIS[code] == _WORLD_AXIS[want]) for want in codes
    )
    return order, tuple(now[axis] == _OPPOSITE[want] for axis, want in zip(order, codes, strict=True))


def move_axes(array: np.ndarray, order: Sequence[int], flips: Sequence[bool]) -> np.ndarray:
    """Permutes, then reverses the spatial axes of `(d, h, w)` or `(d, h, w, c)`; a view."""
    moved = np.transpose(array, (*order, *range(3, array.ndim)))
    return moved[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]


def move_axes_back(array: np.ndarray, order: Sequence[int], flips: Sequence[bool]) -> np.ndarray:
    """Inverse of `move_axes`; a view."""
    unflipped = array[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    return np.transpose(unflipped, (*np.argsort(order), *range(3, array.ndim)))


def moved_grid(grid: Grid, order: Sequence[int], flips: Sequence[bool]) -> Grid:
    """Grid of `move_axes` of an array on `grid`: every voxel keeps its place in the world."""
    shape = tuple(grid.shape[axis] for axis in order)
    old_from_new = np.zeros((4, 4))
    old_from_new[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        old_from_new[old, new] = -1 if flip else 1
        old_from_new[old, 3] = shape[new] - 1 if flip else 0
    return Grid(cast(Shape, shape), grid.affine @ old_from_new)


def reorient(volume: Volume, codes: str) -> Volume:
    """The same voxels at the same places, with axes permuted and reversed to run along `codes`.

    An oblique affine stays oblique: the nearest axis-aligned orientation is changed, nothing is interpolated.
    """
    order, flips = axis_moves(volume.affine, codes)
    affine = moved_grid(volume.grid, order, flips).affine
    array = np.ascontiguousarray(move_axes(volume.array, order, flips))
    return dataclasses.replace(volume, array=array, affine=affine)


def to_canonical(volume: Volume) -> Volume:
    """`reorient` to the program's own orientation, Superior, Posterior, Left."""
    return reorient(volume, CANONICAL)


def same_grid(a: Volume | Grid, b: Volume | Grid, *, tolerance_mm: float = 1e-2) -> bool:
    """Whether two volumes have equal shapes and every corner voxel at the same place within `tolerance_mm`."""
    if a.shape != b.shape:
        return False
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, size - 1) for size in a.shape))]).T
    distance = np.linalg.norm(((a.affine - b.affine) @ corners)[:3], axis=0)
    return bool((distance <= tolerance_mm).all())


def non_finite_count(volume: Volume) -> int:
    """Number of NaN and infinite values, over all channels; 0 for integer arrays."""
    if not np.issubdtype(volume.array.dtype, np.floating):
        return 0
    return sum(int(plane.size - np.count_nonzero(np.isfinite(plane))) for plane in volume.array)


def _spacing_mm(affine: np.ndarray) -> tuple[float, float, float]:
    d, h, w = (float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))
    return d, h, w


def _plain(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)
