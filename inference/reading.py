"""Inputs in memory: what the network sees, what a picture shows, and the reference where there is one."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_generators.pictures import PictureOptions, read_mask, read_picture
from imaging import CaseGeometry, ImageError, Volume, read_label, read_volume, same_grid
from imaging.volume import picture_affine
from inference.inputs import InputError, Item
from inference.prepare import InputRecipe, label_on_prepared, prepare_volume
from inference.scoring import map_label
from inference.segmenter import Segmenter


def picture_options(
    options: Mapping[str, Any], *, channels: int, table: np.ndarray, size: tuple[int, int] | None = None
) -> PictureOptions:
    """How pictures are read, from the plain values of the configuration's PREPROCESS_DATA section.

    Args:
        options: Its keys in upper case.
        channels: Of the network's input.
        table: From mask values to classes, uint8 `(256,)`.
        size: Rows and columns to resize to, whatever the section says.
    """
    resize, divide = options["RESIZE"], options["NORMALIZE_MASK"]
    said = (int(resize["HEIGHT"]), int(resize["WIDTH"])) if resize["VALUE"] else None
    return PictureOptions(
        channels=channels,
        size=size or said,
        normalize=options["IMAGE_PREPROCESSING_TYPE"] == "normalize",
        mask_divisor=int(divide["NORMALIZE_VALUE"]) if divide["VALUE"] else None,
        mask_threshold=options["MASK_THRESHOLD"],
        label_table=table,
    )


@dataclasses.dataclass(frozen=True)
class Rules:
    """How files are read.

    Attributes:
        recipe: What is done to volumes.
        pictures: What is done to pictures and their masks.
        table: From stored label values of a volume to classes, uint8 `(256,)`.
        coarse: What is done to volumes for the first stage of a cascade.
    """

    recipe: InputRecipe
    pictures: PictureOptions
    table: np.ndarray
    coarse: InputRecipe | None = None


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One input.

    Attributes:
        image: For the network: a picture `(h, w, c)`, or a prepared volume `(d, h, w, c)`.
        shown: For the display: a picture as stored `(h, w, c)`, or the first channel of the prepared volume.
        reference: Classes on the grid of `shown`, `(d, h, w)` (a picture has one slice), or None.
        geometry: How the prepared volume came from its file; None for a picture.
        coarse: The volume for the first stage of a cascade, `(d, h, w, c)`, or None.
    """

    image: np.ndarray
    shown: np.ndarray
    reference: np.ndarray | None
    geometry: CaseGeometry | None = None
    coarse: np.ndarray | None = None

    def grey(self) -> np.ndarray:
        """What is shown as one grey volume `(d, h, w)`; of a colour picture the middle channel."""
        return self.shown if self.geometry is not None else self.shown[None, ..., self.shown.shape[-1] // 2]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size of what is shown; 1 for a picture."""
        return (1.0, 1.0, 1.0) if self.geometry is None else self.geometry.prepared_grid().spacing_mm


def load(item: Item, rules: Rules) -> Loaded:
    """Reads an input and its mask.

    Raises:
        ValueError: A file cannot be read, or image and mask differ in size; names the file.
    """
    if item.problem:
        raise InputError(item.problem)
    picture = item.kind == "picture" and rules.recipe.plan is None
    return _picture(item, rules) if picture else _volume(item, rules)


def read_image(files: Sequence[pathlib.Path]) -> Volume:
    """An image; several files are its channels, in order.

    Raises:
        ImageError: A file cannot be read, or the files lie on different grids.
    """
    volumes = [read_volume(path) for path in files]
    if len(volumes) == 1:
        return volumes[0]
    for path, volume in zip(files, volumes, strict=True):
        if not same_grid(volumes[0], volume):
            raise ImageError(f"{path} lies on another grid than {files[0]}: resample one of them to the other.")
    stacked = np.concatenate([volume.array.reshape(*volume.shape, -1) for volume in volumes], axis=-1)
    return dataclasses.replace(volumes[0], array=stacked)


def segment(loaded: Loaded, segmenter: Segmenter, *, source: str) -> Volume:
    """The label of an input on the grid of its file; a picture's is one slice without geometry."""
    if loaded.geometry is None:
        label = segmenter.picture_label(loaded.image, size=loaded.shown.shape[:2])
        return Volume(label[None], picture_affine(), source=source, has_geometry=False)
    return segmenter.label(loaded.image, loaded.geometry, source=source)


def as_shown(label: Volume, loaded: Loaded) -> np.ndarray:
    """A label on the grid of `loaded.shown`, `(d, h, w)`; a picture has one slice."""
    if loaded.geometry is None:
        return label.array
    return label_on_prepared(label.array, loaded.geometry, label.affine)


def _picture(item: Item, rules: Rules) -> Loaded:
    as_stored = dataclasses.replace(rules.pictures, size=None, normalize=False)
    shown = read_picture(item.path, as_stored)
    reference = None if item.mask is None else read_mask(item.mask, as_stored)[None, ..., 0]
    if reference is not None and reference.shape[1:] != shown.shape[:2]:
        raise ValueError(
            f"{item.mask}: has size {reference.shape[1:]}, {item.path.name} has {shown.shape[:2]}: give its mask."
        )
    return Loaded(read_picture(item.path, rules.pictures), shown, reference)


def _volume(item: Item, rules: Rules) -> Loaded:
    volume = read_image(item.files)
    image, geometry = prepare_volume(volume, rules.recipe)
    coarse = None if rules.coarse is None else prepare_volume(volume, rules.coarse)[0]
    reference = None
    if item.mask is not None:
        label = map_label(read_label(item.mask), rules.table)
        if label.shape != volume.shape:
            raise ValueError(
                f"{item.mask}: has shape {label.shape}, {item.path.name} has {volume.shape}: give its mask."
            )
        reference = label_on_prepared(label.array, geometry, volume.affine)
    return Loaded(image, image[..., 0], reference, geometry, coarse)
