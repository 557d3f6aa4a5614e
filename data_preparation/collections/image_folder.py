"""Pairs of image files: PNG, JPG, TIF, BMP, GIF, one image and one mask each.

A mask belongs to the image of the same name (whatever the suffix), or to the one whose leading `image` is `mask` in its
own name, as in `image_12_40.png` and `mask_12_40.png`.
"""

import pathlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
    with_threshold,
)
from imaging import find_images, read_volume

IMAGE_FOLDERS, MASK_FOLDERS = ("images", "image", "imgs"), ("masks", "mask", "labels")
PART_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
FORM = "folder with images/ and masks/, or with train/, val/ and test/ that have them"
LICENCE = "as the images"

_SLICE_NAME = re.compile(r"image_(.+)_\d+")
_COLOURS = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


def open_image_folder(options: SourceOptions) -> Collection:
    """Pairs the images with their masks.

    Patients come from `patient_pattern` (its group 1), from names `image_<patient>_<slice>`, or else every image is a
    patient of its own.

    Raises:
        PreparationError: No folder, no image, or a pattern that does not fit a name.
    """
    parts = dict(options.parts) if options.source is None else _parts(options.source)
    cases: list[CaseSource] = []
    findings: list[Finding] = []
    for part, (images, masks) in parts.items():
        prefix = f"{part}_" if len(parts) > 1 else ""
        found, wrong = _pairs(_listed(images), None if masks is None else _listed(masks))
        findings += wrong
        for image, mask in found:
            official = part if len(parts) > 1 else None
            cases.append(CaseSource(prefix + image.stem, _patient(image, options), (image,), mask, official))
    if not cases:
        said = " ".join(str(finding) for finding in findings[:3])
        raise PreparationError(f"No pair of image and mask was found. {said} Type DATA_PREPARATION.SOURCE=<{FORM}>.")
    channels = read_volume(cases[0].images[0]).channels
    return Collection(
        name="image_folder",
        labels=_labels(options.labels),
        channels=_COLOURS.get(channels, tuple(f"channel {index}" for index in range(channels))),
        licence=LICENCE,
        cases=tuple(cases),
        findings=tuple(findings),
        intensity="unit",
        read_label=with_threshold(options.mask_threshold),
    )


def _parts(source: pathlib.Path) -> dict[str, tuple[Any, Any]]:
    source = existing_folder(source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    found: dict[str, tuple[Any, Any]] = {}
    for name in ("", *PART_FOLDERS):
        folder = source / name
        images = next((folder / item for item in IMAGE_FOLDERS if (folder / item).is_dir()), None)
        masks = next((folder / item for item in MASK_FOLDERS if (folder / item).is_dir()), None)
        if images is not None:
            found[PART_FOLDERS.get(name, "train")] = (images, masks)
    if not found:
        raise PreparationError(f"{source}: no folder images/ in it. Type DATA_PREPARATION.SOURCE=<{FORM}>.")
    return found


def _listed(place: pathlib.Path | Sequence[pathlib.Path]) -> list[pathlib.Path]:
    if not isinstance(place, pathlib.Path):
        return list(place)
    return find_images(existing_folder(place, key="DATASET.TRAIN.IMAGES_PATH", holds="folder of images"))


def _pairs(
    images: Sequence[pathlib.Path], masks: Sequence[pathlib.Path] | None
) -> tuple[list[tuple[pathlib.Path, pathlib.Path | None]], list[Finding]]:
    """Images with their masks, and whoever has no partner or several."""
    if masks is None:
        return [(image, None) for image in images], []
    by_name: dict[str, tuple[list[pathlib.Path], list[pathlib.Path]]] = defaultdict(lambda: ([], []))
    names = {image.stem for image in images}
    for image in images:
        by_name[image.stem][0].append(image)
    for mask in masks:
        renamed = re.sub(r"^mask", "image", mask.stem)
        by_name[mask.stem if mask.stem in names else renamed][1].append(mask)
    pairs: list[tuple[pathlib.Path, pathlib.Path | None]] = []
    findings: list[Finding] = []
    for found, partners in by_name.values():
        if len(found) == len(partners) == 1:
            pairs.append((found[0], partners[0]))
        elif len(found) > 1 or len(partners) > 1:
            doubled = found if len(found) > 1 else partners
            findings.append(Finding(str(doubled[0]), f"the same name again: {doubled[1]}.", "Keep one of them."))
        elif found:
            findings.append(Finding(str(found[0]), "label missing.", "Add a mask of the same name."))
        else:
            findings.append(Finding(str(partners[0]), "image missing.", "Add an image of the same name."))
    return pairs, findings


def _patient(image: pathlib.Path, options: SourceOptions) -> str:
    if options.patient_pattern is None:
        match = _SLICE_NAME.fullmatch(image.stem)
        return match[1] if match else image.stem
    try:
        match = re.search(options.patient_pattern, image.stem)
        if match is None:
            raise PreparationError(
                f"DATA_PREPARATION.PATIENT_PATTERN={options.patient_pattern} does not fit {image.name}: "
                r"its group 1 is the patient, as in '_(\d+)_'."
            )
        return match[1]
    except (re.error, IndexError) as error:
        raise PreparationError(
            f"DATA_PREPARATION.PATIENT_PATTERN={options.patient_pattern} is no pattern with a group ({error}): "
            r"its group 1 is the patient, as in '_(\d+)_'."
        ) from error


def _labels(wanted: Mapping[str, Any]) -> dict[int, str]:
    """Label names by value, from the wanted classes: they are all that is known about the masks."""
    names = {0: "background"}
    for name, values in wanted.items():
        for value in [values] if isinstance(values, int) else values:
            if isinstance(value, int):
                names.setdefault(value, name)
    return names if len(names) > 1 else {0: "background", 1: "foreground"}
