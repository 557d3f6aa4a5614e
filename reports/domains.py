"""Evaluations of the domains of one network, side by side."""

import math
from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reports.evaluation import Evaluation
from reports.tables import cell

METRICS = ("dice", "hd95")


def show_domains(evaluations: Mapping[str, Evaluation]) -> None:
    """Prints a row for every class of every domain, and the mean over domains of their mean Dice."""
    Console().print(domain_table(evaluations))


def domain_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Cases and mean scores of every class of every domain.

    Args:
        evaluations: Domain to its scored cases.

    Returns:
        A table for a rich console. The last row is the mean over domains, each the mean over its classes; values that
        are NaN are left out, a domain without any is left out of the mean.
    """
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("domain", "label"):
        table.add_column(name, no_wrap=True)
    for name in ("cases", *METRICS):
        table.add_column(name, justify="right")
    overall: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for domain, evaluation in evaluations.items():
        means = class_means(evaluation)
        for label, values in means.items():
            table.add_row(domain, label, str(len(evaluation.scores)), *[cell(values[metric]) for metric in METRICS])
        for metric in METRICS:
            overall[metric].append(_mean([values[metric] for values in means.values()]))
    table.add_section()
    table.add_row("mean", "", "", *[cell(_mean(overall[metric])) for metric in METRICS], style="bold")
    return table


def class_means(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Class to metric to its mean over cases; NaN where no case has a value."""
    labels = dict.fromkeys(label for scores in evaluation.scores.values() for label in scores)
    cases = evaluation.scores.values()
    return {
        label: {
            metric: _mean([scores[label].get(metric, math.nan) for scores in cases if label in scores])
            for metric in METRICS
        }
        for label in labels
    }


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
