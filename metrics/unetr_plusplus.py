"""Scores as the tables of UNETR++ define them: Dice, and HD95 in voxels after MedPy.

Source: A. Shaker et al., IEEE TMI 2024, https://doi.org/10.1109/TMI.2024.3398728, and the evaluation of its released
code. Distances are counted in voxels whatever their size, and a missing organ costs nothing (0); `metrics.cases`
measures in mm and says what is empty.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SYNAPSE_ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "pancreas",
)
"""The 8 of the 13 organs that the Synapse table averages."""

Scores = Mapping[str, Mapping[str, float]]


def published_classes(collection: str, classes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """What the published mean is over.

    Args:
        collection: Of Synapse eight organs count, of every other collection all classes (or regions).
        classes: Name to label values of everything that is predicted.

    Raises:
        ValueError: A Synapse organ is missing.
    """
    if collection != "synapse":
        return {name: tuple(values) for name, values in classes.items()}
    missing = [name for name in SYNAPSE_ORGANS if name not in classes]
    if missing:
        raise ValueError(
            f"EVALUATION.PROTOCOL=unetr_plusplus averages 8 organs of Synapse, and {', '.join(missing)} are no classes "
            "here: give DATASET.LABELS as configs/dataset/synapse.yaml names them."
        )
    return {name: tuple(classes[name]) for name in SYNAPSE_ORGANS}


def published_case(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    classes: Mapping[str, Sequence[int]],
    *,
    ignore_label: int = 255,
) -> dict[str, dict[str, float]]:
    """Dice and HD95 of one case.

    Args:
        reference: Label values, `(d, h, w)` or `(h, w)`.
        prediction: The same shape.
        classes: Name to label values; sets may overlap.
        ignore_label: Voxels of this reference label belong to no class, in neither array.

    Returns:
        Class to `dice` (1 where both are empty) and `hd95_voxels` (0 where one is).
    """
    counted = reference != ignore_label
    scores: dict[str, dict[str, float]] = {}
    for name, values in classes.items():
        masks = [np.isin(array, values) & counted for array in (reference, prediction)]
        total = int(masks[0].sum()) + int(masks[1].sum())
        dice = 2 * int((masks[0] & masks[1]).sum()) / total if total else 1.0
        scores[name] = {"dice": dice, "hd95_voxels": hd95_voxels(masks[0], masks[1])}
    return scores


def hd95_voxels(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    """MedPy's `hd95` without spacing: the 95th percentile of both directed distances together, in voxels.

    Distances run from the voxels of one border to the nearest of the other. A border voxel has a neighbour over a face
    that is not in the mask; outside the array is not in the mask.

    Returns:
        0 where a mask is empty, as the tables count it.
    """
    if not (reference.any() and prediction.any()):
        return 0.0
    ((box,),) = (ndimage.find_objects((reference | prediction).astype(np.uint8)),)
    first, second = (_border(np.pad(mask[box], 1)) for mask in (reference, prediction))
    apart = [_distances(first, second), _distances(second, first)]
    return float(np.percentile(np.concatenate(apart), 95))


def published_means(cases: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """Mean over cases of every class, and under `mean` the mean of these over classes."""
    names = dict.fromkeys(name for scores in cases.values() for name in scores)
    means = {
        name: {
            metric: float(np.mean([scores[name][metric] for scores in cases.values()]))
            for metric in ("dice", "hd95_voxels")
        }
        for name in names
    }
    overall = {
        metric: float(np.mean([found[metric] for found in means.values()])) for metric in ("dice", "hd95_voxels")
    }
    return {**means, "mean": overall}


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & ~ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1))


def _distances(border: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float64]:
    """From each voxel of a border to the nearest of the other one."""
    return np.asarray(ndimage.distance_transform_edt(~other))[border]
