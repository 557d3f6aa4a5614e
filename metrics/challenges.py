"""Scores as challenges publish them: LiTS, and the overlapping regions of BraTS."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.cases import Labels, case_metrics
from metrics.overlap import Counts, count

LIVER, TUMOUR = 1, 2


def brats_regions(*, necrosis: int = 1, oedema: int = 2, enhancing: int = 4) -> dict[str, list[int]]:
    """The BraTS regions as sets of labels, for `case_metrics(labels=...)`; enhancing tumour is 4, since 2023 3."""
    return {
        "whole tumour": [necrosis, oedema, enhancing],
        "tumour core": [necrosis, enhancing],
        "enhancing tumour": [enhancing],
    }


@dataclasses.dataclass(frozen=True)
class LitsCase:
    """One case of LiTS.

    Attributes:
        scores: `liver` (tumour included, as the challenge has it) and `tumour` to `dice`, `voe`, `rvd`, `asd` (mm) and
            `msd` (mm).
        counts: Voxels of the two, for the global Dice.
        burden: Tumour volume over liver volume, reference and prediction; NaN without a liver.
    """

    scores: dict[str, dict[str, float]]
    counts: dict[str, Counts]
    burden: tuple[float, float]


def lits_case(reference: NDArray[Any], prediction: NDArray[Any], *, spacing_mm: Sequence[float]) -> LitsCase:
    """Score a case as LiTS does: labels 1 liver, 2 tumour.

    `voe = 1 - IoU`, `rvd = (V_p - V_r) / V_r` (signed), `asd` is the average symmetric and `msd` the maximum symmetric
    surface distance. Source: Bilic et al., The Liver Tumor Segmentation Benchmark, Medical Image Analysis 2023,
    https://arxiv.org/abs/1901.04056. A case without tumour in reference and prediction has no tumour score (NaN);
    distances exist where both masks do.

    Args:
        reference: `(d, h, w)`.
        prediction: `(d, h, w)`.
        spacing_mm: Of the axes.

    Returns:
        Scores, counts, tumour burdens.
    """
    classes: Labels = {"liver": [LIVER, TUMOUR], "tumour": [TUMOUR]}
    measured = case_metrics(reference, prediction, spacing_mm=spacing_mm, labels=classes, tolerance_mm=())
    scores = {
        name: {
            "dice": values["dice"],
            "voe": 1.0 - values["iou"],
            "rvd": values["relative_volume_difference"],
            "asd": values["assd"],
            "msd": values["hd"],
        }
        for name, values in measured.items()
    }
    masks = {"liver": [np.isin(x, (LIVER, TUMOUR)) for x in (reference, prediction)]}
    masks["tumour"] = [x == TUMOUR for x in (reference, prediction)]
    counts = {name: count(*pair) for name, pair in masks.items()}
    liver, tumour = counts["liver"], counts["tumour"]
    burden = (_share(tumour.reference, liver.reference), _share(tumour.prediction, liver.prediction))
    return LitsCase(scores, counts, burden)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def lits_summary(cases: Sequence[LitsCase]) -> dict[str, dict[str, float]]:
    """The challenge's table over cases.

    Args:
        cases: At least one.

    Returns:
        `liver` and `tumour` to `dice_per_case`, `dice_global` (counts of all cases together), and the means of `voe`,
        `rvd`, `asd`, `msd` over the cases that have them; `tumour burden` to `rmse` and `max_error`.

    Raises:
        ValueError: There is no case.
    """
    if not cases:
        raise ValueError("No case to summarise: score at least one with lits_case.")
    table: dict[str, dict[str, float]] = {}
    for name in ("liver", "tumour"):
        total = sum((case.counts[name] for case in cases[1:]), cases[0].counts[name])
        row = {"dice_per_case": _mean([case.scores[name]["dice"] for case in cases])}
        sizes = total.reference + total.prediction
        row["dice_global"] = 2 * total.both / sizes if sizes else math.nan
        table[name] = row | {
            key: _mean([case.scores[name][key] for case in cases]) for key in ("voe", "rvd", "asd", "msd")
        }
    errors = np.array([case.burden[1] - case.burden[0] for case in cases])
    known = errors[~np.isnan(errors)]
    table["tumour burden"] = {
        "rmse": float(np.sqrt(np.mean(known**2))) if known.size else math.nan,
        "max_error": float(np.abs(known).max()) if known.size else math.nan,
    }
    return table


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
