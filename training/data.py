"""What is trained on: prepared volumes or image files, in a training and a validation part."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from data_generators.folders import FolderSource
from data_generators.labels import Wanted
from data_generators.manifest import label_lut, load_manifest, load_splits
from data_generators.pictures import PictureOptions
from data_generators.sources import SliceSource
from training.record import fingerprint

Samples = SliceSource | FolderSource


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Attributes:
        train: Samples for training.
        validation: Samples for validation, or `None`.
        class_names: Foreground classes in order.
        facts: What `run.json` remembers of it.
    """

    train: Samples
    validation: Samples | None
    class_names: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    def describe(self) -> str:
        """What was found, in one line."""
        validation = 0 if self.validation is None else len(self.validation)
        classes = ", ".join(self.class_names)
        return f"{len(self.train)} samples to train on, {validation} to validate on; classes: {classes}."


def prepared_slices(root: pathlib.Path, *, fold: int | None, labels: Mapping[str, Wanted] | None, slices: int) -> Data:
    """Slices of the volumes of a prepared collection.

    Args:
        root: The collection.
        fold: Of the cross-validation; `None` takes the official split.
        labels: Class name to source labels; `None` takes all labels of the collection.
        slices: Neighbouring slices that make up the channels, odd.

    Raises:
        ValueError: The collection, the fold or a label does not exist, or a part is empty.
    """
    manifest, splits = load_manifest(root), load_splits(root)
    parts = splits.official if fold is None else splits.fold(fold)
    table, names = label_lut(manifest.labels, labels)
    sources = {
        part: SliceSource(root, parts[part], slices=slices, label_table=table)
        for part in ("train", "validation")
        if parts.get(part)
    }
    if "train" not in sources:
        raise ValueError(
            f"{root} has no training cases in its split. Type DATASET.SPLIT=folds FOLD=0, or prepare again."
        )
    hashes = [file.sha256 for case in manifest.cases for file in case.sources]
    members = [f"{part} {case}" for part in sorted(parts) for case in parts[part]]
    facts = {
        "data": str(root),
        "data_sha256": fingerprint([*hashes, *members]),
        "data_licence": manifest.licence,
        "fold": fold,
    }
    return Data(sources["train"], sources.get("validation"), names[1:], facts)


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
    return Data(training, validating, names[1:], {"data": str(train.images), "data_sha256": fingerprint(files)})


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
