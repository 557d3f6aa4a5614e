"""Figures without pyplot: nothing global, nothing left open, the same with and without a display."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from imaging.atomic import replacing
from reports.palette import Colour, label_colour, unit_colour


def new_figure(*, width: float, height: float) -> Figure:
    """An empty figure of that size in inches, on a canvas that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 110) -> pathlib.Path:
    """Writes a figure in one step: a reader sees the old picture or the new one. The suffix decides the format."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dpi)
    return pathlib.Path(path)


def show_picture(axes: Axes, picture: np.ndarray, *, title: str = "", aspect: float = 1.0) -> None:
    """Draws pixels without ticks; `aspect` is the height of a pixel over its width (both in mm)."""
    axes.imshow(picture, aspect=aspect, interpolation="nearest", vmin=0, vmax=255)
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=9)


def panels(pictures: Sequence[tuple[str, np.ndarray]], *, title: str = "", size: float = 3.2) -> Figure:
    """Pictures side by side, each `(title, uint8 (h, w, 3))`, `size` inches each."""
    figure = new_figure(width=size * len(pictures), height=size + 0.4)
    for index, (name, picture) in enumerate(pictures):
        show_picture(figure.add_subplot(1, len(pictures), index + 1), picture, title=name)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def add_label_legend(figure: Figure, names: Mapping[int, str]) -> None:
    """A legend of label names and colours below the figure; the background is left out."""
    add_legend(figure, {name: label_colour(value) for value, name in names.items() if value > 0})


def add_legend(figure: Figure, colours: Mapping[str, Colour]) -> None:
    """A legend of names and colours below the figure; none for an empty mapping."""
    if not colours:
        return
    handles = [Patch(color=unit_colour(colour), label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=8, frameon=False)
