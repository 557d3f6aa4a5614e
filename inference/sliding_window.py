"""A network of fixed input size over an image or volume of any size.

Source: the inference of nnU-Net v2 (Isensee et al., Nature Methods 2021). Departures: float32 accumulators that start
at zero; windows in batches; weights that add up to 1 at every voxel, so that nothing is divided at the end and several
networks share one accumulator; an optional bound above which it lies in a temporary file.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from inference.memory import probability_array
from inference.tiles import Windows

Predict = Callable[[np.ndarray], np.ndarray]
"""A batch `(b, *s, c)` float32 to answers `(b, *s, k)` float32."""


def sliding_window(
    volume: np.ndarray,
    predict: Predict,
    *,
    windows: Windows,
    batch_size: int = 1,
    memory_gb: float | None = None,
    into: np.ndarray | None = None,
    share: float = 1.0,
) -> np.ndarray:
    """Weighted mean of a network's answers over overlapping windows.

    An axis shorter than the window is padded with zeros on both sides (the odd voxel at the far side) and cropped back.
    Every batch handed to `predict` has the same shape: the last one is filled up with zeros.

    Args:
        volume: Image or volume, `(*s, c)`, any float dtype; may be a memory map.
        predict: Answers a batch; logits or probabilities, as the caller wants them averaged.
        windows: How the volume is covered.
        batch_size: Windows per call of `predict`.
        memory_gb: Above this size the accumulator is a memory map of a temporary file. None: always in memory.
        into: Answers of other networks, `(*s, k)`, to add these to.
        share: Factor of these answers, for a mean over networks.

    Returns:
        `into`, or a new array with the averaged answers, float32, `(*s, k)`.

    Raises:
        ValueError: The windows have another number of axes than the volume.
    """
    shape = volume.shape[:-1]
    padding = symmetric_padding(shape, windows.patch)
    if any(before or after for before, after in padding):
        volume = np.pad(volume, [*padding, (0, 0)])
    shares = windows.shares(volume.shape[:-1])
    weighted: np.ndarray | None = None
    for tiles in _batches(windows.tiles(volume.shape[:-1]), batch_size):
        answers = predict(_gather(volume, tiles, batch_size))
        if into is None:
            into = probability_array((*shape, answers.shape[-1]), memory_gb=memory_gb)
        for tile, answer in zip(tiles, answers, strict=False):
            parts = [shares[axis][part.start] for axis, part in enumerate(tile)]
            rows = functools.reduce(np.multiply.outer, [parts[0] * np.float32(share), *parts[1:-1]])
            # Voxels and classes of a row are one run in memory: much faster than one class-long run per voxel.
            runs = answer.reshape(*rows.shape, -1)
            weighted = np.multiply(runs, np.repeat(parts[-1], answer.shape[-1]), out=weighted)
            weighted *= rows[..., None]
            inside, place = _without_padding(tile, padding, shape)
            into[place] += weighted.reshape(answer.shape)[inside]
    if into is None:
        raise ValueError(f"A volume of shape {volume.shape} holds no voxel to predict.")
    return into


def symmetric_padding(shape: Sequence[int], least: Sequence[int]) -> list[tuple[int, int]]:
    """Voxels to add before and after each axis so that it has at least `least`; the odd one goes after."""
    if len(shape) != len(least):
        raise ValueError(f"Windows of {len(least)} axes {tuple(least)} cannot cover a shape {tuple(shape)}.")
    missing = [max(0, want - have) for have, want in zip(shape, least, strict=True)]
    return [(n // 2, n - n // 2) for n in missing]


def mirrored(predict: Predict, axes: Iterable[int]) -> Predict:
    """Mean over all mirror images of the input, each answer mirrored back.

    Args:
        predict: Answers a batch `(b, *s, c)`.
        axes: Spatial axes to mirror, 0 is the first of `s`. Empty: `predict` itself.

    Returns:
        A function that calls `predict` `2 ** len(axes)` times with batches of the same shape.
    """
    chosen = tuple(sorted({int(axis) + 1 for axis in axes}))
    if not chosen:
        return predict
    flips = [c for n in range(len(chosen) + 1) for c in itertools.combinations(chosen, n)]

    def predict_mirrored(batch: np.ndarray) -> np.ndarray:
        if max(chosen) > batch.ndim - 2:
            raise ValueError(f"Mirror axes {[a - 1 for a in chosen]} do not exist in inputs of {batch.ndim - 2} axes.")
        total = np.array(predict(batch), np.float32)
        for flip in flips[1:]:
            total += np.flip(predict(np.ascontiguousarray(np.flip(batch, flip))), flip)
        total /= len(flips)
        return total

    return predict_mirrored


def _batches(tiles: Iterator[tuple[slice, ...]], size: int) -> Iterator[list[tuple[slice, ...]]]:
    while batch := list(itertools.islice(tiles, size)):
        yield batch


def _gather(volume: np.ndarray, tiles: Sequence[tuple[slice, ...]], batch_size: int) -> np.ndarray:
    patch = [part.stop - part.start for part in tiles[0]]
    batch = np.zeros((batch_size, *patch, volume.shape[-1]), np.float32)
    for row, tile in enumerate(tiles):
        batch[row] = volume[tile]
    return batch


def _without_padding(
    tile: Sequence[slice], padding: Sequence[tuple[int, int]], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a window that lies in the volume, and where it lies there."""
    inside: list[slice] = []
    place: list[slice] = []
    for part, (before, _), size in zip(tile, padding, shape, strict=True):
        low, high = max(part.start - before, 0), min(part.stop - before, size)
        inside.append(slice(low + before - part.start, high + before - part.start))
        place.append(slice(low, high))
    return tuple(inside), tuple(place)
