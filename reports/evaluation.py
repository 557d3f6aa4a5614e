"""What evaluate.py leaves behind: metrics.csv, summary.json, pictures of the best, median and worst cases."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from metrics.details import Details
from metrics.provenance import provenance
from metrics.statistics import bootstrap_interval, by_patient, summary
from reports.details import detail_facts, detail_sentences, write_details
from reports.tables import Scores, cell, score_rows, score_table, worst_first, write_csv, write_json

_MAIN = "dice"
Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Class to metric to what `metrics.statistics.summary` says, and `interval_95`."""
WORST = 5
SHOWN = ("dice", "iou", "precision", "recall", "hd95")


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
        details: Case to lesions, challenge scores and calibration.
        lesion_iou: Overlaps from which a lesion counts as found.
    """

    scores: Mapping[str, Scores] = field(default_factory=dict[str, Scores])
    pooled: Mapping[str, Scores] = field(default_factory=dict[str, Scores])
    patients: dict[str, str] = field(default_factory=dict[str, str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    details: Mapping[str, Details] = field(default_factory=dict[str, Details])
    lesion_iou: Sequence[float] = (0.0, 0.5)

    def write(self, folder: pathlib.Path, *, summary: "Summary | None" = None) -> None:
        """Writes `metrics.csv` (a row per case and class), `summary.json` and, where there are any, `patients.csv`,
        `lesions.csv` and `lits.csv`; each appears whole.

        Args:
            folder: Made if missing.
            summary: What `summarise` said of these scores, where it is known already.
        """
        write_csv(folder / "metrics.csv", score_rows(self.scores))
        if self.pooled:
            write_csv(folder / "patients.csv", score_rows(self.pooled, key="patient"))
        write_details(folder, self.details)
        content = {
            **self.facts,
            "notes": list(self.notes),
            "cases": len(self.scores),
            "failed": self.failed,
            "classes": summarise(self.scores, self.patients) if summary is None else summary,
            "patients": {case: patient for case, patient in self.patients.items() if case != patient},
            **detail_facts(self.details, self.lesion_iou),
            "tools": provenance(),
            "worst": worst_first(self.scores, _MAIN)[:WORST],
        }
        write_json(folder / "summary.json", content)


def show(evaluation: Evaluation, folder: pathlib.Path) -> None:
    """Prints the table, what else was measured, and where everything lies."""
    console = Console()
    if evaluation.scores:
        present = {metric for scores in evaluation.scores.values() for values in scores.values() for metric in values}
        shown = [metric for metric in SHOWN if metric in present]
        shown += sorted(metric for metric in present if metric.startswith("nsd"))
        count = len(evaluation.scores)
        title = f"{evaluation.facts['part']}: {count} case{'s' * (count != 1)}"
        console.print(score_table(evaluation.scores, metrics=shown, title=title, notes=evaluation.notes))
    if evaluation.pooled:
        title = "Per patient, all of a patient's images together:"
        console.print(score_table(evaluation.pooled, metrics=SHOWN[:4], title=title))
    if evaluation.facts.get("slicewise"):
        console.print(evaluation.facts["slicewise"], soft_wrap=True)
    told = detail_sentences(evaluation.details, evaluation.lesion_iou)
    for sentence in [*told, *evaluation.facts.get("sentences", ())]:
        console.print(sentence, soft_wrap=True)
    console.print(f"Scores and pictures: {folder / 'report.html'}", soft_wrap=True, highlight=False)


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
