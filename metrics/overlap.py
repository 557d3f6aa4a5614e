"""Overlap of two masks from voxel counts: Dice, IoU, precision, recall, specificity, volumes, boundary IoU."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def count_classes(
    reference: NDArray[Any], prediction: NDArray[Any], classes: Mapping[str, Sequence[int]], *, ignore_label: int = 255
) -> dict[str, Counts]:
    """Counts of every class from one pass over both label maps.

    Args:
        reference: Label values 0 to 255, `(*s,)`.
        prediction: The same.
        classes: Name to label values; classes may overlap.
        ignore_label: Voxels of this reference label are not counted.

    Returns:
        Class name to its counts.
    """
    pairs = np.zeros(1 << 16, np.int64)
    for first, second in zip(np.atleast_2d(reference), np.atleast_2d(prediction), strict=True):
        index = first.astype(np.uint16) << 8 | second.astype(np.uint8)
        pairs += np.bincount(index.ravel(), minlength=1 << 16)
    table = pairs.reshape(256, 256)
    if 0 <= ignore_label < 256:
        table[ignore_label] = 0
    rows, columns, image = table.sum(1), table.sum(0), int(table.sum())
    found: dict[str, Counts] = {}
    for name, values in classes.items():
        chosen = sorted(set(values))
        both = int(table[np.ix_(chosen, chosen)].sum())
        found[name] = Counts(both, int(rows[chosen].sum()), int(columns[chosen].sum()), image)
    return found


def mask_box(*masks: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Smallest box that holds what is set in any of the masks `(*s,)`; an empty one where nothing is."""
    box: list[slice] = []
    rank = masks[0].ndim
    for axis in range(rank):
        others = tuple(other for other in range(rank) if other != axis)
        held = np.flatnonzero(np.logical_or.reduce([mask.any(axis=others) for mask in masks]))
        if not len(held):
            return (slice(0, 0),) * rank
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


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
