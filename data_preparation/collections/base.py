"""What a collection is to the preparation: cases found on disk, and how an image and a label are read."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_generators.pairing import patients_of
from imaging import ImageError, Volume, read_label, read_volume, same_grid


class PreparationError(ValueError):
    """A mistake of settings or data that stops the preparation; one line with the remedy."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something wrong with a file, and what to do about it."""

    file: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem} {self.remedy}".strip()


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """Where the user says the collection lies.

    `parts` are folders of images and masks per part of the split; `labels` are the wanted classes, for collections
    that do not say themselves what their label values mean. `images` and `masks` are glob patterns below `source` (of
    images one per channel), `channels` the channels' names, `spacing_mm` (depth first) serves files that state none,
    and `stray_labels` says what becomes of label values that are no label: refuse, ignore or background.
    """

    source: pathlib.Path | None = None
    train: pathlib.Path | None = None
    validation: pathlib.Path | None = None
    parts: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict[str, tuple[Any, Any]])
    patient_pattern: str | None = None
    mask_threshold: int | None = None
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    images: tuple[str, ...] = ()
    masks: str | None = None
    channels: tuple[str, ...] = ()
    spacing_mm: tuple[float, float, float] | None = None
    stray_labels: str = "refuse"


@dataclasses.dataclass(frozen=True)
class CaseSource:
    """One case as published: its files (one per channel), its label, and the official part it belongs to, if any."""

    id: str
    patient: str
    images: tuple[pathlib.Path, ...]
    label: pathlib.Path | None
    part: str | None = None


def named_patients(cases: Sequence[CaseSource], pattern: str | None) -> list[CaseSource]:
    """Cases whose patient is group 1 of a regular expression in the name of their first image.

    Args:
        cases: In any order, which stays.
        pattern: `DATA_PREPARATION.PATIENT_PATTERN`; `None` leaves the patients as they are.

    Raises:
        ValueError: A name does not match the pattern.
    """
    if pattern is None:
        return list(cases)
    patients = patients_of([case.images[0] for case in cases], pattern)
    return [dataclasses.replace(case, patient=patient) for case, patient in zip(cases, patients, strict=True)]


def read_channels(case: CaseSource) -> Volume:
    """The image of a case; several files become channels.

    Raises:
        ImageError: A file cannot be read, or the files lie on different grids.
    """
    volumes = [read_volume(path) for path in case.images]
    first = volumes[0]
    for path, volume in zip(case.images[1:], volumes[1:], strict=True):
        if not same_grid(first, volume):
            raise ImageError(f"{path} lies on another grid than {case.images[0]}: resample one of them to the other.")
    if len(volumes) == 1:
        return first
    stacked = np.concatenate([volume.array.reshape(*volume.shape, -1) for volume in volumes], axis=-1)
    return dataclasses.replace(first, array=stacked)


def read_case_label(case: CaseSource) -> Volume | None:
    """The label of a case, or `None`."""
    return None if case.label is None else read_label(case.label)


def read_mask(case: CaseSource, *, threshold: int) -> Volume | None:
    """The label of a case whose mask is stored as grey values: 1 above the threshold, else 0."""
    if case.label is None:
        return None
    mask = read_volume(case.label)
    grey = mask.array if mask.array.ndim == 3 else mask.array[..., :3].max(axis=-1)
    return dataclasses.replace(mask, array=(grey > threshold).astype(np.uint8))


@dataclasses.dataclass(frozen=True)
class Collection:
    """A collection found on disk.

    `labels` names the values that may occur in a label. `intensity` is `"window"` (clip to a window of Hounsfield
    units), `"unit"` (divide by the largest value of the file's type) or `"planned"` (as the collection's plan says).
    `regions` are overlapping classes by name, the values of each. `findings` are the cases that discovery had to leave
    out, and why. `read_image` and `read_label` are module-level functions, so that workers can call them.
    `threads` says that reading spends its time outside Python, so that threads serve better than processes.
    """

    name: str
    labels: Mapping[int, str]
    channels: tuple[str, ...]
    licence: str
    cases: tuple[CaseSource, ...]
    findings: tuple[Finding, ...] = ()
    intensity: str = "window"
    read_image: Callable[[CaseSource], Volume] = read_channels
    read_label: Callable[[CaseSource], Volume | None] = read_case_label
    threads: bool = True
    regions: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict[str, tuple[int, ...]])


def with_threshold(threshold: int | None) -> Callable[[CaseSource], Volume | None]:
    """The label reader for masks of class indices, or for grey masks cut at a threshold."""
    return read_case_label if threshold is None else functools.partial(read_mask, threshold=threshold)


def existing_folder(path: pathlib.Path | None, *, key: str, holds: str) -> pathlib.Path:
    """The path, if it is there.

    Raises:
        PreparationError: Nothing was given, or it does not exist; names the key and what belongs there.
    """
    if path is None:
        raise PreparationError(f"{key} is not set: type {key}=<{holds}>.")
    if not path.exists():
        raise PreparationError(f"{path} does not exist: type {key}=<{holds}>.")
    return path
