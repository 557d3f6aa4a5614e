"""The same convolutions faster: for few channels out, and transposed ones without overlap."""

from typing import Any

from keras import ops


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
