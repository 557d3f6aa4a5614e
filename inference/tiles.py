"""Where the windows of a sliding-window prediction lie, and how much each of their voxels counts.

Positions and importance follow nnU-Net v2 (Isensee et al., Nature Methods 2021, https://github.com/MIC-DKFZ/nnUNet);
fixed strides follow mmsegmentation's slide inference. Departure: the importance map stays in float32, where nnU-Net
keeps float16 and has 0.9 % of the voxels of a 128-cube on its smallest value.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

Importance = Literal["gaussian", "uniform"]
IMPORTANCES: tuple[Importance, ...] = ("gaussian", "uniform")

_SIGMA_OF_PATCH = 1 / 8
_GAUSSIAN_MAXIMUM = 10.0


def tile_positions(size: int, *, patch: int, overlap: float = 0.5) -> tuple[int, ...]:
    """First voxel of every window along one axis, evenly spread from border to border.

    Args:
        size: Voxels of the axis, at least `patch`.
        patch: Voxels of a window.
        overlap: Share of a window that its neighbour repeats at least, in [0, 1).

    Returns:
        `n = ceil((size - patch) / ((1 - overlap) * patch)) + 1` ascending positions; 110 with 64 gives 0, 23, 46.

    Raises:
        ValueError: The axis is shorter than the window, or the overlap is out of range.
    """
    if not 0 <= overlap < 1:
        raise ValueError(
            f"Window overlap {overlap} is out of range: give a share in [0, 1), e.g. INFERENCE.OVERLAP=0.5."
        )
    _check_fits(size, patch)
    steps = math.ceil((size - patch) / ((1 - overlap) * patch))
    if steps == 0:
        return (0,)
    return tuple(round(i * (size - patch) / steps) for i in range(steps + 1))


def strided_positions(size: int, *, patch: int, stride: int) -> tuple[int, ...]:
    """First voxel of every window along one axis, `stride` apart; the last is shifted back inside.

    Args:
        size: Voxels of the axis, at least `patch`.
        patch: Voxels of a window.
        stride: Voxels between two windows, 1 to `patch`.

    Returns:
        Ascending positions; 100 with patch 64 and stride 42 gives 0, 36.

    Raises:
        ValueError: The axis is shorter than the window, or the stride would leave gaps.
    """
    if not 1 <= stride <= patch:
        raise ValueError(
            f"Window stride {stride} leaves gaps or stands still: type INFERENCE.STRIDE= from 1 to {patch}."
        )
    _check_fits(size, patch)
    count = math.ceil((size - patch) / stride) + 1
    return tuple(min(i * stride, size - patch) for i in range(count))


def _check_fits(size: int, patch: int) -> None:
    if size < patch:
        raise ValueError(f"A window of {patch} voxels does not fit an axis of {size}: pad the input first.")


@functools.lru_cache(maxsize=32)
def _importance_along(length: int, importance: Importance) -> np.ndarray:
    if importance == "uniform":
        return np.ones(length, np.float32)
    impulse = np.zeros(length)
    impulse[length // 2] = 1.0
    weights = ndimage.gaussian_filter1d(impulse, length * _SIGMA_OF_PATCH, mode="constant", cval=0.0)
    weights /= weights.max()
    return np.maximum(weights, weights[weights > 0].min()).astype(np.float32)


def importance_map(patch: Sequence[int], *, importance: Importance = "gaussian") -> np.ndarray:
    """How much each voxel of a window counts.

    The Gaussian one is a unit impulse at `patch // 2` filtered with sigma = patch / 8 per axis, zero outside, scaled
    to a maximum of 10. It is a product over the axes, and positive everywhere.

    Args:
        patch: Window size, `s`.
        importance: `"gaussian"` or `"uniform"` (ones).

    Returns:
        Weights, float32, `(*s,)`.
    """
    full = functools.reduce(np.multiply.outer, [_importance_along(int(n), importance) for n in patch])
    scale = _GAUSSIAN_MAXIMUM if importance == "gaussian" else 1.0
    return np.asarray(full * np.float32(scale), np.float32)


@dataclass(frozen=True)
class Windows:
    """How a volume is covered.

    Attributes:
        patch: Window size in voxels, `s`.
        overlap: Least share that neighbouring windows have in common, in [0, 1).
        stride: Fixed distance of windows in voxels per axis instead of `overlap`.
        importance: Weight of a window's voxels.
    """

    patch: tuple[int, ...]
    overlap: float = 0.5
    stride: tuple[int, ...] | None = None
    importance: Importance = "gaussian"

    def __post_init__(self) -> None:
        if self.importance not in IMPORTANCES:
            raise ValueError(f"Unknown window importance {self.importance!r}: give one of {', '.join(IMPORTANCES)}.")
        if self.stride is not None and len(self.stride) != len(self.patch):
            raise ValueError(f"Window stride {self.stride} and patch {self.patch} differ in their number of axes.")

    def positions(self, shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Window positions of every axis of a volume of spatial `shape` (each axis at least the patch)."""
        if len(shape) != len(self.patch):
            raise ValueError(f"Windows of {len(self.patch)} axes {self.patch} cannot cover a shape {tuple(shape)}.")
        if self.stride is None:
            return tuple(
                tile_positions(n, patch=p, overlap=self.overlap) for n, p in zip(shape, self.patch, strict=True)
            )
        axes = zip(shape, self.patch, self.stride, strict=True)
        return tuple(strided_positions(n, patch=p, stride=t) for n, p, t in axes)

    def tiles(self, shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """Every window as a tuple of slices; the first axis runs slowest."""
        for corner in itertools.product(*self.positions(shape)):
            yield tuple(slice(start, start + size) for start, size in zip(corner, self.patch, strict=True))

    def weight_sums(self, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
        """Sum of the window weights along each axis.

        Windows lie on a grid and their weights are a product over the axes, so the sum at a voxel is the product of
        these vectors: a map of the volume's size need not be kept.

        Returns:
            One float32 vector per axis, the first scaled by the importance map's maximum.
        """
        sums: list[np.ndarray] = []
        for axis, starts in enumerate(self.positions(shape)):
            weights = _importance_along(self.patch[axis], self.importance)
            total = np.zeros(shape[axis], np.float32)
            for start in starts:
                total[start : start + len(weights)] += weights
            sums.append(total)
        sums[0] = sums[0] * np.float32(importance_map(self.patch, importance=self.importance).max())
        return tuple(sums)

    def shares(self, shape: Sequence[int]) -> tuple[dict[int, np.ndarray], ...]:
        """How much each voxel of a window counts, such that all windows together count 1 at every voxel.

        Returns:
            Per axis, the position of a window to float32 `(patch,)`; a window's weights are their outer product.
        """
        scale = float(importance_map(self.patch, importance=self.importance).max())
        found: list[dict[int, np.ndarray]] = []
        for axis, (starts, total) in enumerate(zip(self.positions(shape), self.weight_sums(shape), strict=True)):
            weights = _importance_along(self.patch[axis], self.importance) * np.float32(1.0 if axis else scale)
            found.append({start: weights / total[start : start + len(weights)] for start in starts})
        return tuple(found)
