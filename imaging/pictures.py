"""PNG, JPG, TIF, GIF and BMP: 8 and 16 bit, grey, colour, palette, several pages.

What is stored is what is returned: 16 bits stay 16 bits, 1 bit becomes 0 and 1, EXIF rotation is not applied. An alpha
channel is dropped where it is opaque everywhere and kept as the last channel otherwise. A palette image is its
colours (grey where they are all grey); as a label it is its palette indices.
"""

import io
import pathlib
from typing import Any

import numpy as np

from imaging.atomic import replacing
from imaging.errors import ImageError, reading
from imaging.tif import quiet_opencv, read_tif, rgb_from_bgr, tif_shape, write_tif
from imaging.volume import Grid, Volume, picture_affine

_DAMAGED = "the file is truncated or not an image: copy or download it again"
_TIF = (".tif", ".tiff")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B", "I", "F")


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
        read = read_tif if path.suffix.lower() in _TIF else _read_other
        array = read(path, indices=indices)
    return Volume(_without_opaque_alpha(array), picture_affine(), source=str(path), has_geometry=False)


def read_picture_grid(path: pathlib.Path) -> Grid:
    """Shape from the header alone; unit spacing."""
    from PIL import Image

    with reading(path, remedy=_DAMAGED):
        if path.suffix.lower() in _TIF:
            return Grid(tif_shape(path), picture_affine())
        with Image.open(path) as image:
            return Grid((int(getattr(image, "n_frames", 1)), image.height, image.width), picture_affine())


def write_picture(path: pathlib.Path, volume: Volume) -> None:
    """Writes grey, RGB or RGBA voxels of uint8, or uint16 (PNG and TIF); several slices as TIF pages.

    Raises:
        ImageError: Several slices in a format of one page, or a voxel type or channel count the format does not hold.
    """
    import cv2

    suffix, channels = path.suffix.lower(), volume.channels
    array = volume.array[..., 0] if volume.array.ndim == 4 and channels == 1 else volume.array
    rich = suffix in (*_TIF, ".png")
    types, counts = (("uint8", "uint16"), (1, 3, 4)) if rich else (("uint8",), (1, 3))
    if array.dtype.name not in types or channels not in counts:
        raise ImageError(
            f"{path}: {suffix} does not hold {channels} channel{'s' if channels > 1 else ''} of {array.dtype}: "
            "write .nii.gz instead."
        )
    if volume.shape[0] > 1 and suffix not in _TIF:
        raise ImageError(f"{path}: {suffix} holds one slice, not {volume.shape[0]}: write .tif or .nii.gz instead.")
    with replacing(path) as partial:
        if suffix in _TIF:
            write_tif(partial, array)
        else:
            partial.write_bytes(cv2.imencode(suffix, rgb_from_bgr(array[0]))[1].tobytes())


def _read_other(path: pathlib.Path, *, indices: bool) -> np.ndarray:
    content = path.read_bytes()
    picture = _decode(content) if path.suffix.lower() in (".jpg", ".jpeg") or _png_bits(content) >= 8 else None
    return _decode_with_pillow(path, content, indices=indices) if picture is None else picture[None]


def _png_bits(content: bytes) -> int:
    """Bits per sample of a PNG without palette; 0 for everything else."""
    is_png = content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 25
    return content[24] if is_png and content[25] != 3 else 0


def _decode(content: bytes) -> np.ndarray | None:
    """`(h, w[, c])` in RGB order by OpenCV, which is fast and keeps 16 bits per colour; None where it cannot."""
    import cv2

    with quiet_opencv():
        picture: Any = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    return None if picture is None else rgb_from_bgr(picture)


def _decode_with_pillow(path: pathlib.Path, content: bytes, *, indices: bool) -> np.ndarray:
    from PIL import Image, ImageSequence

    with Image.open(io.BytesIO(content)) as image:
        frames = [_frame(path, frame, content, indices=indices) for frame in ImageSequence.Iterator(image)]
    if len({frame.shape for frame in frames}) != 1:
        raise ImageError(f"{path}: holds pages of different kinds: save each page as a file of its own.")
    return np.stack(frames)


def _frame(path: pathlib.Path, frame: Any, content: bytes, *, indices: bool) -> np.ndarray:
    if frame.mode not in _MODES:
        raise ImageError(f"{path}: has the colour space {frame.mode}: save it as grey or RGB.")
    if frame.mode == "P" and not indices:
        array = np.asarray(frame.convert("RGBA" if "transparency" in frame.info else "RGB"))
        grey = array.shape[2] == 3 and (array == array[..., :1]).all()
        return array[..., 0] if grey else array
    array = np.asarray(frame)
    if frame.mode == "1":
        return array.astype(np.uint8)
    bits = _png_bits(content)
    # Pillow stretches 2 and 4 bits to 0..255; a label must keep the stored values.
    return array // (255 // (2**bits - 1)) if bits in (2, 4) else array


def _without_opaque_alpha(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    if array.ndim != 4:
        return array
    if array.shape[3] in (2, 4) and array.dtype.name in ("uint8", "uint16"):
        opaque = (array[..., -1] == np.iinfo(array.dtype).max).all()
        array = np.ascontiguousarray(array[..., :-1]) if opaque else array
    return array[..., 0] if array.shape[3] == 1 else array
