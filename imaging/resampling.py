"""Resampling by the rules of nnU-Net v2 (Isensee et al., https://github.com/MIC-DKFZ/nnUNet), several times faster.

Sizes are the contract, not spacings: input and output cover the same box, voxel `i` of `n` is centred at
`(i + 0.5) / n`. Images by cubic B-spline, edges repeated, no smoothing, clipped to the input's range. Labels by linear
interpolation of each value's 0/1 mask, written where at least 1/2. Where one axis is much coarser than the others it is
handled apart: slices are resampled in their plane, then the nearest slice is taken along that axis.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from imaging.axis_operators import AxisOperator, axis_operator, nearest_indices
from imaging.volume import Shape

SeparateAxis: TypeAlias = int | Literal["auto"] | None
ANISOTROPY_THRESHOLD = 3.0
_COLUMNS = 1 << 16


def new_shape(shape: Sequence[int], *, spacing_mm: Sequence[float], target_spacing_mm: Sequence[float]) -> Shape:
    """Size after resampling: `round(spacing / target * size)` per axis, at least 1."""
    sizes = [
        max(1, round(old / new * size)) for size, old, new in zip(shape, spacing_mm, target_spacing_mm, strict=True)
    ]
    return sizes[0], sizes[1], sizes[2]


def coarse_axis(spacing_mm: Sequence[float], target_spacing_mm: Sequence[float] | None = None) -> int | None:
    """The axis to handle apart: the coarsest one where the largest spacing is above 3 times the smallest.

    Tested on the current spacing first, then on the target; None where neither is so uneven, or where two axes share
    the largest spacing.
    """
    for spacing in (spacing_mm, target_spacing_mm):
        if spacing is not None and max(spacing) / min(spacing) > ANISOTROPY_THRESHOLD:
            coarsest = [axis for axis, size in enumerate(spacing) if size == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def resample_image(
    array: np.ndarray,
    shape: Shape,
    *,
    order: int = 3,
    separate_axis: SeparateAxis = None,
    spacing_mm: Sequence[float] | None = None,
    target_spacing_mm: Sequence[float] | None = None,
) -> np.ndarray:
    """Resamples an image, each channel by itself.

    Args:
        array: `(d, h, w)` or `(d, h, w, c)`, numbers.
        shape: New `(d, h, w)`.
        order: 3 cubic, 1 linear, 0 nearest.
        separate_axis: Axis handled apart; `"auto"` decides by `coarse_axis`.
        spacing_mm: Current spacing, for `"auto"`.
        target_spacing_mm: Spacing wanted, for `"auto"`; otherwise derived from the sizes.

    Returns:
        float32 `(*shape)` or `(*shape, c)`, within the range of the input channel (of the slice, if handled apart).

    Raises:
        ValueError: Unknown order or axis, a size below 1, `"auto"` without spacing.
    """
    axis = _axis(array.shape[:3], shape, separate_axis, spacing_mm, target_spacing_mm)
    if order not in (0, 1, 3):
        raise ValueError(f"interpolation order {order} is unknown: give 0 (nearest), 1 (linear) or 3 (cubic)")
    if order == 0:
        return _nearest(array, shape).astype(np.float32)
    return _per_channel(array, shape, lambda channel: _separable(channel, shape, order=order, axis=axis))


def resample_probabilities(
    array: np.ndarray,
    shape: Shape,
    *,
    separate_axis: SeparateAxis = None,
    spacing_mm: Sequence[float] | None = None,
    target_spacing_mm: Sequence[float] | None = None,
) -> np.ndarray:
    """`resample_image` with order 1: sums over classes are kept.

    Args:
        array: `(d, h, w, k)`.
        shape: New `(d, h, w)`.
        separate_axis: As in `resample_image`.
        spacing_mm: As in `resample_image`.
        target_spacing_mm: As in `resample_image`.

    Returns:
        float32 `(*shape, k)`.
    """
    return resample_image(
        array,
        shape,
        order=1,
        separate_axis=separate_axis,
        spacing_mm=spacing_mm,
        target_spacing_mm=target_spacing_mm,
    )


def resample_label(
    array: np.ndarray,
    shape: Shape,
    *,
    separate_axis: SeparateAxis = None,
    spacing_mm: Sequence[float] | None = None,
    target_spacing_mm: Sequence[float] | None = None,
) -> np.ndarray:
    """Resamples a label map: values are never mixed, borders are smoother than with nearest neighbour.

    For each value ascending its mask is interpolated linearly and written where at least 1/2; 0 elsewhere.

    Args:
        array: `(d, h, w)` integers.
        shape: New `(d, h, w)`.
        separate_axis: As in `resample_image`.
        spacing_mm: As in `resample_image`.
        target_spacing_mm: As in `resample_image`.

    Returns:
        `shape`, same type.

    Raises:
        ValueError: Not integers or not of rank 3, otherwise as `resample_image`.
    """
    axis = _axis(array.shape[:3], shape, separate_axis, spacing_mm, target_spacing_mm)
    if array.ndim != 3 or array.dtype.kind not in "iub":
        raise ValueError(
            f"labels are (d, h, w) integers, not {array.shape} {array.dtype}: use resample_image for images"
        )
    if array.shape == tuple(shape):
        return array.copy()
    planar = _without_axis(array.shape, shape, axis)
    result = np.zeros(planar, dtype=array.dtype)
    operators = [axis_operator(old, new, 1) for old, new in zip(array.shape, planar, strict=True)]
    for value, box in _boxes(array):
        _write_label(result, array, value, box, operators)
    return _nearest(result, shape)


def resample_label_nearest(array: np.ndarray, shape: Shape) -> np.ndarray:
    """Nearest neighbour, values and type kept; `(d, h, w)` or `(d, h, w, c)`."""
    return _nearest(array, shape)


def _axis(
    old: Sequence[int],
    new: Sequence[int],
    separate_axis: SeparateAxis,
    spacing_mm: Sequence[float] | None,
    target_spacing_mm: Sequence[float] | None,
) -> int | None:
    if len(old) != 3 or len(new) != 3 or min(new) < 1:
        raise ValueError(f"cannot resample {tuple(old)} to {tuple(new)}: both need three sizes of at least 1")
    if separate_axis != "auto":
        if separate_axis not in (None, 0, 1, 2):
            raise ValueError(f"separate_axis={separate_axis} is no axis: give 0, 1, 2, None or 'auto'")
        return separate_axis
    if spacing_mm is None:
        raise ValueError("separate_axis='auto' needs spacing_mm, the current spacing along d, h, w")
    derived = [size * before / after for size, before, after in zip(spacing_mm, old, new, strict=True)]
    return coarse_axis(spacing_mm, derived if target_spacing_mm is None else target_spacing_mm)


def _without_axis(old: Sequence[int], new: Sequence[int], axis: int | None) -> Shape:
    """The new shape, except that the axis handled apart keeps its size."""
    d, h, w = (before if index == axis else after for index, (before, after) in enumerate(zip(old, new, strict=True)))
    return d, h, w


def _per_channel(array: np.ndarray, shape: Shape, resample: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    if array.ndim == 3:
        return resample(array)
    result = np.empty((*shape, array.shape[3]), dtype=np.float32)
    for channel in range(array.shape[3]):
        result[..., channel] = resample(array[..., channel])
    return result


def _nearest(array: np.ndarray, shape: Shape) -> np.ndarray:
    for axis, (old, new) in enumerate(zip(array.shape[:3], shape, strict=True)):
        if old != new:
            array = np.take(array, nearest_indices(old, new), axis=axis)
    return np.ascontiguousarray(array)


def _separable(array: np.ndarray, shape: Shape, *, order: int, axis: int | None) -> np.ndarray:
    """Spline along all axes but `axis`, clipped; then nearest along that one."""
    planar = _without_axis(array.shape, shape, axis)
    front = np.moveaxis(array, axis or 0, 0)
    sizes = (planar[axis or 0], *(size for index, size in enumerate(planar) if index != (axis or 0)))
    operators = [axis_operator(old, new, order) for old, new in zip(front.shape, sizes, strict=True)]
    result = _apply(front, operators, clip_slices=axis is not None)
    if axis is None:
        np.clip(result, np.float32(array.min()), np.float32(array.max()), out=result)
    return _nearest(np.moveaxis(result, 0, axis or 0), shape)


def _apply(array: np.ndarray, operators: Sequence[AxisOperator | None], *, clip_slices: bool = False) -> np.ndarray:
    """All three operators; along the first axis first where that makes the array smaller."""
    along, rows, columns = operators
    shrinks = along is not None and along.matrix.shape[0] < along.matrix.shape[1]
    if along is not None and shrinks:
        array = _along_first(array, along)
    sizes = [array.shape[1] if rows is None else rows.matrix.shape[0]]
    sizes += [array.shape[2] if columns is None else columns.matrix.shape[0]]
    result = np.empty((array.shape[0], *sizes), dtype=np.float32)
    for index, plane in enumerate(array):
        result[index] = _in_plane(plane, rows, columns)
        if clip_slices:
            np.clip(result[index], np.float32(plane.min()), np.float32(plane.max()), out=result[index])
    if along is not None and not shrinks:
        result = _along_first(result, along)
    return result


def _in_plane(plane: np.ndarray, rows: AxisOperator | None, columns: AxisOperator | None) -> np.ndarray:
    plane = np.ascontiguousarray(plane, dtype=np.float32)
    if rows is not None:
        plane = rows.rows(plane)
    return plane if columns is None else columns.columns(plane)


def _along_first(array: np.ndarray, operator: AxisOperator) -> np.ndarray:
    """Piece by piece, so that integers become float32 without a whole copy."""
    flat = array.reshape(array.shape[0], -1)
    result = np.empty((operator.matrix.shape[0], flat.shape[1]), dtype=np.float32)
    for start in range(0, flat.shape[1], _COLUMNS):
        piece = np.ascontiguousarray(flat[:, start : start + _COLUMNS], dtype=np.float32)
        result[:, start : start + _COLUMNS] = operator.rows(piece)
    return result.reshape(-1, *array.shape[1:])


def _boxes(array: np.ndarray) -> list[tuple[int, tuple[slice, slice, slice]]]:
    """Values ascending with a box around each; 0 only where negative values must give way to it."""
    from scipy import ndimage

    if array.min() >= 0 and array.max() <= 65535:
        boxes = ndimage.find_objects(array)
        return [(value, box) for value, box in enumerate(boxes, start=1) if box is not None]
    whole = (slice(0, array.shape[0]), slice(0, array.shape[1]), slice(0, array.shape[2]))
    return [(int(value), whole) for value in np.unique(array) if value != 0 or array.min() < 0]


def _write_label(
    result: np.ndarray,
    array: np.ndarray,
    value: int,
    box: tuple[slice, slice, slice],
    operators: Sequence[AxisOperator | None],
) -> None:
    parts: list[AxisOperator | None] = []
    target: list[slice] = []
    for operator, ends in zip(operators, box, strict=True):
        if operator is None:
            parts.append(None)
            target.append(ends)
            continue
        part, first, last = operator.within(ends.start, ends.stop)
        parts.append(part)
        target.append(slice(first, last))
    if any(one.stop == one.start for one in target):
        return
    share = _apply(array[box] == value, parts)
    result[tuple(target)][share >= 0.5] = value
