"""From probabilities on the prepared grid to labels on the grid of the source file."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from imaging.axis_operators import axis_operator, nearest_indices
from imaging.geometry import CaseGeometry
from imaging.resampling import coarse_axis, resample_image
from imaging.volume import Volume
from inference.activation import Regions, check_threshold, labels_from_probabilities
from inference.memory import rows_within


def restore_labels(
    probabilities: np.ndarray,
    geometry: CaseGeometry,
    *,
    threshold: float = 0.5,
    regions: Regions | None = None,
    source: str = "",
    memory_gb: float | None = None,
) -> Volume:
    """Labels on the source grid and orientation.

    Probabilities are resampled linearly and the decision is taken afterwards, so that borders do not become steps of
    the prepared grid; an axis much coarser than the others takes the nearest slice, as in nnU-Net. A few slices are
    resampled and decided at a time, all classes together: no map of the source's size is made but the label, and
    probabilities that lie in a file are read once.

    Args:
        probabilities: On the prepared grid, `(d, h, w, k)`; may be a memory map.
        geometry: How the prepared array came from its source.
        threshold: See `activation.labels_from_probabilities`.
        regions: Label values of each sigmoid, outermost first.
        source: File name that the label belongs to.
        memory_gb: The slices at a time take a tenth of it; None: 32 slices.

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
    if regions is None and outputs == 2:
        probabilities = probabilities[..., 1:]
    label = np.empty(geometry.crop_shape, np.uint8)
    for place, slab in source_slabs(probabilities, geometry, memory_gb):
        label[place] = labels_from_probabilities(slab, threshold=threshold, regions=regions)
    unsized = dataclasses.replace(geometry, prepared_shape=geometry.crop_shape)
    return dataclasses.replace(unsized.restore_label(label), source=source)


def source_slabs(
    probabilities: np.ndarray, geometry: CaseGeometry, memory_gb: float | None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of the crop, as many at a time as may be, with their probabilities `(n, h, w, k)`.

    Args:
        probabilities: On the prepared grid, `(d, h, w, k)`; may be a memory map.
        geometry: How the prepared array came from its source.
        memory_gb: The slices at a time take a tenth of it; None: 32 slices.

    Yields:
        Which slices of the crop, in canonical orientation and the size of the source, and their probabilities.
    """
    depth, *plane = geometry.crop_shape
    spacing = geometry.prepared_grid().spacing_mm
    ratios = zip(spacing, geometry.prepared_shape, geometry.crop_shape, strict=True)
    apart = coarse_axis(spacing, [step * old / new for step, old, new in ratios])
    # The result, and the same once more while it is made and decided.
    rows = rows_within(2 * 4 * probabilities.shape[-1] * plane[0] * plane[1], memory_gb=memory_gb)
    for start in range(0, depth, rows):
        place = slice(start, min(start + rows, depth))
        yield place, _slab(probabilities, geometry, place, apart)


def _slab(probabilities: np.ndarray, geometry: CaseGeometry, place: slice, apart: int | None) -> np.ndarray:
    """Probabilities of some slices of the crop; only the slices of the prepared grid that they need are read."""
    old, new = geometry.prepared_shape[0], geometry.crop_shape[0]
    plane = geometry.crop_shape[1:]
    along = None if apart == 0 else axis_operator(old, new, 1)
    if along is None:
        wanted = nearest_indices(old, new)[place] if apart == 0 else np.arange(place.start, place.stop)
        return _in_plane(_rows(probabilities, wanted), plane, apart)
    matrix = along.matrix[place]
    used = np.flatnonzero(matrix.any(axis=0))
    low, high = int(used[0]), int(used[-1]) + 1
    block, matrix = probabilities[low:high], matrix[:, low:high]
    if new < old:
        return _in_plane(_along_depth(matrix, block), plane, apart)
    return _along_depth(matrix, _in_plane(block, plane, apart))


def _rows(probabilities: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Slices by number, a view where they follow one another."""
    if np.all(np.diff(wanted) == 1):
        return probabilities[int(wanted[0]) : int(wanted[-1]) + 1]
    return probabilities[wanted]


def _along_depth(matrix: np.ndarray, block: np.ndarray) -> np.ndarray:
    return (matrix @ block.reshape(len(block), -1)).reshape(len(matrix), *block.shape[1:])


def _in_plane(block: np.ndarray, plane: tuple[int, int], apart: int | None) -> np.ndarray:
    if block.shape[1:3] == plane:
        return block
    return resample_image(block, (len(block), *plane), order=1, separate_axis=apart)
