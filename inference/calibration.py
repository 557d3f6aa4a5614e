"""Calibration of a case: its probabilities against its reference, on the grid of the file, near what is looked for."""

import functools
import operator
from collections.abc import Mapping, Sequence

import numpy as np

from imaging import Volume, to_canonical
from inference.probabilities import Probabilities
from metrics.calibration import Reliability, class_reliability, reliability
from metrics.details import ALL_CLASSES

MARGIN_MM = 10.0


def case_calibration(
    probabilities: Probabilities,
    reference: Volume,
    label: Volume,
    *,
    classes: Mapping[str, Sequence[int]],
    ignore_label: int = 255,
) -> dict[str, Reliability]:
    """Voxels by confidence, class by class.

    Only the box around the foreground of reference and label counts, widened by 10 mm (10 pixels of a picture): over a
    whole scan the certain background hides everything else. The box is that of the truth and of the decision, not of
    the probabilities, so it does not choose voxels by their confidence.

    Args:
        probabilities: Of the network.
        reference: Classes, or the ignore label, on the grid of the file.
        label: What was decided, likewise.
        classes: Name to class values.
        ignore_label: Voxels of it do not count.

    Returns:
        Class to the voxels by its own probability, and with exclusive classes `metrics.details.ALL_CLASSES` to those by
        the probability of the decision. Empty where both labels are.
    """
    truth, said = probabilities.cropped(reference), probabilities.cropped(label)
    spacing = (reference if probabilities.geometry is None else to_canonical(reference)).spacing_mm
    box = _box(((truth > 0) & (truth != ignore_label)) | (said > 0), spacing)
    if box is None:
        return {}
    outputs, regions = probabilities.array.shape[-1], probabilities.regions
    # Of two classes one channel is enough, as for the decision.
    one_of_two = regions is None and outputs == 2
    found: dict[str, list[Reliability]] = {}
    for place, slab in probabilities.slabs(slice(1, None) if one_of_two else slice(None)):
        first, last = max(place.start, box[0].start), min(place.stop, box[0].stop)
        if first >= last:
            continue
        part = slab[first - place.start : last - place.start, box[1], box[2]]
        part = np.concatenate([1.0 - part, part], axis=-1) if one_of_two else part
        there = truth[first:last, box[1], box[2]]
        each: list[Reliability] = []
        if regions is None and outputs > 1:
            each, decision = class_reliability(part, there, ignore_label=ignore_label)
            found.setdefault(ALL_CLASSES, []).append(decision)
        for name, places in probabilities.channel_of(classes).items():
            if each and len(places) == 1:
                found.setdefault(name, []).append(each[places[0]])
                continue
            inside = np.where(there == ignore_label, 255, np.isin(there, classes[name])).astype(np.uint8)
            found.setdefault(name, []).append(reliability(_sum(part, places), inside))
    return {name: functools.reduce(operator.add, parts) for name, parts in found.items()}


def _sum(probabilities: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Probability of several channels together, `(*s, 1)`."""
    return np.clip(probabilities[..., list(places)].sum(axis=-1, keepdims=True), 0.0, 1.0)


def _box(mask: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, slice, slice] | None:
    """Around the set voxels, widened; None where nothing is set."""
    ends: list[slice] = []
    for axis, (size, step) in enumerate(zip(mask.shape, spacing_mm, strict=True)):
        held = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not held.size:
            return None
        margin = round(MARGIN_MM / step)
        ends.append(slice(max(int(held[0]) - margin, 0), min(int(held[-1]) + margin + 1, size)))
    return ends[0], ends[1], ends[2]
