"""What is reported beside scores: lesions, the table of LiTS, calibration; as files, facts, words and page sections."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from metrics.calibration import Reliability
from metrics.challenges import lits_summary
from metrics.details import ALL_CLASSES, Details, joined_calibration, joined_lesions
from metrics.lesions import LesionScores
from reports.encoding import figure_uri
from reports.page import Block, Gallery, Picture, Section, Table, Text
from reports.plots import lesion_figure, reliability_figure
from reports.tables import cell, write_csv

Cases = Mapping[str, Details]
LITS_WORDS: Mapping[str, str] = {
    "dice_per_case": "Dice per case",
    "dice_global": "Dice global",
    "voe": "VOE",
    "rvd": "RVD",
    "asd": "ASD (mm)",
    "msd": "MSD (mm)",
    "rmse": "RMSE",
    "max_error": "largest error",
}


def write_details(folder: pathlib.Path, cases: Cases) -> None:
    """Writes `lesions.csv` (a row per lesion of a reference) and `lits.csv` (one per case and class)."""
    lesions: list[dict[str, Any]] = [
        {"case": case, "label": label, "lesion": number, "volume_ml": one.volume_ml, "dice": one.dice, "iou": one.iou}
        for case, details in cases.items()
        for label, found in details.lesions.items()
        for number, one in enumerate(found.lesions, start=1)
    ]
    if lesions:
        write_csv(folder / "lesions.csv", lesions)
    lits: list[dict[str, Any]] = []
    for case, details in cases.items():
        if details.lits is not None:
            true, said = details.lits.burden
            lits += [{"case": case, "label": label, **values} for label, values in details.lits.scores.items()]
            lits.append({"case": case, "label": "tumour burden", "reference": true, "prediction": said})
    if lits:
        write_csv(folder / "lits.csv", lits)


def detail_facts(cases: Cases, thresholds: Sequence[float]) -> dict[str, Any]:
    """What a summary says: `lesions` and `calibration` of all cases together, `lits` as the challenge publishes it.

    Args:
        cases: Case to its details.
        thresholds: Overlaps from which a lesion counts as found.
    """
    facts: dict[str, Any] = {}
    lesions, calibration = joined_lesions(cases.values()), joined_calibration(cases.values())
    lits = [details.lits for details in cases.values() if details.lits is not None]
    if lesions:
        facts["lesions"] = {label: found.scores(thresholds) for label, found in lesions.items()}
    if lits:
        facts["lits"] = lits_summary(lits)
    if calibration:
        facts["calibration"] = {label: _calibration_facts(found) for label, found in calibration.items()}
    return facts


def detail_sentences(cases: Cases, thresholds: Sequence[float]) -> list[str]:
    """The same in a line each, for the screen."""
    lines: list[str] = []
    for label, found in joined_lesions(cases.values()).items():
        scores = found.scores(thresholds)
        shares = ", ".join(f"F1 {cell(scores[f'lesion_f1_iou_{t:g}'])} at {_at(t)}" for t in thresholds)
        lines.append(
            f"Lesions of {label}, all cases together: {len(found.lesions)} true, {found.predicted} predicted, mean "
            f"Dice {cell(scores['lesion_dice'])}; {shares}."
        )
    lits = [details.lits for details in cases.values() if details.lits is not None]
    for label, row in (lits_summary(lits) if lits else {}).items():
        told = ", ".join(f"{LITS_WORDS[name]} {cell(value)}" for name, value in row.items())
        lines.append(f"LiTS, {label}: {told}.")
    errors = {label: found.expected_error for label, found in joined_calibration(cases.values()).items()}
    if errors:
        told = ", ".join(f"{label} {cell(value)}" for label, value in errors.items())
        lines.append(f"Expected calibration error: {told}.")
    return lines


def detail_sections(cases: Cases, thresholds: Sequence[float]) -> list[Section]:
    """Sections of a page: lesions, LiTS, calibration; those that were not measured have no blocks."""
    lits = [details.lits for details in cases.values() if details.lits is not None]
    return [
        Section("Lesions", _lesion_blocks(joined_lesions(cases.values()), thresholds)),
        Section("LiTS challenge", _lits_tables(lits_summary(lits)) if lits else []),
        Section("Calibration", _calibration_blocks(joined_calibration(cases.values()))),
    ]


def _lesion_blocks(found: Mapping[str, LesionScores], thresholds: Sequence[float]) -> list[Block]:
    if not found:
        return []
    rows: list[list[str]] = []
    for label, lesions in found.items():
        scores = lesions.scores(thresholds)
        for threshold in thresholds:
            at = f"iou_{threshold:g}"
            row = [label, _at(threshold), f"{lesions.detected(threshold)} of {len(lesions.lesions)}"]
            row += [f"{lesions.predicted}", *(cell(scores[f"lesion_{x}_{at}"]) for x in ("precision", "recall", "f1"))]
            rows.append([*row, cell(scores["lesion_dice"])])
    columns = ["class", "counts as found", "found", "predicted", "precision", "recall", "F1", "Dice per lesion"]
    told = "All lesions of all cases together; per case: metrics.csv; every lesion: lesions.csv."
    sizes = {label: [(lesion.volume_ml, lesion.dice) for lesion in lesions.lesions] for label, lesions in found.items()}
    figure = lesion_figure(sizes, title="Dice of each lesion, missed ones at 0")
    pictures = [Picture(figure_uri(figure), "Dice of each lesion over its volume")] if any(sizes.values()) else []
    return [Table(columns, rows, 2, told), Gallery(pictures)]


def _lits_tables(summary: Mapping[str, Mapping[str, float]]) -> list[Block]:
    told = "As the challenge scores: the liver with its tumours. Every case: lits.csv."
    whole = {label: row for label, row in summary.items() if "voe" in row}
    burden = {label: row for label, row in summary.items() if label not in whole}
    return [
        _lits_table(whole, told),
        _lits_table(burden, "Tumour volume over liver volume, prediction minus reference."),
    ]


def _lits_table(summary: Mapping[str, Mapping[str, float]], told: str) -> Table:
    columns = list(dict.fromkeys(name for row in summary.values() for name in row))
    rows = [[label, *(cell(row.get(name)) for name in columns)] for label, row in summary.items()]
    return Table(["", *(LITS_WORDS[name] for name in columns)], rows, 1, told)


def _calibration_blocks(found: Mapping[str, Reliability]) -> list[Block]:
    if not found:
        return []
    curves = {label: voxels.curve() for label, voxels in found.items()}
    picture = Picture(figure_uri(reliability_figure(curves, title="Reliability")), "Reliability diagram")
    counts = {label: voxels.voxels.sum() for label, voxels in found.items()}
    rows = [[label, cell(voxels.expected_error), f"{counts[label]:,.0f}"] for label, voxels in found.items()]
    told = (
        "Voxels near the foreground, sorted by probability: a network that knows how sure it may be lies on the "
        "diagonal; below it, it is too sure. ECE is the mean distance from it."
    )
    told += f" “{ALL_CLASSES}” is the probability of the decision." if ALL_CLASSES in found else ""
    return [Gallery([picture]), Table(["class", "ECE", "voxels"], rows, 1), Text([told], tone="quiet")]


def _calibration_facts(found: Reliability) -> dict[str, Any]:
    confidence, right = found.curve()
    return {
        "ece": found.expected_error,
        "voxels": found.voxels.tolist(),
        "confidence": [value if math.isfinite(value) else None for value in confidence.tolist()],
        "share_right": [value if math.isfinite(value) else None for value in right.tolist()],
    }


def _at(threshold: float) -> str:
    return f"IoU {threshold:g}" if threshold else "any overlap"
