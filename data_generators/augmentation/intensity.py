"""Noise, blur, brightness, contrast, resolution and gamma of an image; labels are not touched."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from data_generators.augmentation.parameters import Field, Parameters
from data_generators.augmentation.volumes import enlarge, enlarge_cubic

_TINY = 1e-7


def change_intensity(image: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Does the drawn changes in nnU-Net's order.

    Args:
        image: `(*s, c)` float32; overwritten where that is cheaper. Channel `i` is of modality `i % modalities`, and
            all channels of a modality are changed by the same numbers: mean, range and standard deviation, too, are
            taken over all of them.
        parameters: What is done.

    Returns:
        `(*s, c)` float32.
    """
    if parameters.noise is not None:
        image = add_noise(image, parameters.noise)
    for change, values in _changes(parameters):
        image = _per_modality(image, change, values)
    if parameters.saturation is not None or parameters.hue is not None:
        image = change_colour(image, saturation=parameters.saturation or 1.0, hue_degrees=parameters.hue or 0.0)
    for change, values in _last_changes(parameters):
        image = _per_modality(image, change, values)
    return image


def add_noise(image: np.ndarray, noise: Field) -> np.ndarray:
    """Adds normal noise of one strength to all channels."""
    values = np.random.Generator(np.random.SFC64(noise.seed)).standard_normal(image.shape, dtype=np.float32)
    values *= np.float32(noise.strength)
    values += image
    return values


def blur(image: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    """Gaussian blur of `(*s, c)` by a standard deviation per axis, in voxels; mirrored at the edges."""
    if len(sigma) == 2:
        return _blur_plane(image, sigma).reshape(image.shape)
    blurred = np.stack([_blur_plane(plane, sigma[1:]) for plane in image]).reshape(len(image), -1)
    reach = 2 * round(4 * sigma[0]) + 1
    kernel = cv2.getGaussianKernel(reach, sigma[0], cv2.CV_32F)
    flat = cv2.sepFilter2D(blurred, -1, np.ones(1, np.float32), kernel, borderType=cv2.BORDER_REFLECT_101)
    return flat.reshape(image.shape)


def multiply(image: np.ndarray, factor: float) -> np.ndarray:
    """Brightness as a factor."""
    return np.multiply(image, np.float32(factor), out=image)


def add(image: np.ndarray, shift: float) -> np.ndarray:
    """Brightness as a summand."""
    return np.add(image, np.float32(shift), out=image)


def stretch(image: np.ndarray, factor: float, *, clamp: bool = True) -> np.ndarray:
    """Contrast: distances from the mean are multiplied; `clamp` keeps the old lowest and highest value."""
    mean = np.float32(image.mean(dtype=np.float64))
    low, high = (image.min(), image.max()) if clamp else (None, None)
    image *= np.float32(factor)
    image += mean * np.float32(1.0 - factor)
    return image if low is None else np.clip(image, low, high, out=image)


def lower_resolution(image: np.ndarray, zoom: float, *, planar: bool = False, cubic: bool = False) -> np.ndarray:
    """Keeps a share of the voxels along each axis (nearest) and interpolates back.

    Args:
        image: `(*s, c)` float32.
        zoom: The share, 0 to 1.
        planar: Leave the first axis as it is.
        cubic: Interpolate by cubic splines, not linearly.
    """
    shape = image.shape[:-1]
    kept = [
        np.arange(size) if planar and axis == 0 else _kept(size, max(round(size * zoom), 1))
        for axis, size in enumerate(shape)
    ]
    small = image[np.ix_(*kept)]
    if cubic:
        return np.stack([enlarge_cubic(channel, shape) for channel in np.moveaxis(small, -1, 0)], axis=-1)
    if len(shape) == 2:
        enlarged = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        return enlarged.reshape(image.shape)
    channels = [enlarge(np.ascontiguousarray(small[..., channel]), shape) for channel in range(image.shape[-1])]
    return channels[0][..., None] if len(channels) == 1 else np.stack(channels, axis=-1)


def gamma(image: np.ndarray, exponent: float) -> np.ndarray:
    """Raises the image, scaled to 0..1, to a power; mean and standard deviation are restored. Constant: unchanged."""
    return _power(image, exponent, sign=1.0)


def gamma_inverted(image: np.ndarray, exponent: float) -> np.ndarray:
    """`gamma` of the negative, turned positive again."""
    return _power(image, exponent, sign=-1.0)


def change_colour(image: np.ndarray, *, saturation: float, hue_degrees: float) -> np.ndarray:
    """Saturation and hue of an RGB image `(h, w, 3)` within 0..1.

    Raises:
        ValueError: The image has no three channels.
    """
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            f"AUGMENTATION.SATURATION and HUE are for colour pictures, not for the shape {image.shape}: remove them."
        )
    colours = cv2.cvtColor(np.clip(image, 0.0, 1.0), cv2.COLOR_RGB2HSV)
    colours[..., 0] = np.mod(colours[..., 0] + np.float32(hue_degrees), np.float32(360.0))
    colours[..., 1] = np.clip(colours[..., 1] * np.float32(saturation), 0.0, 1.0)
    return cv2.cvtColor(colours, cv2.COLOR_HSV2RGB)


