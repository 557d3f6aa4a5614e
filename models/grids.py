"""Weights that belong to the voxels of a grid: how they become those of another grid, and how files remember theirs."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

GRID = "grid"
Grid = tuple[int, ...]


def resized(value: np.ndarray, old: Grid, new: Grid) -> np.ndarray:
    """`(prod(old), c)` to `(prod(new), c)`, linear with half-voxel centres; at the same grid the values themselves."""
    if old == new:
        return value
    factors = [after / before for before, after in zip(old, new, strict=True)]
    moved = ndimage.zoom(value.reshape(*old, -1), (*factors, 1), order=1, mode="nearest", grid_mode=True)
    return moved.reshape(math.prod(new), -1).astype(np.float32)


def save_grid(store: Any, grid: Grid | None) -> None:
    """Writes the grid beside a layer's variables."""
    if grid is not None:
        store[GRID] = np.array(grid, np.int64)


def stored_values(store: Any) -> tuple[dict[str, Any], Grid | None]:
    """A layer's variables in a file, by place, and the grid that they belong to where the file says it."""
    own: Mapping[str, Any] = {str(name): np.asarray(store[name]) for name in store.keys()}  # noqa: SIM118
    grid = own.get(GRID)
    values = {name: value for name, value in own.items() if name != GRID}
    return values, None if grid is None else tuple(int(edge) for edge in grid)
