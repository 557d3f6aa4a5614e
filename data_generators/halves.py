"""From float16 on disk to float32 in a batch, faster than NumPy converts."""

import cv2
import numpy as np

_REBIAS = np.float32(2.0**112)
_KEEP = np.int32(~0x70000000)


def stack_planes(planes: list[np.ndarray], out: np.ndarray) -> None:
    """Writes arrays side by side as channels.

    Args:
        planes: Each `(h, w, c)`, all float16 or all of another real type.
        out: `(h, w, len(planes) * c)` float32, contiguous.
    """
    if planes[0].dtype != np.float16:
        _interleave(planes, out)
        return
    halves = np.empty(out.shape, np.int16)
    _interleave([plane.view(np.int16) for plane in planes], halves)
    widen(halves.view(np.float16), out)


def widen(halves: np.ndarray, out: np.ndarray) -> None:
    """Writes numbers as float32.

    Halves are widened by moving their bits (sign, exponent and fraction to where float32 has them) and multiplying by
    2**112, the difference of the exponents' biases: exact for every finite half, and about five times as fast as
    `astype`. Infinities and NaN, which prepared volumes do not hold, would become large finite numbers.

    Args:
        halves: float16, or any other real type.
        out: float32 of the same shape, contiguous.
    """
    if halves.dtype != np.float16:
        np.copyto(out, halves)
        return
    bits = out.view(np.int32)
    np.copyto(bits, halves.view(np.int16))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _KEEP, out=bits)
    np.multiply(out, _REBIAS, out=out)


def _interleave(planes: list[np.ndarray], out: np.ndarray) -> None:
    channels = planes[0].shape[-1]
    if channels == 1 and planes[0].dtype == out.dtype:
        cv2.merge([plane[..., 0] for plane in planes], out)
        return
    for place, plane in enumerate(planes):
        out[..., place * channels : (place + 1) * channels] = plane
