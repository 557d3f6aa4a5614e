"""Linear upsampling, alone and followed by a convolution, for any spatial rank, as products of small matrices.

Linear means half-pixel centres and clamped edges, as in `UpSampling2D(interpolation="bilinear")` and PyTorch's
`nn.Upsample(mode="bilinear")`. Nothing here resizes an image: the gradient of a resize comes back as float32 under XLA
with bfloat16 and stops the training.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models.blocks import Axes, per_axis

_BLOCK = 8  # pixels of a banded product; 4 to 32 measure alike


@keras.saving.register_keras_serializable(package="medical_unets")
class LinearUpsample(keras.layers.Layer):
    """Linear interpolation to `scale` times the size: `(b, *s, c)` to `(b, *(s * scale), c)`.

    Args:
        scale: Whole factor, one or per axis.
        options: Of `keras.layers.Layer`.
    """

    def __init__(self, scale: Axes, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale if isinstance(scale, int) else tuple(scale)

    def call(self, inputs: Any) -> Any:
        """Interpolates axis by axis, in the layer's compute dtype."""
        return upsample_linear(inputs, self.scale)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """`(b, *(s * scale), c)`."""
        return (input_shape[0], *_scaled(input_shape[1:-1], self.scale), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "scale": self.scale}


def upsample_linear(x: Any, scale: Axes) -> Any:
    """Linear interpolation of `(b, *s, c)` to `(b, *(s * scale), c)`, in the dtype of `x`."""
    rank = len(x.shape) - 2
    for axis, factor in enumerate(per_axis(scale, rank)):
        if factor == 1:
            continue
        shape = ops.shape(x)
        size, after = shape[axis + 1], shape[axis + 2 :]
        rows = ops.reshape(x, (-1, 1, size, _product(after)))
        rows = _interpolate(rows, factor, taps_first=True, banded=False)
        x = ops.reshape(rows, (-1, *shape[1 : axis + 1], size * factor, *after))
    return x


def upsample_then_conv(x: Any, kernel: Any, scale: Axes, *, banded: bool = False) -> Any:
    """`conv(upsample_linear(x), kernel)`, exactly, without ever holding the upsampled input.

    A convolution is a sum over its taps of shifted 1-wide convolutions; a linear upsampling commutes with a 1-wide
    convolution; so

        conv(up(x), W) = sum over taps t of shift_t(up(x W[t]))

    where x W[t] is computed at the low resolution, for all taps in one matrix product, and "upsample, then shift and
    fill with zeros" is one matrix per axis (`tap_weights`), which also sums over that axis' taps. The zero fill is the
    convolution's own padding, so borders are exact too. The layouts are chosen so that every step is one matrix product
    on neighbouring axes. Half-precision products accumulate in float32: a sum over taps is rounded once per axis.

    Args:
        x: Features, `(b, *s, c)`.
        kernel: `(*(k,) * rank, c, filters)`, k odd, applied with k // 2 zeros around the upsampled image.
        scale: Whole factor, one or per axis.
        banded: Whether to skip the zeros of the matrices, by cutting long axes into overlapping blocks. A fifth of the
            time of those products, but their gradients would be slow.

    Returns:
        `(b, *(s * scale), filters)` in the dtype of `x`.
    """
    rank, taps = len(x.shape) - 2, kernel.shape[0]
    channels, filters = kernel.shape[-2:]
    size, factors = ops.shape(x)[1:-1], per_axis(scale, rank)
    # Axes of the products below: (b, taps of the axes before the last, reversed, *s, taps of the last axis, filters).
    outer = tuple(reversed(range(rank - 1)))
    weights = ops.reshape(
        ops.transpose(kernel, (*outer, rank, rank - 1, rank + 1)), (taps ** (rank - 1), channels, taps * filters)
    )
    z = ops.matmul(ops.reshape(x, (-1, 1, _product(size), channels)), weights)
    for axis in range(rank - 1):
        after = _product(size[axis + 1 :]) * taps * filters
        z = ops.reshape(z, (-1, taps, size[axis], after))
        z = _interpolate(z, factors[axis], taps_first=True, banded=banded)
        open_taps = taps ** (rank - 2 - axis)
        if open_taps > 1:  # the finished axis joins the batch, before the taps that are still open
            z = ops.reshape(z, (-1, open_taps, size[axis] * factors[axis], after))
            z = ops.transpose(z, (0, 2, 1, 3))
    z = ops.reshape(z, (-1, size[-1], taps, filters))
    z = _interpolate(z, factors[-1], taps_first=False, banded=banded)
    return ops.reshape(z, (-1, *(n * s for n, s in zip(size, factors, strict=True)), filters))


