"""How a prepared array came from its file, and the way back."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from imaging.crop import Crop, crop_slices
from imaging.resampling import resample_label_nearest, resample_probabilities
from imaging.volume import CANONICAL, Grid, Shape, Volume, axis_moves, move_axes_back, moved_grid


@dataclasses.dataclass(frozen=True)
class CaseGeometry:
    """Source file -> canonical orientation -> crop -> resampled array; `restore_*` go back.

    Attributes:
        source: Grid of the file.
        canonical_shape: `(d, h, w)` after reorientation to Superior, Posterior, Left.
        crop: `((d0, d1), (h0, h1), (w0, w1))` in canonical voxels, ends exclusive.
        prepared_shape: `(d, h, w)` after resampling the crop.

    Raises:
        ValueError: The shapes and the crop do not fit each other.
    """

    source: Grid
    canonical_shape: Shape
    crop: Crop
    prepared_shape: Shape

    def __post_init__(self) -> None:
        order, flips = self._moves()
        if moved_grid(self.source, order, flips).shape != tuple(self.canonical_shape):
            raise ValueError(f"canonical shape {self.canonical_shape} does not fit the source {self.source.shape}")
        inside = all(0 <= low < high <= size for (low, high), size in zip(self.crop, self.canonical_shape, strict=True))
        if not inside or min(self.prepared_shape) < 1:
            raise ValueError(f"crop {self.crop} does not lie in the canonical shape {self.canonical_shape}")

    @classmethod
    def of(cls, source: Grid, *, crop: Crop | None = None, prepared_shape: Shape | None = None) -> "CaseGeometry":
        """Geometry of a file; without a crop the whole volume, without a prepared shape no resampling."""
        order, flips = axis_moves(source.affine, CANONICAL)
        canonical = moved_grid(source, order, flips).shape
        whole = cast(Crop, tuple((0, size) for size in canonical))
        box = whole if crop is None else crop
        size = cast(Shape, tuple(high - low for low, high in box))
        return cls(source, canonical, box, size if prepared_shape is None else prepared_shape)

    @property
    def crop_shape(self) -> Shape:
        """`(d, h, w)` of the crop before resampling."""
        return cast(Shape, tuple(high - low for low, high in self.crop))

    def prepared_grid(self) -> Grid:
        """Grid of the prepared array: the crop's edges stay where they are, the voxels become larger or smaller."""
        order, flips = self._moves()
        affine = moved_grid(self.source, order, flips).affine
        prepared = np.eye(4)
        for axis, ((low, _), old, new) in enumerate(zip(self.crop, self.crop_shape, self.prepared_shape, strict=True)):
            prepared[axis, axis] = old / new
            prepared[axis, 3] = low + 0.5 * old / new - 0.5
        return Grid(self.prepared_shape, affine @ prepared)

    def restore_label(self, label: np.ndarray) -> Volume:
        """Puts a label map back on the file's grid and orientation; outside the crop 0.

        Args:
            label: `(d, h, w)` of `prepared_shape`, integers; resampled by nearest neighbour.

        Returns:
            Volume on `source`, type kept.

        Raises:
            ValueError: Another shape.
        """
        self._check(label.shape)
        canonical = np.zeros(self.canonical_shape, dtype=label.dtype)
        canonical[crop_slices(self.crop)] = resample_label_nearest(label, self.crop_shape)
        return Volume(self._back(canonical), self.source.affine)

    def restore_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Puts probabilities back on the file's grid and orientation.

        Args:
            probabilities: `(d, h, w, k)`; resampled linearly.

        Returns:
            `(d, h, w, k)` float32 in the file's orientation; outside the crop class 0 has probability 1 (`k > 1`), or
            everything is 0 (`k == 1`).

        Raises:
            ValueError: Another spatial shape.
        """
        self._check(probabilities.shape[:3])
        classes = probabilities.shape[3]
        canonical = np.zeros((*self.canonical_shape, classes), dtype=np.float32)
        if classes > 1:
            canonical[..., 0] = 1
        canonical[crop_slices(self.crop)] = resample_probabilities(probabilities, self.crop_shape)
        return self._back(canonical)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "source": self.source.to_dict(),
            "canonical_shape": list(self.canonical_shape),
            "crop": [list(ends) for ends in self.crop],
            "prepared_shape": list(self.prepared_shape),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "CaseGeometry":
        """Inverse of `to_dict`; `KeyError` or `ValueError` where the entry is damaged."""
        return cls(
            source=Grid.from_dict(entry["source"]),
            canonical_shape=cast(Shape, tuple(int(size) for size in entry["canonical_shape"])),
            crop=cast(Crop, tuple((int(low), int(high)) for low, high in entry["crop"])),
            prepared_shape=cast(Shape, tuple(int(size) for size in entry["prepared_shape"])),
        )

    def _moves(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return axis_moves(self.source.affine, CANONICAL)

    def _back(self, canonical: np.ndarray) -> np.ndarray:
        order, flips = self._moves()
        return np.ascontiguousarray(move_axes_back(canonical, order, flips))

    def _check(self, shape: tuple[int, ...]) -> None:
        if tuple(shape) != tuple(self.prepared_shape):
            raise ValueError(
                f"array of shape {tuple(shape)} was not prepared so: {tuple(self.prepared_shape)} is expected"
            )
