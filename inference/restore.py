"""From probabilities on the prepared grid to labels on the grid of the source file."""

from typing import TYPE_CHECKING

import numpy as np

from imaging.geometry import CaseGeometry
from imaging.volume import Volume
from inference.activation import Regions, check_threshold, region_values

if TYPE_CHECKING:
    from collections.abc import Iterator


def restore_labels(
    probabilities: np.ndarray,
    geometry: CaseGeometry,
    *,
    threshold: float = 0.5,
    regions: Regions | None = None,
    source: str = "",
) -> Volume:
    """Labels on the source grid and orientation.

    Probabilities are resampled linearly and the decision is taken afterwards, so that borders do not become steps of
    the prepared grid. One class is resampled at a time: the memory is two source volumes, not one per class.

    Args:
        probabilities: On the prepared grid, `(d, h, w, k)`.
        geometry: How the prepared array came from its source.
        threshold: See `activation.labels_from_probabilities`.
        regions: Label values of each sigmoid, outermost first.
        source: File name that the label belongs to.

    Returns:
        uint8 label `(d, h, w)` on the source grid; voxels outside the crop are background.

    Raises:
        ValueError: The probabilities are not on the prepared grid, or the threshold does not serve.
    """
    if tuple(probabilities.shape[:3]) != tuple(geometry.prepared_shape):
        raise ValueError(
            f"Probabilities of shape {probabilities.shape[:3]} do not lie on the prepared grid "
            f"{tuple(geometry.prepared_shape)}: predict the prepared image of this case."
        )
    outputs = probabilities.shape[-1]
    check_threshold(threshold, outputs=outputs, regions=regions)
    if regions is not None:
        label = _thresholded(probabilities, geometry, threshold, region_values(regions))
    elif outputs <= 2:
        label = _thresholded(probabilities[..., -1:], geometry, threshold, (1,))
    else:
        label = _largest(probabilities, geometry)
    return Volume(label, np.asarray(geometry.source.affine), source=source)


def _maps(probabilities: np.ndarray, geometry: CaseGeometry) -> "Iterator[np.ndarray]":
    """Each class on the source grid, `(d, h, w)`, 0 outside the crop."""
    for channel in range(probabilities.shape[-1]):
        yield geometry.restore_probabilities(probabilities[..., channel : channel + 1])[..., 0]


def _thresholded(
    probabilities: np.ndarray, geometry: CaseGeometry, threshold: float, values: tuple[int, ...]
) -> np.ndarray:
    label = np.zeros(geometry.source.shape, np.uint8)
    for value, probability in zip(values, _maps(probabilities, geometry), strict=True):
        label[probability > threshold] = value
    return label


def _largest(probabilities: np.ndarray, geometry: CaseGeometry) -> np.ndarray:
    label = np.zeros(geometry.source.shape, np.uint8)
    best: np.ndarray | None = None
    for channel, probability in enumerate(_maps(probabilities, geometry)):
        if best is None:
            best = np.array(probability, np.float32)
            continue
        # Outside the crop every map is 0, nothing is larger, and the background stays.
        larger = probability > best
        label[larger] = channel
        np.maximum(best, probability, out=best)
    return label
