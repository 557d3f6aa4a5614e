"""The same convolutions faster: for many channels in and out, for few out, and transposed ones without overlap."""

from typing import Any

import numpy as np
from keras import ops

# Six inputs to six products, three taps to six products, six products to four outputs.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
_TAPS = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float32) / 24
_OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)


def winograd_conv(x: Any, kernel: Any) -> Any:
    """`conv(x, kernel)` with "same" zero padding, to about 1e-5 of the answer's standard deviation.

    F(4, 3) of Winograd, "Arithmetic Complexity of Computations", 1980; for networks Lavin and Gray, "Fast Algorithms
    for Convolutional Neural Networks", CVPR 2016, https://arxiv.org/abs/1509.09308: along the last spatial axis, four
    outputs of three taps come from six products instead of twelve. A second axis would save more products, but move
    more memory than that is worth. For float32 only: the transformations would cost half precision two digits.

    Args:
        x: Features, `(b, *s, c)`; any sizes.
        kernel: `(*k, 3, c, filters)`.

    Returns:
        `(b, *s, filters)`.
    """
    rank = len(x.shape) - 2
    shape = ops.shape(x)
    size, before = shape[rank], tuple(shape[1:rank])
    tiles = (size + 3) // 4
    x = ops.pad(x, [(0, 0)] * rank + [(1, 4 * tiles + 1 - size), (0, 0)])
    columns = ops.reshape(4 * ops.arange(tiles)[:, None] + ops.arange(6), (-1,))
    overlapping = ops.reshape(ops.take(x, columns, axis=rank), (-1, *before, tiles, 6, shape[-1]))
    inputs = ops.matmul(_INPUT, overlapping)
    taps = ops.tensordot(_TAPS, kernel, axes=((1,), (rank - 1,)))
    products = [
        ops.conv(inputs[..., p, :], ops.expand_dims(taps[p], rank - 1), padding="same") for p in range(len(_TAPS))
    ]
    outputs = ops.matmul(_OUTPUT, ops.stack(products, axis=-2))
    outputs = ops.reshape(outputs, (-1, *before, 4 * tiles, kernel.shape[-1]))
    exact = isinstance(size, int) and size % 4 == 0
    return outputs if exact else outputs[(*(slice(None),) * rank, slice(size))]


def narrow_conv(x: Any, kernel: Any) -> Any:
    """`conv(x, kernel)` with "same" zero padding, for a handful of output channels.

    Processors convolve 16 output channels in the time of one. So the three taps of the last spatial axis become output
    channels, and are shifted and summed afterwards.

    Args:
        x: Features, `(b, *s, c)`.
        kernel: `(*k, 3, c, filters)`.

    Returns:
        `(b, *s, filters)`.
    """
    rank, (channels, filters) = len(x.shape) - 2, kernel.shape[-2:]
    across = ops.reshape(ops.moveaxis(kernel, rank - 1, -2), (*kernel.shape[: rank - 1], 1, channels, 3 * filters))
    taps = ops.pad(ops.conv(x, across, padding="same"), [(0, 0)] * rank + [(1, 1), (0, 0)])
    before, size = (slice(None),) * rank, ops.shape(x)[rank]
    left, centre, right = (taps[(*before, slice(t, t + size), slice(t * filters, (t + 1) * filters))] for t in range(3))
    return left + centre + right


def block_transpose(x: Any, kernel: Any) -> Any:
    """`conv_transpose(x, kernel, strides=k, padding="valid")` where the stride is the kernel's size `k`.

    Blocks do not overlap, so one matrix product paints them all. XLA on processors multiplies with the zeros between
    the pixels instead, which takes a hundred times as long.

    Args:
        x: Features, `(b, *s, c)`; any sizes.
        kernel: `(*k, filters, c)`.

    Returns:
        `(b, *(s * k), filters)`.
    """
    rank, (filters, channels) = len(x.shape) - 2, kernel.shape[-2:]
    sizes, edges = ops.shape(x)[1:-1], kernel.shape[:rank]
    painted = ops.matmul(x, ops.transpose(ops.reshape(kernel, (-1, channels))))
    painted = ops.reshape(painted, (-1, *sizes, *edges, filters))
    pairs = [axis for a in range(rank) for axis in (1 + a, 1 + rank + a)]
    painted = ops.transpose(painted, (0, *pairs, 1 + 2 * rank))
    return ops.reshape(painted, (-1, *(size * edge for size, edge in zip(sizes, edges, strict=True)), filters))
