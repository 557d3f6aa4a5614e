"""A prediction against its reference, on the grid of the reference."""

import functools
import operator
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from imaging import Volume, same_grid, to_canonical
from imaging.paths import stem_of
from inference.details import DetailRules
from metrics.cases import case_metrics
from metrics.empty import EMPTY_POLICIES
from metrics.overlap import Counts, count_classes, overlap_scores
from metrics.provenance import provenance

Scores = dict[str, dict[str, float]]
_SIDECARS = (".json", ".txt", ".ctbl", ".csv", ".html")
"""Files beside predictions that are none: names and colours of labels, tables, pages."""


class ScoringError(ValueError):
    """A prediction that cannot be scored; one line with the remedy."""


@dataclass(frozen=True)
class Policy:
    """What every number depends on.

    Attributes:
        names: Class value to name, background included.
        regions: Region to class values: where there are any, they are scored instead of the classes.
        tolerance_mm: Tolerances of the surface Dice.
        empty: What an empty mask scores: a key of `metrics.empty.EMPTY_POLICIES`.
        ignore_label: Reference voxels of this value do not count.
        unit: Of distances: `"mm"`, or `"pixels"` for pictures.
        details: What is measured beside the scores.
    """

    names: Mapping[int, str]
    tolerance_mm: tuple[float, ...] = (1.0,)
    empty: str = "nan"
    ignore_label: int = 255
    unit: str = "mm"
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    details: DetailRules = field(default_factory=DetailRules)

    def notes(self) -> list[str]:
        """Lines for a table's header: the rule for empty masks, the unit, and which tool measured what."""
        tools = provenance()
        rules = self.details
        wanted = ["dice", "hd95", *["lesions"] * bool(rules.lesions), *["calibration"] * rules.calibration]
        measured = [f"{name}: {tool}" for name, tool in tools.items() if any(word in name for word in wanted)]
        return [
            EMPTY_POLICIES[self.empty],
            f"One score per case, on the grid of its reference file. Distances in {self.unit}.",
            *rules.notes(),
            *[f"Measured by {line}." for line in measured],
        ]

    @property
    def classes(self) -> dict[str, tuple[int, ...]]:
        """Name to class values of what the network answers: the regions, or else the foreground classes."""
        return dict(self.regions) or {name: (value,) for value, name in self.names.items() if value != 0}

    @property
    def scored(self) -> dict[str, tuple[int, ...]]:
        """`classes`, and the sets of classes of a challenge."""
        return {**self.classes, **self.details.sets}


def map_label(label: Volume, table: np.ndarray) -> Volume:
    """Stored label values as classes.

    Args:
        label: Integers from 0 to 255.
        table: uint8 `(256,)`, see `data_generators.labels.label_lut`.

    Raises:
        ScoringError: A value below 0 or above 255; names the file.
    """
    low, high = int(label.array.min()), int(label.array.max())
    if low < 0 or high > 255:
        raise ScoringError(
            f"{label.source}: holds labels from {low} to {high}, only 0 to 255 can be mapped to classes."
        )
    return label.with_array(table[label.array.astype(np.uint8)])


def check_prediction(prediction: Volume, reference: Volume, *, names: Mapping[int, str]) -> None:
    """Refuses a prediction on another grid, or with values that are no class.

    Raises:
        ScoringError: As said; names the file and the values.
    """
    if prediction.shape != reference.shape:
        raise ScoringError(
            f"{prediction.source}: has shape {prediction.shape}, its reference {reference.shape}: write predictions on "
            "the grid of the original image."
        )
    known = prediction.has_geometry and reference.has_geometry
    if known and not same_grid(prediction, reference, tolerance_mm=0.1):
        raise ScoringError(
            f"{prediction.source}: lies elsewhere than its reference {reference.source} (another origin, spacing or "
            "orientation): write predictions on the grid of the original image."
        )
    strange = sorted(set(np.unique(prediction.array).tolist()) - set(names))
    if strange:
        classes = ", ".join(f"{value} {name}" for value, name in sorted(names.items()))
        raise ScoringError(f"{prediction.source}: holds the values {strange[:5]}, the classes are {classes}.")


