"""Parts that several pages share: summary tables, distributions, agreement of volumes, a run's curves and facts."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from reports.curves import curve_figures
from reports.encoding import figure_uri
from reports.evaluation import Summary
from reports.page import Block, Folded, Gallery, Listing, Picture, Section, Table
from reports.plots import bland_altman_figure, distribution_figure
from reports.tables import Scores, cell

MAIN_METRICS = ("dice", "iou", "precision", "recall", "hd95", "hd", "assd")
WORDS: Mapping[str, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "boundary_iou": "boundary IoU",
    "hd95": "HD95",
    "hd": "HD",
    "assd": "ASSD",
    "volume_reference_ml": "volume, reference (ml)",
    "volume_prediction_ml": "volume, prediction (ml)",
    "relative_volume_difference": "relative volume difference",
    "ece": "calibration error",
    "lesion_dice": "Dice per lesion",
}


def metric_title(metric: str, *, unit: str = "mm") -> str:
    """How a metric is called on a page, with the unit of distances."""
    word = WORDS.get(metric, metric.replace("_", " ").replace(" f1", " F1").replace(" iou ", " at IoU "))
    if metric.startswith("nsd_"):
        return f"NSD at {metric.removeprefix('nsd_').removesuffix('mm')} {unit}"
    return f"{word} ({unit})" if metric in ("hd95", "hd", "assd") else word


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and a larger value is better."""
    other = metric in ("hd95", "hd", "assd", "relative_volume_difference", "ece")
    return not other and not metric.endswith("_ml") and not metric.startswith("lesions_")


def is_detail(metric: str) -> bool:
    """Whether a metric is told in a section of its own: lesions and calibration."""
    return metric == "ece" or metric.startswith("lesion")


def summary_table(summary: Summary, *, unit: str = "mm") -> Table:
    """Mean, sd, median, quartiles and the interval, one row per class and metric."""
    rows: list[list[str]] = []
    for label, metrics in summary.items():
        for metric, numbers in metrics.items():
            if (unit != "mm" and metric.endswith("_ml")) or is_detail(metric):
                continue
            low, high = (math.nan if end is None else end for end in numbers["interval_95"])
            undefined = int(numbers["undefined"])
            row = [label, metric_title(metric, unit=unit), *(cell(numbers[name]) for name in ("mean", "sd", "median"))]
            row += [f"{cell(numbers['quartile_1'])} to {cell(numbers['quartile_3'])}", f"{cell(low)} to {cell(high)}"]
            rows.append([*row, f"{int(numbers['n'])}" + (f" (+{undefined} undefined)" if undefined else "")])
    columns = ["class", "metric", "mean", "sd", "median", "quartiles", "95 % interval of the mean", "cases"]
    return Table(columns, rows, words=2)


def distribution_gallery(cases: Mapping[str, Scores], *, unit: str = "mm") -> Gallery:
    """Plots of Dice, surface Dice at the first tolerance, HD95, precision and recall over cases."""
    present = dict.fromkeys(metric for scores in cases.values() for values in scores.values() for metric in values)
    shown = [metric for metric in ("dice", "hd95", "precision", "recall") if metric in present]
    shown[1:1] = [metric for metric in present if metric.startswith("nsd_")][:1]
    pictures: list[Picture] = []
    for metric in shown:
        title = metric_title(metric, unit=unit)
        figure = distribution_figure(by_class(cases, metric), title=title, unit_range=is_share(metric))
        pictures.append(Picture(figure_uri(figure), f"Distribution of {title} over cases"))
    return Gallery(pictures)


def bland_altman_gallery(cases: Mapping[str, Scores]) -> Gallery:
    """Agreement of volumes, one plot per class."""
    reference, prediction = (by_class(cases, f"volume_{side}_ml") for side in ("reference", "prediction"))
    pictures = [
        Picture(
            figure_uri(bland_altman_figure(reference[label], prediction[label], title=label)),
            f"Bland-Altman plot of volumes, {label}",
        )
        for label in reference
    ]
    return Gallery(pictures)


def by_class(cases: Mapping[str, Scores], metric: str) -> dict[str, list[float]]:
    """Class to one value per case that has the class; NaN where the metric is missing."""
    labels = dict.fromkeys(label for scores in cases.values() for label in scores)
    return {
        label: [scores[label].get(metric, math.nan) for scores in cases.values() if label in scores] for label in labels
    }


def run_sections(run: pathlib.Path) -> list[Section]:
    """Curves, environment and configuration of a run, as far as its folder has them."""
    sections: list[Section] = []
    if (run / "history.csv").is_file():
        figures = curve_figures(run / "history.csv")
        pictures = [Picture(figure_uri(figure), f"Training: {title}") for title, figure in figures.items()]
        sections.append(Section("Training", [Gallery(pictures)] if pictures else []))
    blocks: list[Block] = []
    if (run / "run.json").is_file():
        blocks.append(Listing(run_facts(json.loads((run / "run.json").read_text("utf-8")))))
    if (run / "config.yaml").is_file():
        blocks.append(Folded("config.yaml", (run / "config.yaml").read_text("utf-8")))
    sections.append(Section("Configuration and environment", blocks))
    return sections


def run_facts(record: Mapping[str, Any]) -> dict[str, str]:
    """What `run.json` says, as lines; of several sessions the last."""
    sessions: Sequence[Mapping[str, Any]] = record.get("sessions", [])
    facts = {name.replace("_", " "): _words(value) for name, value in record.items() if name != "sessions"}
    if sessions:
        facts["sessions"] = str(len(sessions))
        facts |= {name.replace("_", " "): _words(value) for name, value in sessions[-1].items()}
    return {name: value for name, value in facts.items() if value}


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(entry) for entry in value)
    return "" if value is None else str(value)
