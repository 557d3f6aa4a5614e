"""What evaluate.py leaves behind: metrics.csv, summary.json, pictures of the best, median and worst cases."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reports.tables import Scores, cell, score_rows, worst_first, write_csv, write_json

_MAIN = "dice"
WORST = 5


@dataclass
class Evaluation:
    """Scores of a cohort.

    Attributes:
        scores: Case to class name to metric name to value.
        failed: What could not be scored, and why, by name.
        notes: Policies and tool versions, one sentence each.
        facts: What was evaluated: run, split, checkpoint; plain JSON types.
    """

    scores: dict[str, Scores] = field(default_factory=dict[str, Scores])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def write(self, folder: pathlib.Path) -> None:
        """Writes `metrics.csv` (a row per case and class) and `summary.json`; each appears whole."""
        write_csv(folder / "metrics.csv", score_rows(self.scores))
        content = {
            **self.facts,
            "notes": list(self.notes),
            "cases": len(self.scores),
            "failed": self.failed,
            "classes": summarise(self.scores),
            "worst": worst_first(self.scores, _MAIN)[:WORST],
        }
        write_json(folder / "summary.json", content)


def summarise(cases: Mapping[str, Scores]) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean, standard deviation, median, quartiles and extremes over cases, for every class and metric.

    Returns:
        Class to metric to statistics. `n` counts the cases with a value, `missing` those without; a metric that no case
        has is NaN throughout. The standard deviation is the sample's (n - 1), NaN for one case.
    """
    labels = dict.fromkeys(label for scores in cases.values() for label in scores)
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for label in labels:
        holders = [scores[label] for scores in cases.values() if label in scores]
        metrics = dict.fromkeys(metric for values in holders for metric in values)
        summary[label] = {
            metric: _statistics([values.get(metric, math.nan) for values in holders]) for metric in metrics
        }
    return summary


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


def _statistics(values: Sequence[float]) -> dict[str, Any]:
    present = np.asarray([value for value in values if math.isfinite(value)], np.float64)
    counts = {"n": len(present), "missing": len(values) - len(present)}
    if present.size == 0:
        return {**counts, **dict.fromkeys(("mean", "sd", "median", "q1", "q3", "min", "max"), math.nan)}
    quartiles = np.percentile(present, [25, 50, 75])
    return {
        **counts,
        "mean": float(present.mean()),
        "sd": float(present.std(ddof=1)) if present.size > 1 else math.nan,
        "median": float(quartiles[1]),
        "q1": float(quartiles[0]),
        "q3": float(quartiles[2]),
        "min": float(present.min()),
        "max": float(present.max()),
    }
