"""Cross-validations: a table of the folds, and which one is best."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from reports.evaluation import Evaluation
from reports.tables import Scores, cell

FOLDER_PATTERN = "*_foldall-*/evaluation/summary.json"


def fold_means(cases: Mapping[str, Scores], folds: Sequence[Sequence[str]], *, metric: str) -> list[dict[str, float]]:
    """Mean of a metric per class over the cases of each fold, then over all cases (each once); NaN left out.

    Args:
        cases: Case to its scores.
        folds: Case names of each fold.
        metric: Such as `dice`.
    """
    labels = dict.fromkeys(label for scores in cases.values() for label in scores)
    groups = [*folds, [case for fold in folds for case in fold]]
    return [
        {label: _mean([cases[case][label][metric] for case in group if case in cases]) for label in labels}
        for group in groups
    ]


def fold_table(cases: Mapping[str, Scores], folds: Sequence[Sequence[str]], *, title: str) -> Group:
    """One row per fold and one for all cases, mean Dice and HD95 of every class."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("fold", no_wrap=True)
    table.add_column("cases", justify="right")
    dice, hd95 = (fold_means(cases, folds, metric=metric) for metric in ("dice", "hd95"))
    for label in dice[0]:
        table.add_column(f"{label} dice", justify="right")
        table.add_column("hd95", justify="right")
    groups = [*folds, [case for fold in folds for case in fold]]
    for place, group in enumerate(groups):
        last = place == len(folds)
        if last:
            table.add_section()
        values = [cell(found[place][label]) for label in dice[0] for found in (dice, hd95)]
        count = str(sum(case in cases for case in group))
        table.add_row("all" if last else str(place), count, *values, style="bold" if last else "")
    return Group(Text(title, style="bold"), table)


def fold_facts(cases: Mapping[str, Scores], folds: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What a summary says of folds: their cases, mean Dice per class and fold, and the mean over classes of all cases.

    The last, `score`, is what configurations are compared by; None where nothing was scored.
    """
    means = fold_means(cases, folds, metric="dice")
    score = _mean(list(means[-1].values()))
    return {
        "folds": [list(fold) for fold in folds],
        "fold_dice": means[:-1],
        "dice": means[-1],
        "score": score if math.isfinite(score) else None,
    }


def show_cross_validation(evaluation: Evaluation, outputs: pathlib.Path) -> None:
    """Prints the folds, the post-processing, and all cross-validations of the collection with the best as a command."""
    console, facts = Console(), evaluation.facts
    console.print(fold_table(evaluation.scores, facts["folds"], title="Cross-validation, every case once out of fold:"))
    console.print(facts["postprocessing"], soft_wrap=True, highlight=False)
    show_comparison(comparison(outputs, facts["dataset"]))


def comparison(outputs: pathlib.Path, dataset: str) -> list[dict[str, Any]]:
    """Complete cross-validations of a collection, the best first: `name`, `score` (mean foreground Dice), `command`."""
    found: list[dict[str, Any]] = []
    for path in outputs.glob(FOLDER_PATTERN):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if said.get("dataset") == dataset and said.get("score") is not None and not said.get("failed"):
            entry = {key: said[key] for key in ("score", "command", "cases")}
            found.append({"name": path.parents[1].name, **entry})
    return sorted(found, key=lambda entry: (-entry["score"], entry["name"]))


def show_comparison(entries: Sequence[Mapping[str, Any]]) -> None:
    """Prints the cross-validations, and the best one as the command to run."""
    console = Console()
    for entry in entries[:10] if len(entries) > 1 else ():
        console.print(f"{entry['score']:.4f}  {entry['cases']} cases  {entry['name']}", soft_wrap=True, highlight=False)
    if entries:
        console.print(f"Best configuration: {entries[0]['command']}", soft_wrap=True, highlight=False, markup=False)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
