"""What is trained on: prepared volumes or image files, in a training and a validation part."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from data_generators.capped import CappedPatchSource
from data_generators.cuts import CutSource
from data_generators.folders import FolderSource
from data_generators.labels import Wanted
from data_generators.manifest import Splits, label_lut, load_manifest, load_splits
from data_generators.patches import PatchSource
from data_generators.pictures import PictureOptions
from data_generators.previous import PreviousStage
from data_generators.sources import SliceSource
from training.record import fingerprint

Samples = SliceSource | PatchSource | FolderSource | CutSource


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Attributes:
        train: Samples for training.
        validation: Samples for validation, or `None`.
        class_names: Foreground classes in order.
        modalities: Channels that are images of their own.
        facts: What `run.json` remembers of it.
    """

    train: Samples
    validation: Samples | None
    class_names: tuple[str, ...]
    modalities: int = 1
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    def describe(self) -> str:
        """What was found, in one line."""
        validation = 0 if self.validation is None else len(self.validation)
        classes = ", ".join(self.class_names)
        return f"{len(self.train)} samples to train on, {validation} to validate on; classes: {classes}."

    def input_shape(self, wanted: tuple[int, int, int]) -> tuple[int, ...]:
        """What the network is built for: the patch, or for whole slices and pictures what is wanted of them.

        Args:
            wanted: Rows, columns and channels.

        Raises:
            ValueError: Slices or pictures have another shape.
        """
        shape = self.train.shape
        if isinstance(self.train, PatchSource | CutSource) and shape is not None:
            return shape
        if shape is not None and tuple(shape) != wanted:
            height, width, channels = shape
            raise ValueError(
                f"Samples are {height} x {width} with {channels} channels, INPUT says {wanted}. "
                f"Type INPUT.HEIGHT={height} INPUT.WIDTH={width} INPUT.CHANNELS={channels}, or prepare them again."
            )
        return wanted


def prepared_data(
    root: pathlib.Path,
    *,
    fold: int | None,
    labels: Mapping[str, Wanted] | None,
    splits: Splits | None = None,
    slices: int = 1,
    patch: Sequence[int] | None = None,
    crop: Mapping[str, Any] | None = None,
    previous: PreviousStage | None = None,
) -> Data:
    """Slices, or patches at random places, of the volumes of a prepared collection.

    Args:
        root: The collection.
        fold: Of the cross-validation; `None` takes the official split.
        labels: Class name to source labels; `None` takes all labels of the collection.
        splits: Of its cases; `None` takes those that lie with it.
        slices: Neighbouring slices that make up the channels of a slice, odd.
        patch: `(d, h, w)` or `(h, w)`; `None` takes whole slices.
        crop: The recipe's `CROP`: its cap on one class's share holds for the patches of training.
        previous: What the first stage of a cascade said of the cases.

    Raises:
        ValueError: The collection, the fold or a label does not exist, or there is no training part.
    """
    manifest, splits = load_manifest(root), splits or load_splits(root)
    parts = splits.official if fold is None else splits.fold(fold)
    table, names = label_lut(manifest.labels, labels)

    def source(part: str) -> SliceSource | PatchSource:
        if patch is None:
            return SliceSource(root, parts[part], slices=slices, label_table=table)
        options: dict[str, Any] = {"patch": patch, "slices": slices, "label_table": table}
        if previous is not None:
            options["previous"] = previous if part == "train" else replace(previous, disturbed=False)
        if part == "train" and crop is not None and crop["MAX_CLASS_SHARE"] < 1.0:
            cap, attempts = crop["MAX_CLASS_SHARE"], int(crop["ATTEMPTS"])
            return CappedPatchSource(root, parts[part], max_class_share=cap, attempts=attempts, **options)
        return PatchSource(root, parts[part], **options)

    if not parts.get("train"):
        raise ValueError(f"{root} has no training cases in its split. Type FOLD=0, or prepare the collection again.")
    hashes = [file.sha256 for case in manifest.cases for file in case.sources]
    members = [f"{part} {case}" for part in sorted(parts) for case in parts[part]]
    facts = {
        "data": str(root),
        "data_sha256": fingerprint([*hashes, *members]),
        "data_licence": manifest.licence,
        "fold": fold,
    }
    validation = source("validation") if parts.get("validation") else None
    return Data(source("train"), validation, names[1:], len(manifest.channels), facts)


@dataclass(frozen=True)
class Pictures:
    """Image files and masks: folders or lists."""

    images: pathlib.Path | Sequence[pathlib.Path]
    masks: pathlib.Path | Sequence[pathlib.Path] | None


def picture_data(
    train: Pictures,
    validation: Pictures | None,
    *,
    options: PictureOptions,
    labels: Mapping[str, Wanted] | None,
    share: float,
    seed: int,
    patient_pattern: str | None = None,
    crop: Mapping[str, Any] | None = None,
) -> Data:
    """Image files as samples.

    Args:
        train: Files for training.
        validation: Files for validation; `None` takes some of the training patients.
        options: How files are read; its label table is made from `labels`.
        labels: Class name to mask values.
        share: Of the training patients that validate where `validation` is `None`.
        seed: Decides which.
        patient_pattern: Regular expression whose group 1 is the patient in a file name.
        crop: The recipe's `CROP`: cuts at random places instead of whole pictures.

    Raises:
        ValueError: No class names, no masks, or files that do not pair.
    """
    if labels is None:
        raise ValueError("Mask values have no names: type DATASET.LABELS={liver: 1}, or with more classes.")
    table, names = label_lut({}, labels)
    options = replace(options, label_table=table)

    def source(files: Pictures) -> FolderSource:
        if files.masks is None:
            raise ValueError(f"Training on {files.images} needs masks: type DATASET.TRAIN.MASK_PATH=<folder>.")
        return FolderSource(files.images, files.masks, options=options, patient_pattern=patient_pattern)

    everything = source(train)
    held = held_out(everything.patients, share=share, seed=seed) if validation is None else np.zeros(0, bool)
    if validation is not None:
        training, validating = everything, source(validation)
    else:
        training = everything.select(np.flatnonzero(~held))
        validating = everything.select(np.flatnonzero(held)) if held.any() else None
    files = [f"{path.name} {path.stat().st_size}" for path in everything.images]
    facts = {"data": str(train.images), "data_sha256": fingerprint(files)}
    return Data(
        cut(training, crop), None if validating is None else cut(validating, crop), names[1:], options.channels, facts
    )


def cut(pictures: FolderSource, crop: Mapping[str, Any] | None) -> FolderSource | CutSource:
    """Cuts at random places where the recipe has a `CROP`, else the pictures as they are."""
    if crop is None or crop.get("SIZE") is None:
        return pictures
    return CutSource(
        pictures, size=crop["SIZE"], max_class_share=crop["MAX_CLASS_SHARE"], attempts=int(crop["ATTEMPTS"])
    )


def held_out(patients: Sequence[str], *, share: float, seed: int) -> np.ndarray:
    """Which samples validate: all samples of a share of the patients.

    Args:
        patients: Of each sample.
        share: Of the patients; above 0 at least one, and never all.
        seed: Decides which.

    Returns:
        bool, one for each sample.
    """
    everyone = sorted(set(patients))
    count = min(max(round(len(everyone) * share), 1), len(everyone) - 1) if share else 0
    chosen = set(np.random.default_rng(seed).permutation(everyone)[:count].tolist())
    return np.array([patient in chosen for patient in patients], bool)
