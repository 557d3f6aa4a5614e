"""PNG, JPG, TIF, GIF and BMP: 8 and 16 bit, grey, colour, palette, several pages.

What is stored is what is returned: 16-bit stays 16-bit, 1-bit becomes 0 and 1, EXIF rotation is not applied. An alpha
channel is dropped where it is opaque everywhere and kept as the last channel otherwise. A palette image is its colours;
as a label it is its palette indices.
"""

import io
import pathlib
from typing import Any

import numpy as np

from imaging.atomic import replacing
from imaging.errors import ImageError, reading
from imaging.volume import Grid, Volume, picture_affine

_DAMAGED = "the file is truncated or not an image: copy or download it again"
_TIF = (".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")


def read_picture(path: pathlib.Path, *, indices: bool = False) -> Volume:
    """Reads an image as `(1, h, w)` or `(1, h, w, c)`; a TIF or GIF of several pages as `(pages, h, w[, c])`.

    Args:
        path: The file.
        indices: Palette indices instead of their colours (labels).

    Returns:
        uint8, uint16 or float32 voxels, `has_geometry=False`.

    Raises:
        ImageError: Damaged, pages of different sizes, or a colour space that is not grey or RGB.
    """
    with reading(path, remedy=_DAMAGED):
        array = _read_tif(path) if path.suffix.lower() in _TIF else _read_other(path, indices=indices)
    return Volume(_without_opaque_alpha(array), picture_affine(), source=str(path), has_geometry=False)


def read_picture_grid(path: pathlib.Path) -> Grid:
    """Shape from the header alone; unit spacing."""
    from PIL import Image

    with reading(path, remedy=_DAMAGED):
        if path.suffix.lower() in _TIF:
            import tifffile

            with tifffile.TiffFile(path) as file:
                shape = _pages_last(file.series[0].shape, file.series[0].axes)
            return Grid(shape, picture_affine())
        with Image.open(path) as image:
            return Grid((int(getattr(image, "n_frames", 1)), image.height, image.width), picture_affine())


def write_picture(path: pathlib.Path, volume: Volume) -> None:
    """Writes grey, RGB or RGBA voxels of uint8, or uint16 (PNG and TIF); several slices as TIF pages.

    Raises:
        ImageError: Several slices in a format of one page, or a voxel type the format does not hold.
    """
    import cv2

    suffix, array = path.suffix.lower(), np.squeeze(volume.array, axis=3) if volume.channels == 1 else volume.array
    if volume.array.ndim == 3:
        array = volume.array
    types = (np.uint8, np.uint16) if suffix in (*_TIF, ".png") else (np.uint8,)
    if array.dtype not in types or volume.channels not in (1, 3, 4) or suffix == ".gif":
        raise ImageError(
            f"{path}: {suffix} does not hold {volume.channels} channels of {array.dtype}: write .nii.gz or .tif instead."
        )
    if volume.shape[0] > 1 and suffix not in _TIF:
        raise ImageError(f"{path}: {suffix} holds one slice, not {volume.shape[0]}: write .tif or .nii.gz instead.")
    with replacing(path) as partial:
        if suffix in _TIF:
            _write_tif(partial, array)
            return
        picture = array[0] if array.ndim == 3 else np.ascontiguousarray(array[0][..., _bgr(array.shape[3])])
        partial.write_bytes(cv2.imencode(suffix, picture)[1].tobytes())


def _write_tif(path: pathlib.Path, array: np.ndarray) -> None:
    import tifffile

    colour = "rgb" if array.ndim == 4 else "minisblack"
    tifffile.imwrite(path, array, photometric=colour, compression="zlib", metadata=None)


def _read_other(path: pathlib.Path, *, indices: bool) -> np.ndarray:
    content = path.read_bytes()
    fast = path.suffix.lower() in (".jpg", ".jpeg") or (_png_bits(content) >= 8)
    array = _decode(content) if fast and not indices else None
    if array is None:
        array = _decode_with_pillow(path, content, indices=indices)
    return array


def _png_bits(content: bytes) -> int:
    """Bits per sample of a PNG without palette; 0 for everything else."""
    is_png = content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 25
    return content[24] if is_png and content[25] != 3 else 0


def _decode(content: bytes) -> np.ndarray | None:
    """`(1, h, w[, c])` in RGB order by OpenCV, which keeps 16 bits per colour; None where it cannot."""
    import cv2

    picture: Any = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        return None
    if picture.ndim == 3:
        picture = np.ascontiguousarray(picture[..., _bgr(picture.shape[2])])
    return picture[None]


