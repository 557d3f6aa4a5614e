"""Interpolation in volumes: linear, made of OpenCV's interpolation in planes, and by SciPy's cubic splines."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

_LONGEST_SIDE = 32766  # of a sheet that OpenCV can look up in


def enlarge(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Linear interpolation of `(h, w)` or `(d, h, w)` to a larger shape; voxels, not centres, meet at the ends."""
    height, width = shape[-2:]
    if array.ndim == 2:
        return cv2.resize(array, (width, height), interpolation=cv2.INTER_LINEAR)
    planes = np.empty((array.shape[0], height, width), np.float32)
    for plane, source in zip(planes, array, strict=True):
        cv2.resize(source, (width, height), plane, interpolation=cv2.INTER_LINEAR)
    if array.shape[0] == shape[0]:
        return planes
    sheet = planes.reshape(array.shape[0], height * width)
    columns = range(0, sheet.shape[1], _LONGEST_SIDE)
    taller = [_taller(sheet[:, start : start + _LONGEST_SIDE], shape[0]) for start in columns]
    return np.concatenate(taller, axis=1).reshape(shape) if len(taller) > 1 else taller[0].reshape(shape)


def sample_volume(volume: np.ndarray, offsets: Sequence[np.ndarray]) -> np.ndarray:
    """Trilinear interpolation; `(d, h, w, c)` float32 at offsets from its centre that lie inside it -> `(*shape, c)`.

    OpenCV interpolates within planes: the planes are laid out as one sheet, each point is looked up in the plane below
    and in the one above it, and the two are mixed. Three times as fast as `scipy.ndimage.affine_transform`.
    """
    depth, height, width, channels = volume.shape
    below_z = np.floor(offsets[0] + np.float32((depth - 1) / 2))
    np.clip(below_z, 0, max(depth - 2, 0), out=below_z)
    share = offsets[0] + np.float32((depth - 1) / 2) - below_z
    rows = offsets[1] + np.float32((height - 1) / 2)
    columns = offsets[2] + np.float32((width - 1) / 2)
    sheet, per_row = _sheet(volume)
    size = (height, width, per_row)
    moved = _look_up(sheet, below_z, rows, columns, size=size, way=cv2.INTER_LINEAR)
    if depth > 1:
        above = _look_up(sheet, below_z + 1.0, rows, columns, size=size, way=cv2.INTER_LINEAR)
        above -= moved
        above *= share[..., None] if channels > 1 else share
        moved += above
    return moved.reshape(*offsets[0].shape, channels)


def sample_cubic(image: np.ndarray, offsets: Sequence[np.ndarray]) -> np.ndarray:
    """Cubic splines; `(*s, c)` float32 at offsets from its centre, 0 outside -> `(*shape, c)`."""
    places = [offset + np.float32((size - 1) / 2) for offset, size in zip(offsets, image.shape, strict=False)]
    channels = np.moveaxis(image, -1, 0)
    return np.stack([ndimage.map_coordinates(one, places, order=3, mode="grid-constant") for one in channels], axis=-1)


def enlarge_cubic(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Cubic splines from `(*s)` float32 to a larger shape; voxels, not centres, meet at the ends."""
    factors = [want / have for want, have in zip(shape, array.shape, strict=True)]
    return ndimage.zoom(array, factors, order=3, mode="nearest", grid_mode=True)


def sample_labels(labels: np.ndarray, offsets: Sequence[np.ndarray]) -> np.ndarray:
    """Nearest neighbour; `(d, h, w, n)` uint8 at offsets from its centre that lie inside it -> `(*shape, n)`."""
    nearest = [
        np.rint(offset + np.float32((size - 1) / 2)) for offset, size in zip(offsets, labels.shape, strict=False)
    ]
    sheet, per_row = _sheet(labels)
    found = _look_up(sheet, *nearest, size=(*labels.shape[1:3], per_row), way=cv2.INTER_NEAREST)
    return found.reshape(*offsets[0].shape, labels.shape[-1])


def _sheet(volume: np.ndarray) -> tuple[np.ndarray, int]:
    """Planes of `(d, h, w, c)` one below the other, and beside each other where that would be too long a sheet."""
    depth, height, width, channels = volume.shape
    per_row = -(-depth * height // _LONGEST_SIDE)
    if per_row > 1:
        rows = -(-depth // per_row)
        padded = _padded(volume, rows * per_row).reshape(rows, per_row, height, width, channels)
        volume = padded.transpose(0, 2, 1, 3, 4)
        depth, width = rows, per_row * width
    sheet = np.ascontiguousarray(volume).reshape(depth * height, width, channels)
    return (sheet[..., 0] if channels == 1 else sheet), per_row


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    """Pads the first axis with zeros at its end."""
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]), array.dtype)])


def _look_up(
    sheet: np.ndarray, plane: np.ndarray, row: np.ndarray, column: np.ndarray, *, size: tuple[int, int, int], way: int
) -> np.ndarray:
    """Values at `(plane, row, column)`, `(d, h, w)` each; `size`: a plane's height, width, and planes per sheet row."""
    height, width, per_row = size
    if per_row > 1:
        across = np.mod(plane, np.float32(per_row))
        plane = (plane - across) / np.float32(per_row)
        column = column + across * np.float32(width)
    row = plane * np.float32(height) + row
    found = np.empty((*row.shape, *sheet.shape[2:]), sheet.dtype)
    for place in range(len(row)):
        cv2.remap(sheet, column[place], row[place], way, found[place])
    return found


def _taller(sheet: np.ndarray, height: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(sheet), (sheet.shape[1], height), interpolation=cv2.INTER_LINEAR)
