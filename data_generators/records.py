"""What a prepared collection is made of: cases, manifest, splits. `data_generators.manifest` reads and writes it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from imaging.geometry import CaseGeometry

FORMAT_VERSION = 1
IGNORE = 255


class ManifestError(ValueError):
    """A prepared folder that cannot be used; the message is one line with the remedy."""


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file (or DICOM folder) a case was made from, and the SHA-256 of its content."""

    path: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Case:
    """One prepared case. Paths are relative to the collection's root; `shape` is `(d, h, w)`.

    `affine` takes prepared array indices (d, h, w) to RAS+ world millimetres. `voxels` counts the prepared label's
    voxels per source label value, background included; it is empty for a case without a label.
    """

    id: str
    patient: str
    image: str
    label: str | None
    shape: tuple[int, int, int]
    channels: int
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    geometry: CaseGeometry
    sources: tuple[SourceFile, ...]
    label_source: SourceFile | None = None
    voxels: Mapping[int, int] = dataclasses.field(default_factory=dict[int, int])

    def to_dict(self) -> dict[str, Any]:
        """The case as plain JSON types."""
        entry = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        entry["affine"] = np.asarray(self.affine, np.float64).tolist()
        entry["geometry"] = self.geometry.to_dict()
        entry["sources"] = [dataclasses.asdict(source) for source in self.sources]
        entry["label_source"] = dataclasses.asdict(self.label_source) if self.label_source else None
        entry["voxels"] = {str(value): int(count) for value, count in self.voxels.items()}
        return entry

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Case":
        """The inverse of `to_dict`; raises `KeyError`, `TypeError` or `ValueError` where an entry is malformed."""
        label_source = entry["label_source"]
        return cls(
            id=str(entry["id"]),
            patient=str(entry["patient"]),
            image=str(entry["image"]),
            label=None if entry["label"] is None else str(entry["label"]),
            shape=_triple(entry["shape"], int),
            channels=int(entry["channels"]),
            spacing_mm=_triple(entry["spacing_mm"], float),
            affine=np.asarray(entry["affine"], np.float64).reshape(4, 4),
            geometry=CaseGeometry.from_dict(entry["geometry"]),
            sources=tuple(SourceFile(**source) for source in entry["sources"]),
            label_source=None if label_source is None else SourceFile(**label_source),
            voxels={int(value): int(count) for value, count in entry["voxels"].items()},
        )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a prepared collection is.

    `labels` names the stored label values, background included. `intensity` says what was done to the voxels, so that
    prediction can do the same: `{"kind": "window", "window_hu": [lo, hi]}` or `{"kind": "unit"}` (images over their
    largest value). `preparation` holds the other settings, such as `{"height": 320, "width": 320}`.
    """

    collection: str
    labels: Mapping[int, str]
    channels: Sequence[str]
    intensity: Mapping[str, Any]
    cases: tuple[Case, ...]
    licence: str = ""
    preparation: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    version: int = FORMAT_VERSION

    def case(self, case_id: str) -> Case:
        """The case of that id; `ManifestError` where there is none."""
        for case in self.cases:
            if case.id == case_id:
                return case
        raise ManifestError(
            f"Case {case_id!r} is not in the collection {self.collection!r}: it is in no manifest entry."
        )

    def to_dict(self) -> dict[str, Any]:
        """The manifest as plain JSON types."""
        return {
            "version": self.version,
            "collection": self.collection,
            "licence": self.licence,
            "labels": {str(value): name for value, name in self.labels.items()},
            "channels": list(self.channels),
            "intensity": dict(self.intensity),
            "preparation": dict(self.preparation),
            "cases": [case.to_dict() for case in self.cases],
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Manifest":
        """The inverse of `to_dict`; raises like `Case.from_dict`."""
        return cls(
            collection=str(entry["collection"]),
            labels={int(value): str(name) for value, name in entry["labels"].items()},
            channels=[str(name) for name in entry["channels"]],
            intensity=dict(entry["intensity"]),
            cases=tuple(Case.from_dict(case) for case in entry["cases"]),
            licence=str(entry.get("licence", "")),
            preparation=dict(entry.get("preparation", {})),
            version=int(entry["version"]),
        )


@dataclasses.dataclass(frozen=True)
class Splits:
    """Case ids by part: the collection's official split and the folds; parts are tuples in natural order."""

    official: Mapping[str, tuple[str, ...]]
    folds: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    seed: int = 0

    def fold(self, index: int) -> Mapping[str, tuple[str, ...]]:
        """Parts of fold `index`; `ManifestError` where there is no such fold."""
        if not 0 <= index < len(self.folds):
            raise ManifestError(f"Fold {index} does not exist: splits.json has folds 0 to {len(self.folds) - 1}.")
        return self.folds[index]

    def to_dict(self) -> dict[str, Any]:
        """The splits as plain JSON types."""
        return {
            "official": {part: list(ids) for part, ids in self.official.items()},
            "folds": [{part: list(ids) for part, ids in fold.items()} for fold in self.folds],
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Splits":
        """The inverse of `to_dict`."""
        return cls(_parts(entry["official"]), tuple(_parts(fold) for fold in entry["folds"]), int(entry["seed"]))


def _parts(entry: Mapping[str, Iterable[Any]]) -> dict[str, tuple[str, ...]]:
    return {part: tuple(str(case_id) for case_id in ids) for part, ids in entry.items()}


def _triple(values: Iterable[Any], kind: type) -> Any:
    triple = tuple(kind(value) for value in values)
    if len(triple) != 3:
        raise ValueError(f"expected three numbers (d, h, w), got {list(triple)}")
    return triple
