"""Lesions found, missed and invented: connected components, matched one to one."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from metrics.overlap import mask_box


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A lesion of the reference and the predicted component matched to it.

    Attributes:
        volume_ml: Of the reference lesion.
        dice: With the matched component, 0 if there is none.
        iou: The same.
    """

    volume_ml: float
    dice: float
    iou: float


@dataclasses.dataclass(frozen=True)
class LesionScores:
    """Detection in one case; add up `lesions` and counts over cases for a cohort.

    Attributes:
        lesions: Those of the reference, in the order of their first voxel.
        predicted: Number of predicted components.
    """

    lesions: tuple[Lesion, ...]
    predicted: int

    def detected(self, threshold: float) -> int:
        """Lesions whose match overlaps with an IoU of at least the threshold, and overlaps at all."""
        return sum(lesion.iou > 0 and lesion.iou >= threshold for lesion in self.lesions)

    def scores(self, thresholds: Sequence[float] = (0.0, 0.5)) -> dict[str, float]:
        """Numbers, mean Dice, and precision, recall and F1 at IoU thresholds; 0 means any overlap.

        Precision without predicted components, recall without lesions and F1 without either are NaN.
        """
        result = {
            "lesions_reference": float(len(self.lesions)),
            "lesions_prediction": float(self.predicted),
            "lesion_dice": float(np.mean([lesion.dice for lesion in self.lesions])) if self.lesions else math.nan,
        }
        for threshold in thresholds:
            hits, reference, predicted = self.detected(threshold), len(self.lesions), self.predicted
            at = f"iou_{threshold:g}"
            result[f"lesion_precision_{at}"] = hits / predicted if predicted else math.nan
            result[f"lesion_recall_{at}"] = hits / reference if reference else math.nan
            both = reference + predicted
            result[f"lesion_f1_{at}"] = 2 * hits / both if both else math.nan
        return result


def match_lesions(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
    smallest_ml: float = 0.0,
) -> LesionScores:
    """Match the connected components (corners touch: connected) of two masks.

    Every lesion gets at most one component and the other way round, such that the sum of their IoU is largest; so two
    lesions predicted as one count as one found and one missed.

    Args:
        reference: `(*s,)`.
        prediction: `(*s,)`.
        spacing_mm: Of the axes.
        smallest_ml: Components below this volume are dropped from both masks first.

    Returns:
        Lesions with their matches.

    Raises:
        ValueError: Shapes differ, or spacing has another length.
    """
    if reference.shape != prediction.shape or len(spacing_mm) != reference.ndim:
        raise ValueError(
            f"Masks of {reference.shape} and {prediction.shape} with spacing {tuple(spacing_mm)} do not fit together."
        )
    voxel_ml = math.prod(spacing_mm) / 1000.0
    crop = mask_box(reference, prediction)
    first, first_sizes = _components(reference[crop], smallest_ml / voxel_ml)
    second, second_sizes = _components(prediction[crop], smallest_ml / voxel_ml)
    common = _overlaps(first, second, len(first_sizes), len(second_sizes))
    both_sizes = first_sizes[:, None] + second_sizes[None, :]
    iou = common / np.maximum(both_sizes - common, 1)
    rows, columns = optimize.linear_sum_assignment(-iou)
    partner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    lesions: list[Lesion] = []
    for i, size in enumerate(first_sizes.tolist()):
        j = partner.get(i)
        dice, overlap = (0.0, 0.0) if j is None else (2 * common[i, j] / both_sizes[i, j], iou[i, j])
        lesions.append(Lesion(size * voxel_ml, float(dice), float(overlap)))
    return LesionScores(tuple(lesions), len(second_sizes))


def _components(mask: NDArray[np.bool_], smallest_voxels: float) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Component numbers (0 outside) without those that are too small, and the sizes."""
    numbers = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, structure=np.ones((3,) * mask.ndim), output=numbers)
    sizes = np.bincount(numbers[mask], minlength=1)
    keep = sizes >= max(smallest_voxels - 1e-9, 1)
    keep[0] = False
    if keep[1:].all():
        return numbers, sizes[1:]
    renumbered = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return renumbered[numbers], sizes[keep]


def _overlaps(first: NDArray[np.int32], second: NDArray[np.int32], rows: int, columns: int) -> NDArray[np.int64]:
    """Common voxels of every pair, `(rows, columns)`."""
    common = (first > 0) & (second > 0)
    pairs = (first[common].astype(np.int64) - 1) * columns + second[common] - 1
    return np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
