"""One case from its published files to arrays: orientation, window, size, foreground index."""

import dataclasses
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from data_generators.manifest import IGNORE, Case, SourceFile, locations_path
from data_preparation import validation
from data_preparation.collections.base import CaseSource, Collection, PreparationError
from data_preparation.files import content_hash, save_array, save_arrays
from data_preparation.resizing import coloured, labelled, windowed
from imaging import CaseGeometry, Volume
from imaging.volume import CANONICAL, Shape, axis_moves, move_axes

MIN_LOCATIONS, LOCATION_SHARE = 10_000, 0.01


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is done to every case. `None` keeps the scanner's rows or columns; the window is in Hounsfield units."""

    height: int | None = 320
    width: int | None = 320
    window_hu: tuple[float, float] = (-200.0, 250.0)
    trust_image_grid: bool = False

    def __post_init__(self) -> None:
        low, high = self.window_hu
        if not low < high:
            raise PreparationError(
                f"The window from {low:g} to {high:g} HU is empty: type DATA_PREPARATION.SCAN_MIN_VALUE=-200 "
                "DATA_PREPARATION.SCAN_MAX_VALUE=250, or other values of which the first is the lower one."
            )

    def size_of(self, shape: Shape) -> Shape:
        """Prepared shape of an array in canonical orientation."""
        return (shape[0], self.height or shape[1], self.width or shape[2])

    def intensity(self, kind: str) -> dict[str, Any]:
        """The manifest's entry about intensities, for a collection's kind (`"window"` or `"unit"`)."""
        return {"kind": "window", "window_hu": list(self.window_hu)} if kind == "window" else {"kind": kind}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Arrays of one case: image `(d, h, w, c)` float16 in [0, 1], label `(d, h, w)` uint8 or `None`."""

    image: np.ndarray
    label: np.ndarray | None
    geometry: CaseGeometry


def prepare_arrays(source: CaseSource, collection: Collection, recipe: Recipe) -> Prepared:
    """Reads a case and brings it to the recipe's form.

    The window is applied before anything is interpolated, so that no overshoot at the skin becomes tissue. Works in
    slabs of slices: the memory peak is the file's own image and label plus the result.

    Raises:
        ImageError: A file cannot be read.
        PreparationError: The voxels are not finite, or the label does not fit; names the file.
    """
    volume = collection.read_image(source)
    _refuse(validation.wrong_channels(volume, collection.channels, str(source.images[0])))
    _refuse(validation.too_small(volume, str(source.images[0])))
    _refuse(validation.non_finite(volume, str(source.images[0])))
    label = collection.read_label(source)
    if label is not None:
        name = str(source.label)
        _refuse(validation.grids_differ(volume, label, name, trust_image=recipe.trust_image_grid))
        if not validation.within(label.array, collection.labels):
            _refuse(validation.unexpected_values(validation.count_labels(label.array), collection.labels, name))
        label = dataclasses.replace(label, affine=volume.affine)
        upright = _upright(label)
        label = labelled(upright, *recipe.size_of(cast(Shape, upright.shape))[1:])
    image = _upright(volume)
    geometry = CaseGeometry.of(volume.grid, prepared_shape=recipe.size_of(cast(Shape, image.shape[:3])))
    return Prepared(_sized_image(image, collection, recipe), label, geometry)


def prepare_case(source: CaseSource, *, collection: Collection, recipe: Recipe, root: pathlib.Path) -> Case:
    """Prepares one case and writes its arrays below `root`; each file appears whole.

    Raises:
        ImageError, PreparationError: As `prepare_arrays`.
    """
    arrays = prepare_arrays(source, collection, recipe)
    image, label = f"images/{source.id}.npy", f"labels/{source.id}.npy"
    grid = arrays.geometry.prepared_grid()
    save_array(root / image, arrays.image)
    counts: Mapping[int, int] = {}
    if arrays.label is not None:
        counts = validation.count_labels(arrays.label)
        save_array(root / label, arrays.label)
        save_arrays(root / locations_path(source.id), foreground_index(arrays.label, counts, source.id))
    return Case(
        id=source.id,
        patient=source.patient,
        image=image,
        label=None if arrays.label is None else label,
        shape=grid.shape,
        channels=arrays.image.shape[-1],
        spacing_mm=grid.spacing_mm,
        affine=grid.affine,
        geometry=arrays.geometry,
        sources=tuple(SourceFile(str(path), content_hash(path)) for path in source.images),
        label_source=None if source.label is None else SourceFile(str(source.label), content_hash(source.label)),
        voxels=counts,
    )


def foreground_index(label: np.ndarray, counts: Mapping[int, int], case_id: str) -> dict[str, np.ndarray]:
    """Where each foreground value is: `slices_<v>`, all slices, and `voxels_<v>`, a sample seeded by the case's name.

    The sample has 10,000 voxels, or 1 % of them where that is more, or all where there are fewer.
    """
    rng = np.random.default_rng(zlib.crc32(case_id.encode()))
    everything = np.flatnonzero(label)
    values = label.reshape(-1)[everything]
    index: dict[str, np.ndarray] = {}
    for value in counts:
        if value in (0, IGNORE):
            continue
        flat = everything[values == value]
        index[f"slices_{value}"] = np.unique(flat // label[0].size).astype(np.int32)
        wanted = max(MIN_LOCATIONS, int(np.ceil(LOCATION_SHARE * len(flat))))
        if len(flat) > wanted:
            flat = np.sort(rng.choice(flat, wanted, replace=False))
        index[f"voxels_{value}"] = np.stack(np.unravel_index(flat, label.shape), axis=1).astype(np.int32)
    return index


def _upright(volume: Volume) -> np.ndarray:
    """The voxels in canonical orientation, as a view: each slab is copied when its turn comes."""
    return move_axes(volume.array, *axis_moves(volume.affine, CANONICAL))


def _sized_image(array: np.ndarray, collection: Collection, recipe: Recipe) -> np.ndarray:
    _, h, w = recipe.size_of(cast(Shape, array.shape[:3]))
    if collection.intensity == "window":
        return windowed(array, h, w, window_hu=recipe.window_hu)
    return coloured(array, h, w)


def _refuse(findings: list[Any]) -> None:
    if findings:
        raise PreparationError(str(findings[0]))
