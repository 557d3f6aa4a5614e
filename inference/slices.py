"""A two-dimensional network over the slices of a volume, each with its neighbours as channels."""

from collections.abc import Sequence

import numpy as np

from inference.memory import probability_array
from inference.sliding_window import Predict, sliding_window
from inference.tiles import Windows


def neighbour_stack(volume: np.ndarray, centres: Sequence[int] | np.ndarray, *, slices: int) -> np.ndarray:
    """Slices with their neighbours as channels; beyond the first and last slice the border slice is repeated.

    Args:
        volume: `(d, h, w, c)`, may be a memory map; only the needed slices are read.
        centres: `n` slice indices.
        slices: Odd number of slices put together; 1 is the slice alone.

    Returns:
        float32, `(n, h, w, slices * c)`: the channels of the lowest slice first.

    Raises:
        ValueError: `slices` is even or not positive.
    """
    if slices < 1 or slices % 2 == 0:
        raise ValueError(f"INPUT.SLICES={slices} has no centre: give an odd number, e.g. INPUT.SLICES=3.")
    offsets = np.arange(slices) - slices // 2
    wanted = np.clip(np.asarray(centres)[:, None] + offsets, 0, volume.shape[0] - 1)
    first, last = int(wanted.min()), int(wanted.max())
    block = np.asarray(volume[first : last + 1], np.float32)
    stacked = np.moveaxis(block[wanted - first], 1, 3)
    return np.ascontiguousarray(stacked).reshape(*stacked.shape[:3], -1)


def predict_slices(
    volume: np.ndarray,
    predict: Predict,
    *,
    slices: int = 1,
    batch_size: int = 8,
    spatial_shape: tuple[int | None, int | None] = (None, None),
    multiple: int = 16,
    windows: Windows | None = None,
    memory_gb: float | None = None,
    into: np.ndarray | None = None,
    share: float = 1.0,
) -> np.ndarray:
    """Answers of a 2D network for every slice.

    Slices are padded with zeros to the network's size (a free axis to a multiple of `multiple`) and cropped back.
    A slice larger than a fixed network input is covered by windows. Every batch has the same shape, so that one
    compiled function serves the whole cohort.

    Args:
        volume: `(d, h, w, c)`, may be a memory map.
        predict: Answers a batch `(b, h, w, slices * c)`.
        slices: Odd number of neighbouring slices per input.
        batch_size: Slices (or windows) per call of `predict`.
        spatial_shape: The network's input size, None where it is free.
        multiple: A free axis is padded to a multiple of this.
        windows: Cover each slice by these windows instead.
        memory_gb: Above this size the answers lie in a temporary file. None: always in memory.
        into: Answers of other networks, `(d, h, w, k)`, to add these to.
        share: Factor of these answers, for a mean over networks.

    Returns:
        `into`, or a new array, float32, `(d, h, w, k)`.
    """
    depth, *plane = volume.shape[:3]
    target = [size or -(-n // multiple) * multiple for size, n in zip(spatial_shape, plane, strict=True)]
    if windows is None and any(n > size for n, size in zip(plane, target, strict=True)):
        windows = Windows(patch=(target[0], target[1]))
    if windows is not None:
        for index in range(depth):
            stack = neighbour_stack(volume, [index], slices=slices)[0]
            answer = sliding_window(stack, predict, windows=windows, batch_size=batch_size, share=share)
            into = _room(into, (*volume.shape[:3], answer.shape[-1]), memory_gb)
            into[index] += answer
        return _filled(into, volume)
    for start in range(0, depth, batch_size):
        centres = slice(start, min(start + batch_size, depth))
        count = centres.stop - start
        stack = neighbour_stack(volume, np.arange(start, centres.stop), slices=slices)
        batch = np.zeros((batch_size, *target, stack.shape[-1]), np.float32)
        batch[:count, : plane[0], : plane[1]] = stack
        answer = predict(batch)
        into = _room(into, (depth, *plane, answer.shape[-1]), memory_gb)
        into[centres] += np.float32(share) * answer[:count, : plane[0], : plane[1]]
    return _filled(into, volume)


def _room(into: np.ndarray | None, shape: Sequence[int], memory_gb: float | None) -> np.ndarray:
    return probability_array(shape, memory_gb=memory_gb) if into is None else into


def _filled(into: np.ndarray | None, volume: np.ndarray) -> np.ndarray:
    if into is None:
        raise ValueError(f"A volume of shape {volume.shape} holds no slice to predict.")
    return into
