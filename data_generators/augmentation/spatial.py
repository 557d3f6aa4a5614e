"""Rotation, scaling, displacement and flips: image by interpolation, label by nearest neighbour, both alike."""

from collections.abc import Sequence

import cv2
import numpy as np

from data_generators.augmentation.parameters import Field, Parameters
from data_generators.augmentation.volumes import enlarge, sample_cubic, sample_labels, sample_volume


def transform(
    image: np.ndarray, label: np.ndarray | None, parameters: Parameters, *, outside_label: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Takes the result's voxels from where rotation, scaling and displacement point to; without them, from the centre.

    Args:
        image: `(*s, c)` float32; what lies outside it is 0.
        label: `(*s, n)` uint8; several labels move alike.
        parameters: Their `shape` is the result's.
        outside_label: What lies outside the label.

    Returns:
        `(*parameters.shape, c)` and `(*parameters.shape, n)`; views of the given arrays where nothing had to be moved.
    """
    if parameters.matrix is None and parameters.elastic is None:
        return _fit_both(image, label, parameters.shape, outside_label)
    if len(parameters.shape) == 2:
        return _transform_planes(image[None], label if label is None else label[None], parameters, outside_label)
    if parameters.planar:
        depth = parameters.shape[0]
        image, label = _fit_both(image, label, (depth, *image.shape[1:3]), outside_label)
        return _transform_planes(image, label, parameters, outside_label)
    image, label = _fit_both(image, label, parameters.read_shape, outside_label)
    offsets = sampling_offsets(parameters)
    moved = sample_cubic(image, offsets) if parameters.cubic else sample_volume(image, offsets)
    return moved, None if label is None else sample_labels(label, offsets)


def flip(array: np.ndarray, flips: Sequence[bool]) -> np.ndarray:
    """Mirrors the leading axes that are to be mirrored; a view."""
    axes = tuple(axis for axis, mirrored in enumerate(flips) if mirrored)
    return np.flip(array, axes) if axes else array


def fit_centre(array: np.ndarray, shape: Sequence[int], *, fill: float = 0.0) -> np.ndarray:
    """Cuts or pads the leading axes around the centre to `shape`; a view where nothing is padded."""
    starts = [(have - want) // 2 for have, want in zip(array.shape, shape, strict=False)]
    inside = tuple(
        slice(max(start, 0), max(start, 0) + min(want, have - max(start, 0)))
        for start, want, have in zip(starts, shape, array.shape, strict=False)
    )
    cut = array[inside]
    if cut.shape[: len(shape)] == tuple(shape):
        return cut
    whole = np.full((*shape, *array.shape[len(shape) :]), fill, array.dtype)
    place = tuple(slice(max(-start, 0), max(-start, 0) + size) for start, size in zip(starts, cut.shape, strict=False))
    whole[place] = cut
    return whole


def sampling_offsets(parameters: Parameters) -> list[np.ndarray]:
    """Where each voxel of the result comes from, per axis in voxels from the source's centre; float32, `shape` each."""
    shape, rank = parameters.shape, len(parameters.shape)
    matrix = np.eye(rank) if parameters.matrix is None else parameters.matrix
    axes = [np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2) for size in shape]
    steps = [axis.reshape([-1 if place == own else 1 for place in range(rank)]) for own, axis in enumerate(axes)]
    offsets: list[np.ndarray] = []
    for row in matrix.astype(np.float32):
        along = row[-1] * steps[-1]
        for step, slope in zip(steps[-2::-1], row[-2::-1], strict=True):
            along = along + slope * step
        offsets.append(np.ascontiguousarray(np.broadcast_to(along, shape)))
    if parameters.elastic is not None:
        moves = displacements(parameters.elastic, shape)
        return [offset + move for offset, move in zip(offsets, moves, strict=True)]
    return offsets


def displacements(field: Field, shape: Sequence[int]) -> list[np.ndarray]:
    """Smooth random displacements per axis, float32, `shape` each; none exceeds three standard deviations."""
    rng = np.random.default_rng(field.seed)
    coarse = [max(-(-size // field.spacing) + 1, 2) for size in shape]
    limit = 3.0 * field.strength
    found: list[np.ndarray] = []
    for _ in shape:
        nodes = np.clip(rng.normal(0.0, field.strength, size=coarse), -limit, limit).astype(np.float32)
        found.append(enlarge(nodes, shape))
    return found


def _fit_both(
    image: np.ndarray, label: np.ndarray | None, shape: Sequence[int], outside_label: int
) -> tuple[np.ndarray, np.ndarray | None]:
    return fit_centre(image, shape), None if label is None else fit_centre(label, shape, fill=outside_label)


def _transform_planes(
    image: np.ndarray, label: np.ndarray | None, parameters: Parameters, outside_label: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The same movement within every plane of `(d, h, w, c)`."""
    moves = _plane_moves(image.shape[1:3], parameters)
    height, width = parameters.shape[-2:]
    moved = np.empty((image.shape[0], height, width, image.shape[-1]), np.float32)
    offsets = _plane_offsets(parameters) if parameters.cubic else None
    for plane, source in zip(moved, image, strict=True):
        if offsets is None:
            _move_plane(source, plane, moves, way=cv2.INTER_LINEAR, outside=0)
        else:
            plane[...] = sample_cubic(source, offsets)
    flat = parameters.shape
    if label is None:
        return moved.reshape(*flat, -1), None
    moved_label = np.empty((label.shape[0], height, width, label.shape[-1]), np.uint8)
    for plane, source in zip(moved_label, label, strict=True):
        _move_plane(source, plane, moves, way=cv2.INTER_NEAREST, outside=outside_label)
    return moved.reshape(*flat, -1), moved_label.reshape(*flat, -1)


def _plane_moves(source: Sequence[int], parameters: Parameters) -> list[np.ndarray]:
    """What OpenCV is to be told: one 2 x 3 matrix, or two maps; both from the result's (x, y) to the source's."""
    shape = parameters.shape[-2:]
    if parameters.elastic is not None:
        rows, columns = _plane_offsets(parameters)
        return [columns + np.float32((source[1] - 1) / 2), rows + np.float32((source[0] - 1) / 2)]
    matrix = np.eye(2) if parameters.matrix is None else parameters.matrix[-2:, -2:]
    centre = (np.asarray(source) - 1) / 2 - matrix @ ((np.asarray(shape) - 1) / 2)
    return [np.array([[matrix[1, 1], matrix[1, 0], centre[1]], [matrix[0, 1], matrix[0, 0], centre[0]]])]


def _plane_offsets(parameters: Parameters) -> list[np.ndarray]:
    """`sampling_offsets` within a plane."""
    matrix = None if parameters.matrix is None else parameters.matrix[-2:, -2:]
    return sampling_offsets(Parameters(parameters.shape[-2:], matrix, parameters.elastic))


def _move_plane(source: np.ndarray, target: np.ndarray, moves: list[np.ndarray], *, way: int, outside: int) -> None:
    """`(h, w, c)` into `target`."""
    flat, result = (source[..., 0], target[..., 0]) if source.shape[-1] == 1 else (source, target)
    border = (outside,) * 4
    if len(moves) == 1:
        size = (target.shape[1], target.shape[0])
        cv2.warpAffine(flat, moves[0], size, result, flags=way | cv2.WARP_INVERSE_MAP, borderValue=border)
    else:
        cv2.remap(flat, moves[0], moves[1], way, result, borderValue=border)
