"""Overlap of two masks from voxel counts: Dice, IoU, precision, recall, specificity, volumes, boundary IoU."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Counts:
    """Voxels in a reference, in a prediction, in both, and in the image (ignored ones left out); `+` joins cases."""

    both: int
    reference: int
    prediction: int
    image: int

    def __add__(self, other: "Counts") -> "Counts":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Counts(*(a + b for a, b in pairs))


def count(reference: NDArray[np.bool_], prediction: NDArray[np.bool_], *, image: int | None = None) -> Counts:
    """Count two masks.

    Args:
        reference: `(*s,)`.
        prediction: `(*s,)`.
        image: Voxels of the whole image, where the masks are cropped from it.

    Returns:
        The counts.
    """
    both, first, second = (int(np.count_nonzero(mask)) for mask in (reference & prediction, reference, prediction))
    return Counts(both, first, second, reference.size if image is None else image)


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def overlap_scores(counts: Counts, *, voxel_ml: float) -> dict[str, float]:
    """Scores of one class of one case; NaN where the formula is 0 / 0.

    `dice = 2 B / (R + P)`, `iou = B / (R + P - B)`, `precision = B / P`, `recall = B / R`, `specificity` is the share
    of voxels outside the reference that are outside the prediction, `relative_volume_difference = (P - R) / R`; with
    `B`, `R`, `P` the voxels in both, in the reference, in the prediction.

    Args:
        counts: Of the class.
        voxel_ml: Volume of a voxel in ml.

    Returns:
        The six scores and the two volumes in ml.
    """
    both, reference, prediction = counts.both, counts.reference, counts.prediction
    union = reference + prediction - both
    return {
        "dice": _ratio(2 * both, reference + prediction),
        "iou": _ratio(both, union),
        "precision": _ratio(both, prediction),
        "recall": _ratio(both, reference),
        "specificity": _ratio(counts.image - union, counts.image - reference),
        "volume_reference_ml": reference * voxel_ml,
        "volume_prediction_ml": prediction * voxel_ml,
        "relative_volume_difference": _ratio(prediction - reference, reference),
    }


def boundary_iou(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    """IoU of the two boundaries: voxels of a mask that have a face neighbour outside it; NaN if both are empty.

    The image's edge counts as outside, also where the array is a crop that the masks touch. Source: Cheng et al.,
    Boundary IoU, CVPR 2021, https://arxiv.org/abs/2103.16562, with a boundary one voxel thick as in Metrics Reloaded
    (Maier-Hein, Reinke et al., Nature Methods 2024), which suits volumes of any size.
    """
    if not reference.size:
        return math.nan
    a, b = _boundary(reference), _boundary(prediction)
    return _ratio(int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b)))


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inner = mask.copy()
    for axis in range(mask.ndim):
        here, kept = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        kept[1:] &= here[:-1]
        kept[:-1] &= here[1:]
        kept[0] = kept[-1] = False
    return mask & ~inner
