"""Logits to probabilities, probabilities to labels.

One output is a sigmoid, several are a softmax, and declared regions (which may overlap) are a sigmoid each.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import special

Activation = Literal["sigmoid", "softmax"]
Regions = Sequence[Sequence[int]]


def activation_for(outputs: int, *, regions: Regions | None = None) -> Activation:
    """The activation that belongs to a network of `outputs` channels.

    Raises:
        ValueError: Regions are declared, but not one per output.
    """
    if regions is not None and len(regions) != outputs:
        raise ValueError(
            f"{len(regions)} regions need {len(regions)} network outputs, got {outputs}: set OUTPUT.CLASSES."
        )
    return "sigmoid" if outputs == 1 or regions is not None else "softmax"


def probabilities_from_logits(logits: np.ndarray, *, activation: Activation) -> np.ndarray:
    """Probabilities `(*s, k)`, float32, from logits `(*s, k)`; large logits do not overflow."""
    values = np.asarray(logits, np.float32)
    return special.expit(values) if activation == "sigmoid" else special.softmax(values, axis=-1)


def region_values(regions: Regions) -> tuple[int, ...]:
    """The label value that each region writes.

    Regions are written in their order, later ones over earlier ones. A region's own value is the one that no later
    region holds: `[[1, 2, 3], [2, 3], [3]]` writes 1, 2, 3.

    Raises:
        ValueError: A region holds no such value, or several.
    """
    values: list[int] = []
    for index, region in enumerate(regions):
        later = {value for other in regions[index + 1 :] for value in other}
        own = set(region) - later
        if len(own) != 1:
            raise ValueError(
                f"Region {index + 1} {list(region)} must hold exactly one label that no later region holds, it holds "
                f"{sorted(own) or 'none'}: order the regions from the outermost to the innermost."
            )
        values.append(own.pop())
    return tuple(values)


def labels_from_probabilities(
    probabilities: np.ndarray, *, threshold: float = 0.5, regions: Regions | None = None
) -> np.ndarray:
    """Class indices from probabilities.

    Args:
        probabilities: `(*s, k)`; `k == 1` is the foreground; `k > 1` starts with background, unless there are regions.
        threshold: A sigmoid above it is foreground; so is the second of two softmax classes.
        regions: Label values of each sigmoid, outermost first.

    Returns:
        uint8, `(*s,)`. Equal softmax probabilities go to the lower class.

    Raises:
        ValueError: A threshold other than 0.5 is asked of a softmax over more than two classes.
    """
    outputs = probabilities.shape[-1]
    check_threshold(threshold, outputs=outputs, regions=regions)
    if regions is not None:
        label = np.zeros(probabilities.shape[:-1], np.uint8)
        for channel, value in enumerate(region_values(regions)):
            label[probabilities[..., channel] > threshold] = value
        return label
    if outputs <= 2:
        return (probabilities[..., -1] > threshold).astype(np.uint8)
    return np.argmax(probabilities, axis=-1).astype(np.uint8)


def check_threshold(threshold: float, *, outputs: int, regions: Regions | None = None) -> None:
    """Refuse a threshold that would not be used, or that is no probability.

    Raises:
        ValueError: As said.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"Threshold {threshold} is no probability: set INFERENCE.THRESHOLD between 0 and 1.")
    if regions is None and outputs > 2 and threshold != 0.5:
        raise ValueError(
            f"Threshold {threshold} has no meaning for {outputs} exclusive classes: leave INFERENCE.THRESHOLD=0.5."
        )
