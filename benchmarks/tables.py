"""A benchmark's rows as a table on standard error, where they do not disturb the JSON on standard output."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
import rich.table

_WIDTH = 160


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the rows; a column for every key of any row, in the order they first come in."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = rich.table.Table(title=title)
    for index, name in enumerate(columns):
        table.add_column(name.replace("_", " "), justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in columns))
    rich.console.Console(stderr=True, width=None if sys.stderr.isatty() else _WIDTH).print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def side_rows(sides: Mapping[str, Mapping[str, Any]], *names: str) -> list[dict[str, Any]]:
    """One row per side: median of each of its numbers, and the spread of the first.

    Args:
        sides: Side to number to `benchmarks.measure.summary`.
        names: Numbers to show, in this order.
    """
    rows: list[dict[str, Any]] = []
    for side, numbers in sides.items():
        row: dict[str, Any] = {"side": side}
        row |= {name: numbers[name]["median"] for name in names if name in numbers}
        row["spread"] = numbers[names[0]]["spread"]
        rows.append(row)
    return rows
