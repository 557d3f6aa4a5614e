"""What is measured of a case beside its scores: lesions, challenge tables, calibration; and how cases are joined."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrics.calibration import Reliability
from metrics.challenges import LitsCase
from metrics.lesions import Lesion, LesionScores
from metrics.overlap import Counts

ALL_CLASSES = "all classes"
"""Name of the calibration of the decision itself, beside that of each class."""


@dataclass(frozen=True)
class Details:
    """What one case tells beside its scores.

    Attributes:
        lesions: Class to detection of its lesions.
        lits: The case as LiTS scores it.
        calibration: Class, or `ALL_CLASSES`, to its voxels by confidence.
    """

    lesions: Mapping[str, LesionScores] = field(default_factory=dict[str, LesionScores])
    lits: LitsCase | None = None
    calibration: Mapping[str, Reliability] = field(default_factory=dict[str, Reliability])

    def scores(self, thresholds: Sequence[float]) -> dict[str, dict[str, float]]:
        """Class to `lesions_reference`, `lesion_f1_iou_0.5` and so on, and `ece`: columns beside the case's scores."""
        found = {label: lesions.scores(thresholds) for label, lesions in self.lesions.items()}
        for label, voxels in self.calibration.items():
            if label != ALL_CLASSES:
                found.setdefault(label, {})["ece"] = voxels.expected_error
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "lesions": {label: dataclasses.asdict(lesions) for label, lesions in self.lesions.items()},
            "lits": None if self.lits is None else dataclasses.asdict(self.lits),
            "calibration": {label: _voxels(found) for label, found in self.calibration.items()},
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Details":
        """Inverse of `to_dict`."""
        lits = entry["lits"]
        return cls(
            {
                label: LesionScores(tuple(Lesion(**lesion) for lesion in said["lesions"]), said["predicted"])
                for label, said in entry["lesions"].items()
            },
            None
            if lits is None
            else LitsCase(
                lits["scores"],
                {label: Counts(**counts) for label, counts in lits["counts"].items()},
                (lits["burden"][0], lits["burden"][1]),
            ),
            {
                label: Reliability(*(np.array(said[name], np.float64) for name in ("voxels", "confidence", "right")))
                for label, said in entry["calibration"].items()
            },
        )


def joined_lesions(cases: Iterable[Details]) -> dict[str, LesionScores]:
    """Class to the lesions of all cases together, as if they were one case."""
    found: dict[str, list[LesionScores]] = {}
    for case in cases:
        for label, lesions in case.lesions.items():
            found.setdefault(label, []).append(lesions)
    return {
        label: LesionScores(
            tuple(lesion for lesions in several for lesion in lesions.lesions),
            sum(lesions.predicted for lesions in several),
        )
        for label, several in found.items()
    }


def joined_calibration(cases: Iterable[Details]) -> dict[str, Reliability]:
    """Class to the voxels of all cases together."""
    found: dict[str, Reliability] = {}
    for case in cases:
        for label, voxels in case.calibration.items():
            found[label] = found[label] + voxels if label in found else voxels
    return found


def _voxels(found: Reliability) -> dict[str, list[float]]:
    return {name: getattr(found, name).tolist() for name in ("voxels", "confidence", "right")}
