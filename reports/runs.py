"""Evaluated runs read back: their scores, and which of them belong together."""

import csv
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Cases = dict[str, dict[str, dict[str, float]]]
"""Case to class to metric to value."""

_NOT_METRICS = ("case", "label", "patient")


class RunsError(ValueError):
    """Runs that cannot be compared; one line with the remedy."""


@dataclass(frozen=True)
class Evaluated:
    """The scores of a run, or of several runs together.

    Attributes:
        name: What it is called.
        cases: Case to class to metric to value.
        patients: Case to patient; a case that is not listed is its own patient.
        members: The runs it is made of.
        notes: What was evaluated, in the words of its summary.
    """

    name: str
    cases: Cases
    patients: Mapping[str, str] = field(default_factory=dict[str, str])
    members: tuple[str, ...] = ()
    notes: str = ""

    def column(self, label: str, metric: str) -> dict[str, float]:
        """Case to value; NaN where it is not known, cases without the class left out."""
        return {case: scores[label].get(metric, math.nan) for case, scores in self.cases.items() if label in scores}


def read_evaluated(folder: pathlib.Path) -> Evaluated:
    """The scores that `evaluate.py` left in a run's folder, or in an evaluation folder.

    Raises:
        RunsError: There is no metrics.csv; says how to make it.
    """
    places = [folder, folder / "evaluation"]
    found = [place for place in places if (place / "metrics.csv").is_file()]
    if not found:
        raise RunsError(f"{folder} is not evaluated: type `python evaluate.py RUN_NAME={folder.name}` first.")
    cases: Cases = {}
    with (found[0] / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            values = {name: _number(text) for name, text in row.items() if name not in _NOT_METRICS}
            cases.setdefault(row["case"], {})[row["label"]] = values
    said = found[0] / "summary.json"
    told = json.loads(said.read_text(encoding="utf-8")) if said.is_file() else {}
    name = folder.parent.name if folder.name == "evaluation" else folder.name
    return Evaluated(name, cases, told.get("patients", {}), (name,), str(told.get("part", "")))


def together(runs: Sequence[Evaluated], *, name: str) -> Evaluated:
    """Several seeds or folds as one: every case once, with the mean of its scores where several runs have it.

    Args:
        runs: At least one.
        name: Of the whole.
    """
    labels: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in runs:
        for case, scores in run.cases.items():
            for label, values in scores.items():
                found = labels.setdefault(case, {}).setdefault(label, {})
                for metric, value in values.items():
                    found.setdefault(metric, []).append(value)
    cases = {
        case: {label: {metric: _mean(found) for metric, found in metrics.items()} for label, metrics in scores.items()}
        for case, scores in labels.items()
    }
    patients = {case: patient for run in runs for case, patient in run.patients.items()}
    members = tuple(member for run in runs for member in run.members)
    return Evaluated(name, cases, patients, members, runs[0].notes)


def grouped(runs: Sequence[Evaluated], identities: Sequence[str]) -> list[Evaluated]:
    """Runs whose identities are equal as one, in order of first appearance.

    Args:
        runs: In the order given.
        identities: Of each run, equal for runs that differ only in seed and fold.
    """
    members: dict[str, list[Evaluated]] = {}
    for run, identity in zip(runs, identities, strict=True):
        members.setdefault(identity, []).append(run)
    return [
        group[0] if len(group) == 1 else together(group, name=common_name([run.name for run in group]))
        for group in members.values()
    ]


def common_name(names: Sequence[str]) -> str:
    """What names share at their start, and how many they are."""
    start = names[0]
    while start and not all(name.startswith(start) for name in names):
        start = start[:-1]
    return f"{start.rstrip('-_. ') or names[0]} ({len(names)} runs)"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _number(text: str | None) -> float:
    return float(text) if text else math.nan