Change = Callable[[np.ndarray, float], np.ndarray]


def _changes(parameters: Parameters) -> list[tuple[Callable[..., np.ndarray], Sequence[object]]]:
    def contrast(image: np.ndarray, factor: float) -> np.ndarray:
        return stretch(image, factor, clamp=parameters.clamp)

    found = [
        (blur, parameters.blur),
        (multiply, parameters.brightness),
        (add, parameters.shift),
        (contrast, parameters.contrast),
    ]
    return [(change, values) for change, values in found if values is not None]


def _last_changes(parameters: Parameters) -> list[tuple[Callable[..., np.ndarray], Sequence[object]]]:
    def resolution(image: np.ndarray, zoom: float) -> np.ndarray:
        return lower_resolution(image, zoom, planar=parameters.planar, cubic=parameters.cubic)

    found = [
        (resolution, None if parameters.zoom is None else [() if zoom >= 1.0 else zoom for zoom in parameters.zoom]),
        (gamma_inverted, parameters.gamma_inverted),
        (gamma, parameters.gamma),
    ]
    return [(change, values) for change, values in found if values is not None]


def _per_modality(image: np.ndarray, change: Callable[..., np.ndarray], values: Sequence[object]) -> np.ndarray:
    """Changes every modality by its own value; an empty one leaves it alone."""
    if len(values) == 1:
        return image if values[0] == () else change(np.ascontiguousarray(image), values[0])
    image = np.ascontiguousarray(image)
    for modality, value in enumerate(values):
        if value != ():
            own = image[..., modality :: len(values)]
            own[...] = change(np.ascontiguousarray(own), value)
    return image


def _blur_plane(plane: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    return cv2.GaussianBlur(plane, (0, 0), sigmaX=sigma[1], sigmaY=sigma[0], borderType=cv2.BORDER_REFLECT_101)


def _kept(size: int, count: int) -> np.ndarray:
    """Numbers of the voxels that nearest-exact sampling keeps."""
    return ((np.arange(count) + 0.5) * (size / count)).astype(np.int64)


def _power(image: np.ndarray, exponent: float, *, sign: float) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    if high - low < _TINY:
        return image
    flat = image.reshape(-1, 1)
    mean, deviation = (float(value.item()) for value in cv2.meanStdDev(flat))
    origin = low if sign > 0 else high
    flat -= np.float32(origin)
    flat *= np.float32(sign / (high - low))
    cv2.pow(flat, exponent, flat)
    new_mean, new_deviation = (float(value.item()) for value in cv2.meanStdDev(flat))
    scale = sign * deviation / max(new_deviation, _TINY)
    flat *= np.float32(scale)
    flat += np.float32(mean - new_mean * scale)
    return image
