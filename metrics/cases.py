"""Every score of one case: a reference and a prediction on the same grid, class by class.

The work is done in the bounding box of the class, so a whole-body CT with many small organs costs little more than the
organs. Slices are never averaged: a case is a patient's volume.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metrics.empty import DISTANCES, apply_policy, check_policy
from metrics.overlap import boundary_iou, count, overlap_scores
from metrics.surface import surface_distances

Labels = Mapping[int, str] | Mapping[str, int | Sequence[int]]
"""Names of label values, `{1: "liver"}`, or values of names, `{"liver": [1, 2], "tumour": 2}`, which may overlap."""

Mask = NDArray[np.bool_]
Crop = tuple[slice, ...]


def nsd_name(tolerance_mm: float) -> str:
    """Name of the surface Dice at a tolerance: `nsd_1mm`, `nsd_2.5mm`."""
    return f"nsd_{tolerance_mm:g}mm"


def label_values(labels: Labels) -> dict[str, tuple[int, ...]]:
    """Class name to the label values it consists of; the background 0 is left out of `{value: name}`.

    Raises:
        ValueError: No class is left, or a name stands twice.
    """
    found: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        if isinstance(key, str):
            found[key] = (int(value),) if isinstance(value, int | np.integer) else tuple(int(v) for v in value)  # pyright: ignore[reportGeneralTypeIssues]
        elif key != 0:
            if str(value) in found:
                raise ValueError(f"Two labels have the name {value!r}: {dict(labels)}; give each its own.")
            found[str(value)] = (int(key),)
    if not found:
        raise ValueError(f"No class to score in labels={dict(labels)}: give for example {{1: 'liver', 2: 'tumor'}}.")
    return found


def case_metrics(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    labels: Labels,
    tolerance_mm: Sequence[float] = (1.0,),
    empty: str = "nan",
    ignore_label: int = 255,
) -> dict[str, dict[str, float]]:
    """Score one case.

    Args:
        reference: Label values, `(d, h, w)`, or `(h, w)`. With one slice, surfaces are contours in the plane.
        prediction: Label values, the same shape.
        spacing_mm: Of the axes.
        labels: Classes to score; sets of values score regions that overlap.
        tolerance_mm: Tolerances of the surface Dice.
        empty: What a class scores that is empty somewhere, a key of `metrics.empty.EMPTY_POLICIES`.
        ignore_label: Voxels of this reference label belong to no class, in neither array.

    Returns:
        Class name to `dice`, `iou`, `precision`, `recall`, `specificity`, `volume_reference_ml`,
        `volume_prediction_ml`, `relative_volume_difference`, `boundary_iou`, `hd95`, `hd`, `assd` (mm) and `nsd_<t>mm`
        for every tolerance. NaN: not defined.

    Raises:
        ValueError: Shapes differ, values are no whole numbers, spacing is not positive, or the policy is unknown.
    """
    check_policy(empty)
    classes = label_values(labels)
    reference, prediction = _checked(reference, prediction, spacing_mm)
    ignored = reference == ignore_label
    image = reference.size - int(np.count_nonzero(ignored))
    if image < reference.size:
        reference, prediction = (np.where(ignored, 0, array) for array in (reference, prediction))
    diagonal_mm = math.dist([0.0] * reference.ndim, [n * s for n, s in zip(reference.shape, spacing_mm, strict=True)])
    voxel_ml = math.prod(spacing_mm) / 1000.0
    if reference.ndim == 3 and reference.shape[0] == 1:
        # Of the image, not of a class: a lesion in one slice of a scan has flat sides.
        reference, prediction, spacing_mm = reference[0], prediction[0], spacing_mm[1:]
    scores: dict[str, dict[str, float]] = {}
    for name, masks in class_masks(reference, prediction, classes):
        counts = count(*masks, image=image)
        measured = overlap_scores(counts, voxel_ml=voxel_ml)
        measured["boundary_iou"] = boundary_iou(*masks)
        measured |= _surface_scores(*masks, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm)
        scores[name] = apply_policy(measured, counts, policy=empty, diagonal_mm=diagonal_mm)
    return scores


def class_masks(
    reference: NDArray[Any], prediction: NDArray[Any], classes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, tuple[Mask, Mask]]]:
    """Every class as two masks, cropped to the smallest box that holds both; one search for all boxes.

    Args:
        reference: Label values, whole numbers, `(*s,)`.
        prediction: The same shape.
        classes: Name to label values.

    Yields:
        Name, mask in the reference and mask in the prediction; of size 0 where the class is in neither.
    """
    boxes = [ndimage.find_objects(array) for array in (reference, prediction)]
    for name, values in classes.items():
        crop = _crop(boxes, values, reference.ndim)
        yield name, (_mask(reference[crop], values), _mask(prediction[crop], values))


def _checked(
    reference: NDArray[Any], prediction: NDArray[Any], spacing_mm: Sequence[float]
) -> tuple[NDArray[Any], NDArray[Any]]:
    if reference.shape != prediction.shape or reference.ndim not in (2, 3):
        raise ValueError(
            f"A reference of {reference.shape} and a prediction of {prediction.shape} cannot be compared: "
            f"both are (d, h, w) on the same grid."
        )
    if len(spacing_mm) != reference.ndim or min(spacing_mm) <= 0:
        raise ValueError(
            f"spacing_mm={tuple(spacing_mm)} must be {reference.ndim} positive numbers, one for each axis."
        )
    return _whole(reference, "reference"), _whole(prediction, "prediction")


def _whole(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Labels in a type the bounding-box search takes, without copying integers."""
    if array.dtype == bool:
        return array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        return array
    whole = array.astype(np.int32)
    if not np.array_equal(whole, array):
        raise ValueError(f"The {name} holds values of type {array.dtype} that are no whole numbers, so no labels.")
    return whole


def _crop(boxes: Sequence[Sequence[Crop | None]], values: Sequence[int], rank: int) -> Crop:
    """Smallest box that holds the values in both arrays; an empty one where neither does."""
    found = [part[v - 1] for part in boxes for v in values if 0 < v <= len(part)]
    present = [box for box in found if box is not None]
    if not present:
        return (slice(0, 0),) * rank
    return tuple(slice(min(b[i].start for b in present), max(b[i].stop for b in present)) for i in range(rank))


def _mask(array: NDArray[Any], values: Sequence[int]) -> Mask:
    return array == values[0] if len(values) == 1 else np.isin(array, values)


def _surface_scores(
    reference: Mask, prediction: Mask, *, spacing_mm: Sequence[float], tolerance_mm: Sequence[float]
) -> dict[str, float]:
    names = [*DISTANCES, *(nsd_name(tolerance) for tolerance in tolerance_mm)]
    if not (reference.any() and prediction.any()):
        return dict.fromkeys(names, math.nan)
    distances = surface_distances(reference, prediction, spacing_mm=spacing_mm)
    values = [distances.hausdorff(95.0), distances.hausdorff(), distances.average_distance()]
    values += [distances.surface_dice(tolerance) for tolerance in tolerance_mm]
    return dict(zip(names, values, strict=True))
