"""How training went, in one picture."""

import csv
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures import new_figure, save_figure
from reports.palette import LABEL_COLOURS, unit_colour

History = Mapping[str, Sequence[float]]

_RATES = ("learning_rate", "lr")
_TIMES = ("epoch", "step", "time", "seconds", "duration")


def draw_curves(history: History | str | os.PathLike[str], path: str | os.PathLike[str]) -> pathlib.Path:
    """Loss, scores and learning rate over the epochs.

    Names that contain `loss` share one panel; `learning_rate` has its own, logarithmic; everything else is a score.
    `val_x` is drawn in the colour of `x`, solid where `x` is dashed. Values that are missing or not finite leave a gap.

    Args:
        history: Name to one value per epoch, or a `history.csv` with a header line.
        path: Picture to write, replaced in one step.

    Returns:
        The path.

    Raises:
        ValueError: The history holds no number.
    """
    groups, epochs = _read(history)
    if not groups:
        raise ValueError("The history holds no number to draw: train for one epoch first.")
    figure = new_figure(width=4.2 * len(groups), height=3.4)
    for index, (title, columns) in enumerate(groups.items()):
        _panel(figure.add_subplot(1, len(groups), index + 1), title, columns, epochs)
    return save_figure(figure, path)


def curve_figures(history: History | str | os.PathLike[str]) -> dict[str, Figure]:
    """The panels of `draw_curves` as figures of their own, by title; none for a history without numbers."""
    groups, epochs = _read(history)
    figures: dict[str, Figure] = {}
    for title, columns in groups.items():
        figures[title] = new_figure(width=4.0, height=3.0)
        _panel(figures[title].add_subplot(), title, columns, epochs)
    return figures


def read_history(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    """Columns of a CSV file with a header; cells that are no number become NaN, columns without any are left out."""
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) if rows else []
    columns = {name: [_number(row.get(name)) for row in rows] for name in names}
    return {name: values for name, values in columns.items() if any(math.isfinite(v) for v in values)}


def _read(history: History | str | os.PathLike[str]) -> tuple[dict[str, dict[str, Sequence[float]]], list[float]]:
    """Panel to column to values, and the epochs."""
    columns = dict(history) if isinstance(history, Mapping) else read_history(history)
    columns = {name: values for name, values in columns.items() if any(math.isfinite(v) for v in values)}
    groups = {title: {name: columns[name] for name in names} for title, names in _grouped(columns).items()}
    return groups, list(columns.get("epoch", ()))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _grouped(columns: History) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {"loss": [], "scores": [], "learning rate": []}
    for name, values in columns.items():
        lower = name.lower()
        if any(lower == word or lower.endswith(f"_{word}") for word in _TIMES):
            continue
        if lower in _RATES:
            groups["learning rate"].append(name)
        elif "loss" in lower or max(abs(v) for v in values if math.isfinite(v)) > 1.001:
            groups["loss"].append(name)
        else:
            groups["scores"].append(name)
    return {title: names for title, names in groups.items() if names}


def _panel(axes: Axes, title: str, columns: History, epochs: Sequence[float]) -> None:
    _draw(axes, columns, epochs)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch", fontsize=9)
    if title == "learning rate" and all(v > 0 for values in columns.values() for v in values if math.isfinite(v)):
        axes.set_yscale("log")
    elif title == "scores":
        axes.set_ylim(-0.02, 1.02)


def _draw(axes: Axes, columns: History, epochs: Sequence[float]) -> None:
    stems = list(dict.fromkeys(name.removeprefix("val_") for name in columns))
    for name, values in columns.items():
        stem = name.removeprefix("val_")
        colour = unit_colour(LABEL_COLOURS[stems.index(stem) % len(LABEL_COLOURS)])
        partner = f"val_{stem}" in columns
        style = "--" if partner and name == stem else "-"
        places = epochs if len(epochs) == len(values) else list(range(len(values)))
        marker = "o" if len(values) < 30 else None
        axes.plot(places, list(values), style, color=colour, label=name, marker=marker, markersize=2.5, linewidth=1.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=9)
    axes.legend(fontsize=8, frameon=False)
