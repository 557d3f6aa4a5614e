"""A volume as it comes from a file, brought to the form that the network was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from imaging import CaseGeometry, Volume, resize_slices, rgb_to_unit, to_canonical, window_to_unit
from imaging.planned import PlannedInput, prepare_planned

KINDS = ("window", "unit", "planned")
_SLAB = 16


@dataclass(frozen=True)
class InputRecipe:
    """What preparation did to the training cases, and must be done again.

    Attributes:
        height: Rows of a prepared slice; None keeps those of the file.
        width: Columns, likewise.
        intensity: The manifest's entry: `{"kind": "window", "window_hu": [lo, hi]}`, `{"kind": "unit"}`, or
            `{"kind": "planned", ...}` with the spacing and the normalisation of each channel
            (`imaging.planned.PlannedInput`).
        channels: Modalities of a volume.
        spacing_mm: Of files that state none, along `(d, h, w)`; None leaves them at 1.

    Raises:
        ValueError: Intensities of an unknown kind, or a plan that does not serve.
    """

    height: int | None = None
    width: int | None = None
    intensity: Mapping[str, Any] = field(default_factory=lambda: {"kind": "unit"})
    channels: int = 1
    spacing_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.intensity.get("kind") not in KINDS:
            raise ValueError(
                f"Intensities of kind {self.intensity.get('kind')!r} cannot be repeated on a new file, only "
                f"{', '.join(KINDS)}: prepare the collection again with this version."
            )

    @property
    def plan(self) -> PlannedInput | None:
        """Crop, normalisation and spacing of a planned collection; None for others."""
        return PlannedInput.from_dict(self.intensity) if self.intensity["kind"] == "planned" else None

    def unit(self, array: np.ndarray) -> np.ndarray:
        """Voxels `(d, h, w[, c])` as float32 in [0, 1]."""
        if self.intensity["kind"] == "window":
            low, high = self.intensity["window_hu"]
            return window_to_unit(array, window_hu=(float(low), float(high)))
        return rgb_to_unit(array)


def prepare_volume(volume: Volume, recipe: InputRecipe) -> tuple[np.ndarray, CaseGeometry]:
    """Orientation, intensities, size and spacing of the training cases, by the functions that prepared those.

    Intensities are changed before anything is interpolated. Without a plan it works in slabs of slices, so that the
    peak is the volume twice and the result.

    Args:
        volume: As read; any orientation.
        recipe: What was done to the training cases.

    Returns:
        Image `(d, h, w, c)` in canonical orientation, float16, of a plan float32; and how to get back to the file's
        grid.

    Raises:
        ValueError: Another number of channels than the network's, or voxels that are not finite.
    """
    if volume.channels != recipe.channels:
        raise ValueError(
            f"{volume.source}: has {volume.channels} channels, the network was trained on {recipe.channels}: give one "
            "file with the channels of the training cases, files called CASE_0000, CASE_0001 and so on, or a list of "
            "the files of each case."
        )
    if np.issubdtype(volume.array.dtype, np.floating) and not all(np.isfinite(plane).all() for plane in volume.array):
        raise ValueError(f"{volume.source}: holds voxels that are not finite: repair or export it again.")
    if recipe.spacing_mm is not None and not volume.has_geometry:
        volume = replace(volume, affine=volume.affine @ np.diag([*recipe.spacing_mm, 1.0]))
    if recipe.plan is not None:
        planned, _, geometry = prepare_planned(volume, recipe.plan)
        return np.ascontiguousarray(planned, np.float32), geometry
    upright = to_canonical(volume) if volume.has_geometry else volume
    depth, rows, columns = upright.shape
    height, width = recipe.height or rows, recipe.width or columns
    image = np.empty((depth, height, width, recipe.channels), np.float16)
    for start in range(0, depth, _SLAB):
        slab = recipe.unit(upright.array[start : start + _SLAB])
        sized = resize_slices(slab, height, width, label=False)
        image[start : start + _SLAB] = sized.reshape(len(slab), height, width, recipe.channels)
    return image, CaseGeometry.of(volume.grid, prepared_shape=(depth, height, width))


def label_on_prepared(label: np.ndarray, geometry: CaseGeometry, affine: np.ndarray) -> np.ndarray:
    """A label on the source grid, seen on the prepared grid (nearest voxel): for pictures, not for scores.

    Args:
        label: `(d, h, w)` on the grid of the source file.
        geometry: How the prepared array came from its source.
        affine: Of the source file.

    Returns:
        `(d, h, w)` of the prepared shape.
    """
    upright = to_canonical(Volume(label, affine)).array
    cropped = upright[tuple(slice(low, high) for low, high in geometry.crop)]
    places = [
        np.floor((np.arange(new) + 0.5) * old / new).astype(int)
        for old, new in zip(cropped.shape, geometry.prepared_shape, strict=True)
    ]
    return cropped[np.ix_(*places)]
