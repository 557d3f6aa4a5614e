"""Pairs of image files: PNG, JPG, TIF, BMP, GIF, one image and one mask each.

A mask is called like its image (whatever the suffix), or like it with the first `image` replaced by `mask`, as in
`image_12_40.png` and `mask_12_40.png`: the rule of `data_generators.pairing`, but a missing partner is a finding here.
"""

import pathlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from data_generators.pairing import patients_of
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
        PreparationError: No folder or no image.
        PairingError: A pattern that does not fit a name.
    """
    parts = dict(options.parts) if options.source is None else _parts(options.source)
    cases: list[CaseSource] = []
    findings: list[Finding] = []
    for part, (images, masks) in parts.items():
        prefix = f"{part}_" if len(parts) > 1 else ""
        found, wrong = _pairs(_listed(images), None if masks is None else _listed(masks))
        findings += wrong
        patients = _patients([image for image, _ in found], options.patient_pattern)
        official = part if len(parts) > 1 else None
        cases += [
            CaseSource(prefix + image.stem, patient, (image,), mask, official)
            for (image, mask), patient in zip(found, patients, strict=True)
        ]
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
    by_stem: dict[str, list[pathlib.Path]] = defaultdict(list)
    for mask in masks:
        by_stem[mask.stem].append(mask)
    same_name = Counter(image.stem for image in images)
    pairs: list[tuple[pathlib.Path, pathlib.Path | None]] = []
    findings: list[Finding] = []
    used: set[pathlib.Path] = set()
    for image in images:
        names = dict.fromkeys([image.stem, image.stem.replace("image", "mask", 1)])
        partners = [mask for name in names for mask in by_stem.get(name, ()) if mask != image]
        used.update(partners)
        if same_name[image.stem] > 1:
            findings.append(Finding(str(image), "several images have this name.", "Keep one of them."))
        elif len(partners) > 1:
            findings.append(Finding(str(image), f"has several masks: {_names(partners)}.", "Keep one of them."))
        elif not partners:
            findings.append(Finding(str(image), "label missing.", "Add a mask of the same name."))
        else:
            pairs.append((image, partners[0]))
    lonely = [mask for mask in masks if mask not in used]
    findings += [Finding(str(mask), "image missing.", "Add an image of the same name.") for mask in lonely]
    return pairs, findings


def _names(paths: Sequence[pathlib.Path]) -> str:
    return ", ".join(path.name for path in paths)


def _patients(images: Sequence[pathlib.Path], pattern: str | None) -> list[str]:
    """The patient of each image: by the pattern, by the name `image_<patient>_<slice>`, or the name itself."""
    if pattern is not None:
        return patients_of(images, pattern)
    matches = [_SLICE_NAME.fullmatch(image.stem) for image in images]
    return [match[1] if match else image.stem for match, image in zip(matches, images, strict=True)]


def _labels(wanted: Mapping[str, Any]) -> dict[int, str]:
    """Label names by value, from the wanted classes: they are all that is known about the masks."""
    names = {0: "background"}
    for name, values in wanted.items():
        for value in [values] if isinstance(values, int) else values:
            if isinstance(value, int):
                names.setdefault(value, name)
    return names if len(names) > 1 else {0: "background", 1: "foreground"}
