"""Winograd's convolution: 3-wide kernels of many channels with a quarter of the multiplications."""

from typing import Any

import numpy as np
from keras import ops
from numpy.polynomial import polynomial
from numpy.typing import NDArray

Tensor = Any

_TILE = 4
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def _cook_toom() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Six inputs to six products, three taps to six products, six products to four outputs.

    Products are the values of polynomials at the points and at infinity. Points of 3/4 and 3/2 err half as much in
    float32 as the usual 1 and 2.
    """
    count = len(_POINTS) + 1
    inputs, taps, outputs = np.zeros((count, count)), np.zeros((count, 3)), np.zeros((_TILE, count))
    for row, point in enumerate(_POINTS):
        others = [other for other in _POINTS if other != point]
        inputs[row, :-1] = polynomial.polyfromroots(others)
        taps[row] = point ** np.arange(3) / np.prod(point - np.array(others))
        outputs[:, row] = point ** np.arange(_TILE)
    inputs[-1], taps[-1, -1], outputs[-1, -1] = polynomial.polyfromroots(_POINTS), 1, 1
    return inputs.astype(np.float32), taps.astype(np.float32), outputs.astype(np.float32)


_INPUT, _TAPS, _OUTPUT = _cook_toom()


def winograd_conv(x: Tensor, kernel: Tensor) -> Tensor:
    """`conv(x, kernel)` with "same" zero padding, to about 1e-6 of the answer's standard deviation, 1e-5 at most.

    F(4x4, 3x3) of A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
    https://arxiv.org/abs/1509.09308, over the last two spatial axes: 16 outputs come from 36 products instead of 144.
    The other axis of a volume is convolved as usual. For float32 only: the transformations would cost half precision
    two digits.

    Args:
        x: Features, `(b, *s, c)`, two or three spatial axes of any sizes.
        kernel: `(3, .., 3, c, filters)`.

    Returns:
        `(b, *s, filters)`.
    """
    planes, taps = _as_volume(x, kernel)
    products = _filtered(_products(planes), _products_of_taps(taps))
    return ops.reshape(_outputs(products, planes), (-1, *ops.shape(x)[1:-1], kernel.shape[-1]))


def trainable_winograd_conv(x: Tensor, kernel: Tensor) -> Tensor:
    """`winograd_conv` with both gradients by the same algorithm.

    Only `x` and the kernel are kept for the backward pass; differentiating the transformations would keep the products
    too, which are more than twice as large as `x`, and take longer.
    """

    @ops.custom_gradient
    def convolved(x: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
        def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
            up = arguments[0] if upstream is None else upstream
            turned = ops.swapaxes(ops.flip(kernel, tuple(range(len(kernel.shape) - 2))), -1, -2)
            return winograd_conv(up, turned), _gradient_of_kernel(x, kernel, up)

        return winograd_conv(x, kernel), gradient

    return convolved(x, kernel)


def _gradient_of_kernel(x: Tensor, kernel: Tensor, upstream: Tensor) -> Tensor:
    planes, taps = _as_volume(x, kernel)
    found = _products_of_outputs(_as_volume(upstream, kernel)[0])
    count, depth, (channels, filters) = len(_TAPS), taps.shape[0], taps.shape[-2:]
    found = ops.reshape(found, (count * count, -1, filters))
    read = (ops.reshape(part, (count * count, -1, channels)) for part in _shifted(_products(planes), depth))
    sums = ops.stack([ops.matmul(ops.swapaxes(part, 1, 2), found) for part in read], axis=1)
    sums = ops.reshape(sums, (count, count, depth, channels, filters))
    sums = ops.tensordot(_TAPS, ops.tensordot(_TAPS, sums, axes=((0,), (1,))), axes=((0,), (1,)))
    return ops.reshape(ops.moveaxis(sums, 2, 0), kernel.shape)


def _as_volume(x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """`(b, d, h, w, c)` and `(taps, 3, 3, c, filters)`: a picture is a volume of one plane and one tap."""
    if len(x.shape) == 5:
        return x, kernel
    return ops.expand_dims(x, 1), ops.expand_dims(kernel, 0)


def _products_of_taps(kernel: Tensor) -> Tensor:
    """`(taps, 3, 3, c, filters)` to `(36, taps, c, filters)`."""
    both = ops.tensordot(_TAPS, ops.tensordot(_TAPS, kernel, axes=((1,), (2,))), axes=((1,), (2,)))
    return ops.reshape(both, (-1, kernel.shape[0], *kernel.shape[-2:]))


def _products(x: Tensor) -> Tensor:
    """`(b, d, h, w, c)` to `(36, b, d, tiles, c)`."""
    depth, height, width = ops.shape(x)[1:4]
    rows, columns, channels = _tiles(height), _tiles(width), x.shape[-1]
    edges = [(1, _TILE * count + 3 - size) for count, size in ((rows, height), (columns, width))]
    x = ops.pad(x, [(0, 0), (0, 0), *edges, (0, 0)])
    x = ops.reshape(x, (-1, depth, _TILE * (rows + 1), columns + 1, _TILE, channels))
    x = _multiplied(_INPUT, _overlapping(x, axis=3))
    x = ops.reshape(x, (len(_INPUT), -1, depth, rows + 1, _TILE, columns * channels))
    x = _multiplied(_INPUT, _overlapping(x, axis=3))
    return ops.reshape(x, (len(_INPUT) ** 2, -1, depth, rows * columns, channels))


def _overlapping(x: Tensor, *, axis: int) -> Tensor:
    """Tiles of four along `axis`, and the first two of the next one: `(.., n + 1, 4, ..)` to `(6, .., n, ..)`."""
    before = (slice(None),) * axis
    own = [x[(*before, slice(None, -1), place)] for place in range(_TILE)]
    return ops.stack([*own, *(x[(*before, slice(1, None), place)] for place in range(2))])


def _filtered(x: Tensor, taps: Tensor) -> Tensor:
    """`(36, b, d, tiles, c)` and `(36, taps, c, filters)` to `(36, b, d, tiles, filters)`."""
    depth, tiles = ops.shape(x)[2:4]
    parts = _shifted(x, taps.shape[1])
    flat = (ops.reshape(part, (len(_INPUT) ** 2, -1, x.shape[-1])) for part in parts)
    summed = sum(ops.matmul(part, taps[:, place]) for place, part in enumerate(flat))
    return ops.reshape(summed, (len(_INPUT) ** 2, -1, depth, tiles, taps.shape[-1]))


def _shifted(x: Tensor, taps: int) -> list[Tensor]:
    """What each tap along `d` reads."""
    if taps == 1:
        return [x]
    depth = ops.shape(x)[2]
    x = ops.pad(x, [(0, 0), (0, 0), (taps // 2, taps // 2), (0, 0), (0, 0)])
    return [x[:, :, place : place + depth] for place in range(taps)]


def _outputs(products: Tensor, like: Tensor) -> Tensor:
    """`(36, b, d, tiles, filters)` to `(b, d, h, w, filters)`, sizes those of `like`."""
    depth, height, width = ops.shape(like)[1:4]
    rows, columns, filters = _tiles(height), _tiles(width), products.shape[-1]
    x = ops.reshape(_multiplied(_OUTPUT, products), (_TILE, len(_INPUT), -1))
    x = _multiplied(_OUTPUT, ops.swapaxes(x, 0, 1))
    x = ops.reshape(x, (_TILE, _TILE, -1, depth, rows, columns, filters))
    x = ops.reshape(ops.transpose(x, (2, 3, 4, 1, 5, 0, 6)), (-1, depth, _TILE * rows, _TILE * columns, filters))
    return x[:, :, :height, :width]


def _products_of_outputs(x: Tensor) -> Tensor:
    """Adjoint of `_outputs`: `(b, d, h, w, filters)` to `(36, b, d, tiles, filters)`."""
    depth, height, width = ops.shape(x)[1:4]
    rows, columns, filters = _tiles(height), _tiles(width), x.shape[-1]
    edges = [(0, _TILE * count - size) for count, size in ((rows, height), (columns, width))]
    x = ops.pad(x, [(0, 0), (0, 0), *edges, (0, 0)])
    x = ops.reshape(x, (-1, depth, rows, _TILE, columns, _TILE, filters))
    x = _multiplied(_OUTPUT.T, ops.transpose(x, (5, 3, 0, 1, 2, 4, 6)))
    x = ops.swapaxes(ops.reshape(x, (len(_INPUT), _TILE, -1)), 0, 1)
    return ops.reshape(_multiplied(_OUTPUT.T, x), (len(_INPUT) ** 2, -1, depth, rows * columns, filters))


def _multiplied(matrix: NDArray[np.float32], x: Tensor) -> Tensor:
    """A product over the first axis, which becomes `(rows, rest)`."""
    return ops.matmul(matrix, ops.reshape(x, (matrix.shape[1], -1)))


def _tiles(size: Any) -> Any:
    return (size + _TILE - 1) // _TILE
