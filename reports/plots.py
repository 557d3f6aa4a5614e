"""Plots of scores: small figures that stay legible on a phone."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures import new_figure
from reports.palette import LABEL_COLOURS, Colour, unit_colour

WIDTH, HEIGHT = 4.0, 3.0
_BACKGROUND: Colour = (130, 140, 150)
Values = Mapping[str, Sequence[float]]


def colours_of(names: Sequence[str]) -> dict[str, Colour]:
    """A colour for each class, the same in every plot and as in overlays; the background is grey."""
    classes = [name for name in names if name != "background"]
    chosen = {name: LABEL_COLOURS[index % len(LABEL_COLOURS)] for index, name in enumerate(classes)}
    return {name: chosen.get(name, _BACKGROUND) for name in names}


def distribution_figure(values: Values, *, title: str, unit_range: bool = False) -> Figure:
    """Every case as a point, with a box of quartiles and median, class by class.

    Args:
        values: Class to one value per case; NaN is left out.
        title: What is shown, with its unit.
        unit_range: The values lie in [0, 1]; the axis then ends at 1.
    """
    known = {name: _finite(column) for name, column in values.items()}
    figure = new_figure(width=max(WIDTH, 0.55 * len(known)), height=HEIGHT)
    axes = figure.add_subplot()
    generator = np.random.default_rng(0)
    for place, (name, colour) in enumerate(colours_of(list(known)).items(), start=1):
        column = known[name]
        if not len(column):
            continue
        axes.boxplot(
            column,
            positions=[place],
            widths=0.5,
            showfliers=False,
            medianprops={"color": "black", "linewidth": 1.6},
            boxprops={"color": "#5a6673"},
        )
        across = place + generator.uniform(-0.16, 0.16, len(column))
        axes.plot(across, column, "o", color=unit_colour(colour), alpha=0.65, markersize=4, markeredgewidth=0)
    axes.set_xticks(range(1, len(known) + 1), [_short(name) for name in known], rotation=0 if len(known) < 5 else 40)
    axes.set_xlim(0.4, len(known) + 0.6)
    if unit_range:
        axes.set_ylim(top=1.01)
    _dress(axes, title)
    return figure


def bland_altman_figure(reference: Sequence[float], prediction: Sequence[float], *, title: str) -> Figure:
    """Difference of volumes over their mean, with the mean difference and the limits of agreement.

    Source: Bland and Altman, "Statistical methods for assessing agreement between two methods of clinical
    measurement", Lancet 1986, https://doi.org/10.1016/S0140-6736(86)90837-8.

    Args:
        reference: Volumes, ml.
        prediction: Volumes of the same cases, ml.
        title: The class.
    """
    mean, difference = volume_differences(reference, prediction)
    figure = new_figure(width=WIDTH, height=HEIGHT)
    axes = figure.add_subplot()
    axes.plot(mean, difference, "o", color=unit_colour(LABEL_COLOURS[4]), alpha=0.7, markersize=4.5, markeredgewidth=0)
    bias, low, high = agreement(difference)
    for value, style, name in ((bias, "-", "mean"), (low, "--", "−1.96 sd"), (high, "--", "+1.96 sd")):
        if math.isfinite(value):
            axes.axhline(value, color="#5a6673", linestyle=style, linewidth=1.2)
            where = axes.get_yaxis_transform()
            axes.text(1.01, value, f"{name}\n{value:.3g}", transform=where, va="center", fontsize=9)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.margins(x=0.08, y=0.18)
    axes.set_xlabel("mean of both, ml", fontsize=9.5)
    axes.set_ylabel("prediction − reference, ml", fontsize=9.5)
    _dress(axes, title)
    return figure


def volume_differences(reference: Sequence[float], prediction: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and difference (prediction minus reference) of the pairs of which both are known."""
    pairs = np.asarray([reference, prediction], np.float64).reshape(2, -1)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    return pairs.mean(axis=0), pairs[1] - pairs[0]


