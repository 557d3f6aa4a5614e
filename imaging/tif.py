"""TIF: pages, channel orders, palettes, thumbnails."""

import contextlib
import math
import pathlib
from collections.abc import Generator
from typing import Any

import numpy as np

from imaging.errors import ImageError
from imaging.volume import Shape

_COLOURS = ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "YCBCR")


def read_tif(path: pathlib.Path, *, indices: bool) -> np.ndarray:
    """Pages `(pages, h, w)` or `(pages, h, w, c)`; thumbnails are left out.

    Args:
        path: The file.
        indices: Palette indices instead of their colours.

    Raises:
        ImageError: Pages of different sizes, no plane among the axes, neither grey nor RGB.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        images = _images(path, file)
        try:
            pages = [_pages_first(one.asarray(), one.axes) for one in images]
        except ValueError as error:  # A compression that tifffile reads only with imagecodecs.
            return _read_with_opencv(path, error)
        array = pages[0] if len(pages) == 1 else np.concatenate(pages)
        colours = images[0].keyframe.colormap
        if images[0].keyframe.photometric.name == "PALETTE" and not indices and colours is not None:
            array = (np.asarray(colours) >> 8).astype(np.uint8).T[array]
    return array.astype(np.uint8) if array.dtype == bool else array


def tif_shape(path: pathlib.Path) -> Shape:
    """`(pages, h, w)` without decoding."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        images = _images(path, file)
        sizes = dict(zip(images[0].axes, images[0].shape, strict=True))
    pages = math.prod(size for axis, size in sizes.items() if axis not in "SCYX")
    return pages * len(images), sizes["Y"], sizes["X"]


def write_tif(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes `(pages, h, w)` or `(pages, h, w, 3 or 4)` losslessly."""
    import tifffile

    tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 4 else "minisblack", compression="zlib")


def _images(path: pathlib.Path, file: Any) -> list[Any]:
    """The series that are pages of one size."""
    images = [one for one in file.series if not one.keyframe.is_reduced] or list(file.series)
    colour = images[0].keyframe.photometric.name
    if len({one.shape for one in images}) > 1:
        raise ImageError(f"{path}: holds pages of different sizes: save each page as a file of its own.")
    if colour not in _COLOURS:
        raise ImageError(f"{path}: has the colour space {colour}: save it as grey or RGB.")
    if "Y" not in images[0].axes or "X" not in images[0].axes:
        raise ImageError(f"{path}: has axes {images[0].axes}, no plane among them: save it as plain TIF pages.")
    return images


def _pages_first(array: np.ndarray, axes: str) -> np.ndarray:
    """Any order of axes to `(pages, h, w[, c])`: Y and X are the plane, S and C the channels, the rest pages."""
    channel = [index for index, axis in enumerate(axes) if axis in "SC"]
    pages = [index for index, axis in enumerate(axes) if axis not in "SCYX"]
    moved = np.transpose(array, (*pages, axes.index("Y"), axes.index("X"), *channel))
    sizes = [array.shape[axes.index("Y")], array.shape[axes.index("X")]]
    sizes += [math.prod(array.shape[index] for index in channel)] if channel else []
    return np.ascontiguousarray(moved).reshape(-1, *sizes)


def _read_with_opencv(path: pathlib.Path, reason: Exception) -> np.ndarray:
    import cv2

    with quiet_opencv():
        read, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    if not read or len({page.shape for page in pages}) != 1:
        raise ImageError(f"{path}: cannot be read ({reason}): save it uncompressed or as PNG.")
    return np.stack([rgb_from_bgr(np.asarray(page)) for page in pages])


def rgb_from_bgr(picture: np.ndarray) -> np.ndarray:
    """OpenCV's channel order to RGB or RGBA and back; grey stays as it is."""
    order = [2, 1, 0, 3][: picture.shape[2]] if picture.ndim == 3 and picture.shape[2] >= 3 else None
    return picture if order is None else np.ascontiguousarray(picture[..., order])


@contextlib.contextmanager
def quiet_opencv() -> Generator[None, None, None]:
    """Keeps OpenCV from writing its warnings to the terminal; the caller's error says it better."""
    from cv2.utils import logging

    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)