def _bgr(channels: int) -> list[int]:
    return [2, 1, 0, 3][:channels] if channels >= 3 else list(range(channels))


def _decode_with_pillow(path: pathlib.Path, content: bytes, *, indices: bool) -> np.ndarray:
    from PIL import Image, ImageSequence

    with Image.open(io.BytesIO(content)) as image:
        frames = [_pillow_frame(path, frame, content, indices=indices) for frame in ImageSequence.Iterator(image)]
    return _stack(path, frames)


def _pillow_frame(path: pathlib.Path, frame: Any, content: bytes, *, indices: bool) -> np.ndarray:
    if frame.mode == "P" and not indices:
        frame = frame.convert("RGBA" if "transparency" in frame.info else "RGB")
        array = np.asarray(frame)
        grey = (array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all()
        return array[..., 0] if grey and array.shape[2] == 3 else array
    if frame.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B", "I", "F"):
        raise ImageError(f"{path}: has the colour space {frame.mode}: save it as grey or RGB.")
    array = np.asarray(frame)
    if frame.mode == "1":
        return array.astype(np.uint8)
    bits = _png_bits(content)
    # Pillow stretches 2 and 4 bits to 0..255; a label must keep the stored values.
    return array // (255 // (2**bits - 1)) if bits in (2, 4) else array


def _stack(path: pathlib.Path, frames: list[np.ndarray]) -> np.ndarray:
    if len({frame.shape for frame in frames}) != 1:
        raise ImageError(f"{path}: holds pages of different sizes: save each page as a file of its own.")
    return np.stack(frames)


def _read_tif(path: pathlib.Path) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if len(file.series) > 1 and len({one.shape for one in file.series}) > 1:
            raise ImageError(f"{path}: holds pages of different sizes: save each page as a file of its own.")
        axes = series.axes
        if len(file.series) > 1:
            shape = (len(file.series), *series.shape)
            axes = "I" + axes
        else:
            shape = series.shape
        if file.pages[0].photometric.name not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "YCBCR"):  # pyright: ignore
            raise ImageError(f"{path}: has the colour space {file.pages[0].photometric.name}: save it as grey or RGB.")  # pyright: ignore
        try:
            array = np.stack([one.asarray() for one in file.series]) if len(file.series) > 1 else file.asarray()
        except (ValueError, KeyError) as error:  # A compression that tifffile reads only with imagecodecs.
            array = _read_tif_with_opencv(path, error)
            return array
    return _page_axes(path, array.reshape(shape), axes)


def _read_tif_with_opencv(path: pathlib.Path, reason: Exception) -> np.ndarray:
    import cv2

    read, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    if not read:
        raise ImageError(f"{path}: cannot be read ({reason}): save it uncompressed or as PNG.")
    frames = [page if page.ndim == 2 else page[..., _bgr(page.shape[2])] for page in pages]
    return np.ascontiguousarray(_stack(path, [np.asarray(frame) for frame in frames]))


def _page_axes(path: pathlib.Path, array: np.ndarray, axes: str) -> np.ndarray:
    """Any order of TIF axes to `(pages, h, w[, c])`: Y and X are the plane, S and C the channels, the rest pages."""
    if "Y" not in axes or "X" not in axes:
        raise ImageError(f"{path}: has axes {axes}, no plane among them: save it as plain TIF pages.")
    channel = [index for index, axis in enumerate(axes) if axis in "SC"]
    pages = [index for index, axis in enumerate(axes) if axis not in "SCYX"]
    moved = np.transpose(array, (*pages, axes.index("Y"), axes.index("X"), *channel))
    plane = (array.shape[axes.index("Y")], array.shape[axes.index("X")])
    channels = int(np.prod([array.shape[index] for index in channel])) if channel else 0
    moved = np.ascontiguousarray(moved).reshape(-1, *plane, *([channels] if channels else []))
    return moved.astype(np.uint8) if moved.dtype == bool else moved


def _pages_last(shape: tuple[int, ...], axes: str) -> tuple[int, int, int]:
    sizes = dict(zip(axes, shape, strict=True))
    pages = int(np.prod([size for axis, size in sizes.items() if axis not in "SCYX"]))
    return pages, sizes["Y"], sizes["X"]


def _without_opaque_alpha(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    if array.ndim != 4:
        return array
    channels = array.shape[3]
    if channels in (2, 4) and np.issubdtype(array.dtype, np.unsignedinteger):
        opaque = (array[..., -1] == np.iinfo(array.dtype).max).all()
        array = np.ascontiguousarray(array[..., :-1]) if opaque else array
    return array[..., 0] if array.shape[3] == 1 else array