def agreement(difference: np.ndarray) -> tuple[float, float, float]:
    """Mean difference and the limits of agreement, 1.96 standard deviations around it; NaN below two values."""
    if not difference.size:
        return math.nan, math.nan, math.nan
    bias = float(difference.mean())
    spread = 1.96 * float(difference.std(ddof=1)) if difference.size > 1 else math.nan
    return bias, bias - spread, bias + spread


def difference_figure(differences: Values, *, title: str) -> Figure:
    """Differences case by case, sorted, class by class; above zero the second run is higher."""
    figure = new_figure(width=WIDTH, height=HEIGHT)
    axes = figure.add_subplot()
    for name, colour in colours_of(list(differences)).items():
        column = np.sort(_finite(differences[name]))
        share = (np.arange(len(column)) + 0.5) / max(len(column), 1)
        axes.plot(share, column, "o-", color=unit_colour(colour), markersize=3.5, linewidth=0.8, label=_short(name))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of cases", fontsize=9.5)
    axes.legend(fontsize=9, frameon=False)
    _dress(axes, title)
    return figure


def reliability_figure(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str) -> Figure:
    """Share of right voxels over confidence, one line for each class, with the diagonal of a network that is right.

    Args:
        curves: Class to mean confidence and share right of each bin; NaN for empty bins.
        title: Above the plot.
    """
    figure = new_figure(width=WIDTH, height=HEIGHT + 0.4)
    axes = figure.add_subplot()
    axes.plot((0, 1), (0, 1), color="#5a6673", linestyle="--", linewidth=1.0)
    for name, colour in colours_of(list(curves)).items():
        confidence, right = curves[name]
        filled = np.isfinite(confidence)
        line = axes.plot(confidence[filled], right[filled], "o-", color=unit_colour(colour), markersize=3.5)
        line[0].set_label(_short(name))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability", fontsize=9.5)
    axes.set_ylabel("share right", fontsize=9.5)
    axes.legend(fontsize=9, frameon=False)
    _dress(axes, title)
    return figure


def lesion_figure(lesions: Mapping[str, Sequence[tuple[float, float]]], *, title: str) -> Figure:
    """Dice of every lesion over its volume in ml, on a logarithmic axis, class by class."""
    figure = new_figure(width=WIDTH, height=HEIGHT)
    axes = figure.add_subplot()
    for name, colour in colours_of(list(lesions)).items():
        if lesions[name]:
            volumes, dice = zip(*lesions[name], strict=True)
            axes.plot(volumes, dice, "o", color=unit_colour(colour), alpha=0.65, markersize=4.5, label=_short(name))
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("volume of the lesion, ml", fontsize=9.5)
    axes.set_ylabel("Dice", fontsize=9.5)
    if len(lesions) > 1:
        axes.legend(fontsize=9, frameon=False)
    _dress(axes, title)
    return figure


def histogram_figure(
    edges: Sequence[float], counts: Mapping[str, Sequence[float]], *, title: str, label: str
) -> Figure:
    """Shares of voxels over intensity, one line for each class.

    Args:
        edges: Of the bins, one more than counts.
        counts: Class to voxels in each bin; each is drawn as shares of its own sum.
        title: Above the plot.
        label: Below the horizontal axis.
    """
    figure = new_figure(width=WIDTH, height=HEIGHT)
    axes = figure.add_subplot()
    for name, colour in colours_of(list(counts)).items():
        column = np.asarray(counts[name], np.float64)
        if column.sum() > 0:
            axes.stairs(column / column.sum(), edges, color=unit_colour(colour), linewidth=1.4, label=_short(name))
    axes.set_xlabel(label, fontsize=9.5)
    axes.set_ylabel("share of voxels", fontsize=9.5)
    axes.legend(fontsize=9, frameon=False)
    _dress(axes, title)
    return figure


def _dress(axes: Axes, title: str) -> None:
    """The look that all plots share."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(labelsize=9.5)
    axes.spines[["top", "right"]].set_visible(False)


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
