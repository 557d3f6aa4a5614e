"""How deep a U-Net goes on every axis of a patch, and how many feature values that costs.

Source: F. Isensee et al., nnU-Net, Nature Methods 2021, and the rules of its version 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MIN_EDGE = 4
"""A pooled edge is never shorter than this."""

Network = Literal["unet", "resenc_unet", "unetplusplus"]


@dataclass(frozen=True)
class Topology:
    """Poolings of a network on one patch.

    Attributes:
        patch: Patch, rounded up to what the poolings divide.
        strides: Per stage and axis; the first stage is all ones.
        kernel_sizes: Per stage and axis, 1 or 3.
    """

    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]

    @property
    def divisors(self) -> tuple[int, ...]:
        """Product of the strides per axis."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))


def topology(spacing_mm: Sequence[float], patch: Sequence[float]) -> Topology:
    """Pools every axis until it is short, coarse axes later than fine ones.

    Args:
        spacing_mm: Voxel size per axis.
        patch: Wanted patch per axis.

    Returns:
        Strides and kernels. A patch that no axis of which can be pooled is pooled once on its fine axes all the same,
        so that there is always a decoder (the original plans a network of one stage there and fails).
    """
    rank = len(patch)
    size, spacing = [float(edge) for edge in patch], [float(step) for step in spacing_mm]
    strides, kernels, wide = [(1,) * rank], [], [False] * rank
    while axes := _poolable(size, spacing):
        wide = [was or step / min(spacing) < 2 for was, step in zip(wide, spacing, strict=True)]
        kernels.append(tuple(3 if is_wide else 1 for is_wide in wide))
        strides.append(tuple(2 if axis in axes else 1 for axis in range(rank)))
        spacing = [step * 2 if axis in axes else step for axis, step in enumerate(spacing)]
        size = [math.ceil(edge / 2) if axis in axes else edge for axis, edge in enumerate(size)]
    if len(strides) == 1:
        strides.append(tuple(2 if step / min(spacing) < 2 else 1 for step in spacing))
        kernels.append(tuple(3 if step / min(spacing) < 2 else 1 for step in spacing))
    kernels.append((3,) * rank)
    divisors = [math.prod(axis) for axis in zip(*strides, strict=True)]
    fitted = tuple(math.ceil(edge / divisor) * divisor for edge, divisor in zip(patch, divisors, strict=True))
    return Topology(fitted, tuple(strides), tuple(kernels))


def _poolable(size: Sequence[float], spacing: Sequence[float]) -> list[int]:
    axes = [axis for axis, edge in enumerate(size) if edge >= 2 * MIN_EDGE]
    if not axes:
        return []
    finest = min(spacing[axis] for axis in axes)
    axes = [axis for axis in axes if spacing[axis] / finest < 2]
    return [] if len(axes) == 1 and size[axes[0]] < 3 * MIN_EDGE else axes


def channels(stages: int, *, rank: int, network: Network = "unet") -> tuple[int, ...]:
    """Feature channels per stage: doubling from 32, at most 320 in 3D and 512 in 2D; of UNet++ 480 in 2D."""
    most = 320 if rank == 3 else 480 if network == "unetplusplus" else 512
    return tuple(min(32 * 2**stage, most) for stage in range(stages))


def blocks(stages: int) -> tuple[int, ...]:
    """Residual blocks per stage of the residual encoder: 1, 3, 4, then 6."""
    return tuple((1, 3, 4, *(6,) * stages)[:stages])


def feature_values(plan: Topology, network: Network, *, labels: int) -> int:
    """Estimates memory by the number of feature values of one sample's forward pass.

    Args:
        plan: Poolings on a patch.
        network: Which network is trained on it.
        labels: Labels with background.

    Returns:
        Number of values. At 128³ with 3 labels: 452,796,416 for `unet`, 557,420,544 for `resenc_unet`.
    """
    stages = len(plan.strides)
    widths = channels(stages, rank=len(plan.patch), network=network)
    voxels = [math.prod(edges) for edges in _edges(plan)]
    if network == "resenc_unet":
        total = _residual_encoder(plan, widths, voxels)
        total += sum(2 * widths[i] * voxels[i] for i in range(stages - 1))
    else:
        total = sum(2 * widths[i] * voxels[i] for i in range(stages))
        nested = network == "unetplusplus"
        nodes = [(stages - 1 - i) if nested else 1 for i in range(stages - 1)]
        total += sum(3 * nodes[i] * widths[i] * voxels[i] for i in range(stages - 1))
    heads = stages - 1 if network == "unetplusplus" else 1
    return int(total + heads * labels * voxels[0])


def _residual_encoder(plan: Topology, widths: Sequence[int], voxels: Sequence[int]) -> int:
    total = widths[0] * voxels[0]
    before = widths[0]
    for width, count, size, stride in zip(widths, blocks(len(widths)), voxels, plan.strides, strict=True):
        skip = width != before or max(stride) > 1
        total += (2 * count + int(skip)) * width * size
        before = width
    return total


def _edges(plan: Topology) -> list[tuple[int, ...]]:
    edges, result = plan.patch, []
    for stride in plan.strides:
        edges = tuple(edge // step for edge, step in zip(edges, stride, strict=True))
        result.append(edges)
    return result