def score_case(prediction: Volume, reference: Volume, policy: Policy) -> Scores:
    """Every metric of every class of one case.

    Args:
        prediction: Class values `(d, h, w)`, on the grid of the reference.
        reference: Class values, or the ignore label.
        policy: Names, tolerances, the empty case.

    Returns:
        Class name to metric name to value.

    Raises:
        ScoringError: See `check_prediction`.
    """
    check_prediction(prediction, reference, names=policy.names)
    return case_metrics(
        reference.array,
        prediction.array,
        spacing_mm=reference.spacing_mm,
        labels=policy.scored,
        tolerance_mm=policy.tolerance_mm,
        empty=policy.empty,
        ignore_label=policy.ignore_label,
    )


def class_counts(prediction: Volume, reference: Volume, policy: Policy) -> dict[str, Counts]:
    """Voxels of each class in both, in the reference and in the prediction: what pooled scores are made of."""
    return count_classes(reference.array, prediction.array, policy.scored, ignore_label=policy.ignore_label)


def pooled_scores(counts: Mapping[str, Sequence[Mapping[str, Counts]]]) -> dict[str, Scores]:
    """Overlap scores of groups of cases, from their voxels together (not the mean of the cases' scores).

    Args:
        counts: Group, such as a patient, to the class counts of its cases; a group is not empty.

    Returns:
        Group to class to `dice`, `iou`, `precision` and `recall`; NaN where nothing is there.
    """
    kept = ("dice", "iou", "precision", "recall")
    pooled: dict[str, Scores] = {}
    for group, cases in counts.items():
        sums = {name: functools.reduce(operator.add, [case[name] for case in cases]) for name in cases[0]}
        measured = {name: overlap_scores(total, voxel_ml=1.0) for name, total in sums.items()}
        pooled[group] = {name: {metric: values[metric] for metric in kept} for name, values in measured.items()}
    return pooled


@dataclass(frozen=True)
class Slicewise:
    """The predecessor's two figures, as sums over slices; `+` joins cases.

    Attributes:
        dice: Sum of the slices' foreground Dice, where an empty slice predicted empty counts 1.
        accuracy: Sum of the slices' share of right pixels (what the predecessor calls Dice).
        slices: How many.
    """

    dice: float = 0.0
    accuracy: float = 0.0
    slices: int = 0

    def __add__(self, other: "Slicewise") -> "Slicewise":
        return Slicewise(self.dice + other.dice, self.accuracy + other.accuracy, self.slices + other.slices)

    def sentence(self) -> str:
        """Both figures with what they are."""
        if not self.slices:
            return "Slice-wise: no slice was scored."
        return (
            f"Slice-wise, for comparison with the predecessor only: mean over {self.slices} slices "
            f"{self.dice / self.slices:.4f} (an empty slice predicted empty counts 1), pixel accuracy "
            f"{self.accuracy / self.slices:.4f} (what it prints as Dice). Neither is a Dice per patient: both rise "
            "with the share of slices without the organ."
        )


def slicewise(prediction: Volume, reference: Volume, *, ignore_label: int = 255) -> Slicewise:
    """The predecessor's figures of one case, over its axial slices; all foreground counts as one class.

    Ignored voxels of the reference count as background that was found.
    """
    found = Slicewise()
    for plane, truth in zip(to_canonical(prediction).array, to_canonical(reference).array, strict=True):
        counted = truth != ignore_label
        said, there = (plane > 0) & counted, (truth > 0) & counted
        total = np.count_nonzero(said) + np.count_nonzero(there)
        dice = 2 * np.count_nonzero(said & there) / total if total else 1.0
        found += Slicewise(dice, np.count_nonzero(said == there) / truth.size, 1)
    return found


def match_predictions(folder: pathlib.Path, cases: Sequence[str]) -> tuple[dict[str, pathlib.Path], dict[str, str]]:
    """Which file of a folder is the prediction of which case.

    Args:
        folder: Holds one label file per case, called like the case.
        cases: Case names.

    Returns:
        Case to file, and problems by name: cases without a file, cases with several, files of no case.
    """
    files: dict[str, list[pathlib.Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in _SIDECARS:
            files.setdefault(stem_of(path), []).append(path)
    matched = {case: files[case][0] for case in cases if len(files.get(case, ())) == 1}
    problems = {
        case: f"no file {case}.* in {folder}: predict it, or rename its file" for case in cases if case not in files
    }
    problems |= {
        case: f"several files: {', '.join(path.name for path in files[case])}: keep one"
        for case in cases
        if len(files.get(case, ())) > 1
    }
    known = set(cases)
    problems |= {
        path.name: "belongs to no case of this split: rename it like its case, or move it away"
        for stem, paths in files.items()
        if stem not in known
        for path in paths
    }
    return matched, problems
