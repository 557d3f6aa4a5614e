"""Scores as tables: on the screen, as CSV and as JSON."""

import csv
import io
import json
import math
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from imaging.atomic import replacing

Scores = Mapping[str, Mapping[str, float]]
"""Label name to metric name to value."""

_LONGEST_NAME = 24


def score_rows(cases: Mapping[str, Scores], *, key: str = "case") -> list[dict[str, Any]]:
    """One row per case and label: the case (as column `key`), `label`, then every metric."""
    return [{key: case, "label": label, **values} for case, scores in cases.items() for label, values in scores.items()]


def score_table(
    cases: Mapping[str, Scores],
    *,
    metrics: Sequence[str],
    title: str,
    notes: Sequence[str] = (),
    rows: int = 40,
) -> Group:
    """Scores per case and label, and their mean, standard deviation and median over cases.

    Args:
        cases: Case name to its scores.
        metrics: Which metrics to show, in order.
        title: First line, above the table.
        notes: Further lines above the table: policies, versions.
        rows: With more cases than this only the `rows` worst (first metric, mean over labels) are listed.

    Returns:
        Lines and table for a rich console; long case names are cut, so that the values stay. NaN is shown as a dash and
        left out of the summary.
    """
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("case", no_wrap=True, max_width=_LONGEST_NAME, overflow="ellipsis")
    table.add_column("label", no_wrap=True)
    for metric in metrics:
        table.add_column(metric, justify="right")
    shown = list(cases) if len(cases) <= rows else worst_first(cases, metrics[0])[:rows]
    for case in shown:
        for label, values in cases[case].items():
            table.add_row(case, label, *[cell(values.get(metric)) for metric in metrics])
    if len(shown) < len(cases):
        table.add_row(f"... {len(cases) - len(shown)} better cases", "")
    table.add_section()
    labels = dict.fromkeys(label for scores in cases.values() for label in scores)
    for label in labels:
        columns = [_column(cases, label, metric) for metric in metrics]
        table.add_row("mean", label, *[cell(_mean(column)) for column in columns], style="bold")
        table.add_row("sd", label, *[cell(_deviation(column)) for column in columns])
        table.add_row("median", label, *[cell(_median(column)) for column in columns])
    return Group(Text(title, style="bold"), *[Text(note) for note in notes], table)


def worst_first(cases: Mapping[str, Scores], metric: str) -> list[str]:
    """Case names by rising mean of `metric` over labels; cases without a value stand last."""

    def mean(case: str) -> float:
        values = [scores[metric] for scores in cases[case].values() if math.isfinite(scores.get(metric, math.nan))]
        return sum(values) / len(values) if values else math.inf

    return sorted(cases, key=mean)


def cell(value: float | None) -> str:
    """A number with three decimals, from 10 on with one; a dash for NaN and for nothing."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> pathlib.Path:
    """Writes rows in one step; columns are all keys in the order of their first appearance, absent cells are empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return _write_text(path, text.getvalue())


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> pathlib.Path:
    """Writes JSON in one step; numbers that are not finite become null, because JSON has none."""
    return _write_text(path, json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _write_text(path: str | os.PathLike[str], text: str) -> pathlib.Path:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
    return pathlib.Path(path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _column(cases: Mapping[str, Scores], label: str, metric: str) -> list[float]:
    values = [scores[label].get(metric, math.nan) for scores in cases.values() if label in scores]
    return sorted(value for value in values if math.isfinite(value))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan
