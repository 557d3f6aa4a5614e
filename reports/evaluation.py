"""What evaluate.py leaves behind: metrics.csv, summary.json, pictures of the best, median and worst cases."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metrics.provenance import provenance
from metrics.statistics import bootstrap_interval, by_patient, summary
from reports.tables import Scores, cell, score_rows, worst_first, write_csv, write_json

_MAIN = "dice"
WORST = 5


@dataclass
class Evaluation:
    """Scores of a cohort.

    Attributes:
        scores: Case to class name to metric name to value.
        pooled: Patient to scores of all the patient's voxels together; empty where every case is a patient.
        patients: Case to patient.
        failed: What could not be scored, and why, by name.
        notes: Policies and tool versions, one sentence each.
        facts: What was evaluated: run, split, checkpoint; plain JSON types.
    """

    scores: Mapping[str, Scores] = field(default_factory=dict[str, Scores])
    pooled: Mapping[str, Scores] = field(default_factory=dict[str, Scores])
    patients: dict[str, str] = field(default_factory=dict[str, str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def write(self, folder: pathlib.Path) -> None:
        """Writes `metrics.csv` (a row per case and class), `patients.csv` and `summary.json`; each appears whole."""
        write_csv(folder / "metrics.csv", score_rows(self.scores))
        if self.pooled:
            write_csv(folder / "patients.csv", score_rows(self.pooled, key="patient"))
        content = {
            **self.facts,
            "notes": list(self.notes),
            "cases": len(self.scores),
            "failed": self.failed,
            "classes": summarise(self.scores, self.patients),
            "tools": provenance(),
            "worst": worst_first(self.scores, _MAIN)[:WORST],
        }
        write_json(folder / "summary.json", content)


def summarise(cases: Mapping[str, Scores], patients: Mapping[str, str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Statistics over cases of every class and metric, and an interval of the mean over patients.

    Args:
        cases: Case to its scores.
        patients: Case to patient; a case that is not listed is its own patient.

    Returns:
        Class to metric to `metrics.statistics.summary`, with `interval_95` (bootstrap, NaN below two patients).
    """
    labels = dict.fromkeys(label for scores in cases.values() for label in scores)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for label in labels:
        holders = {case: scores[label] for case, scores in cases.items() if label in scores}
        result[label] = {}
        for metric in dict.fromkeys(metric for values in holders.values() for metric in values):
            values = {case: scores.get(metric, math.nan) for case, scores in holders.items()}
            interval = bootstrap_interval(list(by_patient(values, patients).values()))
            result[label][metric] = {**summary(list(values.values())), "interval_95": list(interval)}
    return result


def chosen_cases(cases: Mapping[str, Scores], count: int) -> dict[str, list[str]]:
    """The `count` worst, median and best cases by the mean Dice of their classes; no case twice.

    Returns:
        `"worst"`, `"median"` and `"best"` to case names; cases without a Dice are left out.
    """
    order = [case for case in worst_first(cases, _MAIN) if _has_value(cases[case])]
    worst = order[:count]
    best = [case for case in reversed(order[-count:] if count else []) if case not in worst]
    middle = sorted(range(len(order)), key=lambda place: abs(place - (len(order) - 1) / 2))[:count]
    median = [order[place] for place in sorted(middle) if order[place] not in (*worst, *best)]
    return {"worst": worst, "median": median, "best": best}


def case_title(case: str, scores: Scores) -> str:
    """The case and the Dice of each class, for a picture's title."""
    dice = ", ".join(f"{label} {cell(values.get(_MAIN))}" for label, values in scores.items())
    return f"{case}: Dice {dice}"


def _has_value(scores: Scores) -> bool:
    return any(math.isfinite(values.get(_MAIN, math.nan)) for values in scores.values())