def tap_weights(rows: Any, columns: Any, size: Any, factor: int, taps: int) -> Any:
    """What every tap of a "same" convolution reads of a linearly upsampled line, as weights of the line.

    Args:
        rows: Positions in the upsampled line, `(..., r)`, whole numbers.
        columns: Positions in the line, `(..., n)`.
        size: Length of the line.
        factor: Upsampling.
        taps: Odd width of the convolution; 1 is the upsampling alone.

    Returns:
        `(..., r, taps, n)`, float32, multiples of 1 / (2 factor): exact in bfloat16 up to a factor of 64. Tap t of
        row r interpolates at r + t - taps // 2; all its weights are zero where that lies outside of the line.
    """
    position = ops.cast(rows[..., None], "float32") + np.arange(-(taps // 2), taps // 2 + 1, dtype=np.float32)
    length = ops.cast(size, "float32")
    inside = ops.cast(ops.logical_and(position >= 0, position < length * factor), "float32")
    centre = ops.clip((position + 0.5) / factor - 0.5, 0.0, length - 1)  # clamping repeats the edge
    distance = ops.abs(centre[..., None] - ops.cast(columns, "float32")[..., None, None, :])
    return ops.maximum(0.0, 1.0 - distance) * inside[..., None]


def _interpolate(z: Any, factor: int, *, taps_first: bool, banded: bool) -> Any:
    """Sums a line over its taps, each upsampled and shifted.

    Args:
        z: `(b, taps, n, c)` with `taps_first`, else `(b, n, taps, c)`.
        factor: Upsampling.
        taps_first: Order of the axes.
        banded: Whether to cut a long line into blocks.

    Returns:
        `(b, n * factor, c)`.
    """
    line = 2 if taps_first else 1
    size, taps, channels = ops.shape(z)[line], z.shape[3 - line], ops.shape(z)[3]
    if banded and (not isinstance(size, int) or size >= 4 * _BLOCK):
        blocks, block, halo = (size + _BLOCK - 1) // _BLOCK, _BLOCK, max(1, taps // 2)
    else:
        blocks, block, halo = 1, size, 0
    start = ops.arange(blocks)[:, None]
    columns = start * block + ops.arange(-halo, block + halo)
    weights = tap_weights(start * block * factor + ops.arange(block * factor), columns, size, factor, taps)
    if not taps_first:
        weights = ops.transpose(weights, (0, 1, 3, 2))
    weights = ops.reshape(ops.cast(weights, z.dtype), (blocks, block * factor, taps * (block + 2 * halo)))
    if halo:  # columns outside of the line have no weight, whatever stands there
        columns = ops.minimum(ops.maximum(columns, 0), size - 1)
        if taps_first:
            columns = ops.arange(taps)[:, None] * size + columns[:, None]
            z = ops.reshape(z, (-1, taps * size, channels))
        z = ops.take(z, ops.reshape(columns, (-1,)), axis=1)
    z = ops.reshape(z, (-1, blocks, taps * (block + 2 * halo), channels))
    z = ops.reshape(ops.matmul(weights, z), (-1, blocks * block * factor, channels))
    whole = not halo or (isinstance(size, int) and size % block == 0)
    return z if whole else z[:, : size * factor]


def _product(sizes: Sequence[Any]) -> Any:
    product: Any = 1
    for size in sizes:
        product = product * size
    return product


def _scaled(sizes: Sequence[int | None], scale: Axes) -> tuple[int | None, ...]:
    return tuple(n if n is None else n * s for n, s in zip(sizes, per_axis(scale, len(sizes)), strict=True))
