"""Weights trained at one input size for a network of another."""

import math
from typing import Any

import keras
import numpy as np

from models.attention import AttentionResidual, TokenProjection
from models.grids import resized


def resize_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of a UNETR++ to one built for another input size.

    Positions and token projections belong to the voxels of a stage. Both are interpolated linearly from the source's
    grid to the target's; projections are then scaled by the ratio of the voxel counts, because they sum over voxels.
    Everything else is copied. At the same size this is the identity.

    Args:
        source: A trained network.
        target: A network of the same options and another input shape; its weights are replaced.

    Raises:
        ValueError: The networks differ in more than their input size.
    """
    if [layer.name for layer in source.layers] != [layer.name for layer in target.layers]:
        raise ValueError(f"{source.name} and {target.name} have other layers; build both with the same MODEL options.")
    for ours, theirs in zip(target.layers, source.layers, strict=True):
        grids = (theirs.grid, ours.grid) if isinstance(ours, AttentionResidual) else None
        for to, start in zip(ours.weights, theirs.weights, strict=True):
            to.assign(_fitted(np.asarray(keras.ops.convert_to_numpy(start)), to, grids, ours))


def _fitted(value: np.ndarray, to: Any, grids: tuple[tuple[int, ...], ...] | None, layer: Any) -> np.ndarray:
    if tuple(to.shape) == value.shape:
        return value
    if grids is not None and to is layer.positions:
        return resized(value[0], *grids)[None]
    projections = () if grids is None else (layer.attention.project_keys, layer.attention.project_values)
    if any(isinstance(item, TokenProjection) and to is item.kernel for item in projections):
        return resized(value, *grids) * (math.prod(grids[0]) / math.prod(grids[1]))  # type: ignore[misc]
    raise ValueError(f"{to.path} is {tuple(to.shape)} here and {value.shape} there: more than the input size differs.")
