"""Picture files as network input: decoding, channels, size, scale; masks as class indices."""

import dataclasses
import pathlib

import cv2
import numpy as np

from imaging import pictures

_LARGEST = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


class PictureError(ValueError):
    """A picture or mask that cannot be used; the message is one line and names the file."""


@dataclasses.dataclass(frozen=True)
class PictureOptions:
    """What is done to a picture and its mask when they are read.

    Attributes:
        channels: 3 makes RGB of grey pictures, 1 makes grey of colour; transparency is dropped.
        size: `(h, w)` to resize to, or `None`. Pictures by area when they shrink and linear when they grow, masks
            by nearest neighbour.
        normalize: Divide by the type's largest value (255, or 65535 for 16 bit), else keep the file's values.
        mask_divisor: Divide mask values by it, downwards; 255 makes 0/1 of 0/255.
        mask_threshold: Mask values above it become 1, the others 0; for masks saved as JPEG, 127.
        label_table: uint8, `(256,)`, from mask values to classes, used last.
    """

    channels: int = 3
    size: tuple[int, int] | None = None
    normalize: bool = True
    mask_divisor: int | None = None
    mask_threshold: int | None = None
    label_table: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise PictureError(f"INPUT.CHANNELS is {self.channels}: pictures have 1 or 3.")
        if self.mask_divisor is not None and self.mask_divisor < 1:
            raise PictureError(
                f"PREPROCESS_DATA.NORMALIZE_MASK.NORMALIZE_VALUE is {self.mask_divisor}: give 1 or more."
            )


def read_picture(path: pathlib.Path, options: PictureOptions) -> np.ndarray:
    """A picture, `(h, w, channels)` float32; RGB order.

    Raises:
        PictureError: The file is missing, has several pages, or is to be normalised and has neither 8 nor 16 bits.
        imaging.ImageError: The file is damaged.
    """
    return _to_input(_decode(path), path, options)


def read_mask(path: pathlib.Path, options: PictureOptions) -> np.ndarray:
    """A mask's class indices, `(h, w, 1)` uint8.

    Raises:
        PictureError: The file is missing, has colours, or a value is left that is no class.
        imaging.ImageError: The file is damaged.
    """
    return to_classes(_decode_mask(path), path, options)


def read_pair(path: pathlib.Path, mask_path: pathlib.Path, options: PictureOptions) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its mask, like `read_picture` and `read_mask`.

    Raises:
        PictureError: As there, or the two files differ in size.
    """
    picture, mask = _decode(path), _decode_mask(mask_path)
    if picture.shape[:2] != mask.shape[:2]:
        raise PictureError(
            f"{path} is {picture.shape[0]}x{picture.shape[1]} and its mask {mask_path} {mask.shape[0]}x{mask.shape[1]} "
            "(height x width): they must be of one size. Replace one of them."
        )
    return _to_input(picture, path, options), to_classes(mask, mask_path, options)


def mask_values(path: pathlib.Path) -> set[int]:
    """The values stored in a mask file."""
    return {int(value) for value in np.unique(_decode_mask(path))}


def _decode(path: pathlib.Path, *, indices: bool = False) -> np.ndarray:
    if not path.is_file():
        raise PictureError(f"{path} does not exist: correct the path.")
    array = pictures.read_picture(path, indices=indices).array
    if array.shape[0] != 1:
        raise PictureError(f"{path} has {array.shape[0]} pages: save each as a picture, or prepare it as a volume.")
    return array[0]


def _to_input(picture: np.ndarray, path: pathlib.Path, options: PictureOptions) -> np.ndarray:
    stored = _to_channels(picture, options.channels)
    resized = stored if options.size is None else _resized(stored, options.size, smooth=True)
    scale = 1.0 / _largest(stored, path) if options.normalize else 1.0
    return np.multiply(resized.reshape(*resized.shape[:2], -1), np.float32(scale), dtype=np.float32)


def to_classes(mask: np.ndarray, path: pathlib.Path, options: PictureOptions) -> np.ndarray:
    """Stored mask values `(h, w)` as classes `(h, w, 1)` uint8: size, threshold, division, then the label table.

    Raises:
        PictureError: A value is left that is no class.
    """
    if options.size is not None:
        mask = _resized(mask, options.size, smooth=False)
    if options.mask_threshold is not None:
        mask = (mask > options.mask_threshold).astype(np.uint8)
    if options.mask_divisor is not None:
        mask = mask // options.mask_divisor
    if mask.dtype != np.uint8 and (mask.max(initial=0) > 255 or not np.array_equal(mask, np.floor(mask))):
        raise PictureError(
            f"{path} has mask values up to {mask.max()}: set PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True, or use whole "
            "numbers from 0 to 255."
        )
    mask = mask.astype(np.uint8, copy=False)
    return (mask if options.label_table is None else options.label_table[mask])[..., None]


def _to_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """Drops transparency, then makes 1 or 3 channels."""
    if picture.ndim == 3 and picture.shape[2] != 3:
        picture = np.ascontiguousarray(picture[..., 0] if picture.shape[2] < 3 else picture[..., :3])
    if channels == 3 and picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    if channels == 1 and picture.ndim == 3:
        return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return picture


def _decode_mask(path: pathlib.Path) -> np.ndarray:
    mask = _decode(path, indices=True)
    if mask.ndim == 2:
        return mask
    if any(not np.array_equal(mask[..., 0], mask[..., channel]) for channel in range(1, min(mask.shape[2], 3))):
        raise PictureError(f"{path} is a colour picture, not a mask: save class indices as grey values.")
    return np.ascontiguousarray(mask[..., 0])


def _resized(picture: np.ndarray, size: tuple[int, int], *, smooth: bool) -> np.ndarray:
    height, width = size
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    way = cv2.INTER_NEAREST_EXACT if not smooth else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=way)


def _largest(picture: np.ndarray, path: pathlib.Path) -> float:
    if picture.dtype not in _LARGEST:
        raise PictureError(
            f"{path} holds {picture.dtype} values, and only 8 and 16 bit pictures can be normalised: set "
            "PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=raw."
        )
    return _LARGEST[picture.dtype]
