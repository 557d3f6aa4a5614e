"""From a fingerprint to plans: target spacing, patch, batch and network of the 2D and 3D configurations.

Source: F. Isensee et al., nnU-Net, Nature Methods 2021; nnU-Net Revisited, MICCAI 2024; the rules of version 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data_preparation.planning.fingerprint import Fingerprint
from data_preparation.planning.topology import Network, Topology, blocks, channels, feature_values, topology

ANISOTROPY = 3.0
LOW_RESOLUTION_BELOW = 0.25
SPACING_STEP = 1.03


@dataclass(frozen=True)
class Preset:
    """A memory budget and the network it is spent on.

    Attributes:
        network: Builder that the plan is for.
        values_3d: Feature values that fit with a batch of 2 patches.
        values_2d: Feature values that fit with a batch of 12 slices.
        memory_gb: Memory that these are meant for.
        covered: Largest share of all voxels that one batch may hold.
        grow_2d: Whether slices may grow until the batch is 2 instead of 12.
    """

    network: Network
    values_3d: float
    values_2d: float
    memory_gb: float
    covered: float
    grow_2d: bool


PRESETS = {
    "default": Preset("unet", 560e6, 85e6, 8, 0.05, True),
    "resenc_m": Preset("resenc_unet", 680e6, 135e6, 8, 1.0, False),
    "resenc_l": Preset("resenc_unet", 2.1e9, 380e6, 24, 1.0, False),
    "resenc_xl": Preset("resenc_unet", 3.6e9, 560e6, 40, 1.0, False),
    "unetplusplus": Preset("unetplusplus", 560e6, 85e6, 8, 0.05, True),
}


@dataclass(frozen=True)
class Configuration:
    """One way to train on a collection. Axes run as in the prepared arrays: depth, height, width.

    Attributes:
        name: `2d`, `3d_lowres`, `3d_fullres`.
        spacing_mm: Target spacing per axis; in `2d` of height and width, slices keep their distance.
        patch: What the network sees at once.
        batch_size: Samples per step.
        median_shape: Median case at the target spacing.
        topology: Strides and kernels per stage.
        network: Builder.
        normalization: Rule per channel.
        use_mask: Whether z-scores are taken inside the non-zero mask, per channel.
        batch_dice: Whether the Dice loss pools the batch.
        previous: Configuration whose prediction is an extra input.
    """

    name: str
    spacing_mm: tuple[float, ...]
    patch: tuple[int, ...]
    batch_size: int
    median_shape: tuple[float, ...]
    topology: Topology
    network: Network
    normalization: tuple[str, ...]
    use_mask: tuple[bool, ...]
    batch_dice: bool
    previous: str | None = None

    def options(self) -> dict[str, Any]:
        """Builder options of the planned network."""
        stages = len(self.topology.strides)
        chosen: dict[str, Any] = {
            "filters": channels(stages, rank=len(self.patch), network=self.network),
            "kernel_sizes": self.topology.kernel_sizes,
            "strides": self.topology.strides,
        }
        if self.network == "resenc_unet":
            chosen |= {"blocks_per_stage": blocks(stages), "decoder_convs_per_stage": (1,) * (stages - 1)}
        elif self.network == "unet":
            chosen |= {"convs_per_stage": (2,) * stages, "decoder_convs_per_stage": (2,) * (stages - 1)}
        return chosen


def plan(
    fingerprint: Fingerprint,
    *,
    channel_names: Sequence[str],
    labels: int,
    preset: str = "default",
    memory_gb: float | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> dict[str, Configuration]:
    """Plans the configurations of a collection.

    Args:
        fingerprint: Sizes, spacings and intensities of the training cases.
        channel_names: One per channel; the name picks the normalisation (`CT`, `noNorm`, `rgb_to_0_1`, ...).
        labels: Labels with background; an ignore label counts.
        preset: A name of `PRESETS`.
        memory_gb: Memory to plan for; the preset's when not given.
        spacing_mm: Target spacing, depth first; planned when not given.

    Returns:
        Name to configuration: `2d` always, `3d_fullres` unless cases are single slices, `3d_lowres` and
        `3d_cascade_fullres` where a patch sees less than a quarter of a case.

    Raises:
        ValueError: The preset is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"The preset {preset!r} is unknown; type one of {', '.join(PRESETS)}.")
    planner = _Planner(fingerprint, tuple(channel_names), labels, PRESETS[preset], memory_gb)
    return planner.configurations(np.asarray(target_spacing(fingerprint) if spacing_mm is None else spacing_mm, float))


def target_spacing(fingerprint: Fingerprint) -> tuple[float, ...]:
    """Median spacing per axis; a coarse axis of clearly anisotropic collections takes its 10th percentile.

    Returns:
        Spacing in mm, in the order of the fingerprint's axes.
    """
    spacings = np.asarray(fingerprint.spacings, float)
    target = np.percentile(spacings, 50, axis=0)
    sizes = np.percentile(np.asarray(fingerprint.shapes_after_crop, float), 50, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(len(target)) if axis != worst]
    coarse = target[worst] > ANISOTROPY * max(target[others])
    if coarse and sizes[worst] * ANISOTROPY < min(sizes[others]):
        finer = float(np.percentile(spacings[:, worst], 10))
        target[worst] = finer if finer >= max(target[others]) else max(target[others]) + 1e-5
    return tuple(float(step) for step in target)


def normalizations(channel_names: Sequence[str]) -> tuple[str, ...]:
    """Rule per channel: `ct`, `none`, `unit`, `rgb` or `zscore`, by the channel's name; unknown names mean `zscore`."""
    rules = {"ct": "ct", "nonorm": "none", "rescale_to_0_1": "unit", "rgb_to_0_1": "rgb"}
    return tuple(rules.get(name.casefold(), "zscore") for name in channel_names)


@dataclass(frozen=True)
class _Planner:
    fingerprint: Fingerprint
    channel_names: tuple[str, ...]
    labels: int
    preset: Preset
    memory_gb: float | None

    def configurations(self, target: np.ndarray) -> dict[str, Configuration]:
        order = [int(np.argmax(target)), *(axis for axis in range(len(target)) if axis != int(np.argmax(target)))]
        spacing, median = target[order], self._median_shape(target)[order]
        voxels = float(np.prod(median)) * len(self.fingerprint.spacings)
        found = {"2d": replace(self._configuration("2d", spacing[1:], median[1:], voxels), batch_dice=True)}
        if median[0] == 1:
            return found
        full = self._configuration("3d_fullres", spacing, median, voxels)
        low = self._low_resolution(full, median)
        if low is not None:
            full = replace(full, batch_dice=True)
            found["3d_lowres"] = self._in_array_order(low, order)
        found["3d_fullres"] = self._in_array_order(full, order)
        if low is not None:
            found["3d_cascade_fullres"] = replace(found["3d_fullres"], name="3d_cascade_fullres", previous="3d_lowres")
        return found

    def _median_shape(self, target: np.ndarray) -> np.ndarray:
        cases = zip(self.fingerprint.spacings, self.fingerprint.shapes_after_crop, strict=True)
        shapes = [[max(round(a / b * size), 1) for a, b, size in zip(s, target, n, strict=True)] for s, n in cases]
        return np.median(np.asarray(shapes, float), axis=0)

    def _configuration(self, name: str, spacing: np.ndarray, median: np.ndarray, voxels: float) -> Configuration:
        rank = len(spacing)
        budget, reference_batch = (self.preset.values_3d, 2) if rank == 3 else (self.preset.values_2d, 12)
        budget *= (self.memory_gb or self.preset.memory_gb) / self.preset.memory_gb
        found, cost = self._largest(spacing, median, budget * (reference_batch / 2 if self.preset.grow_2d else 1))
        batch = min(
            round(budget / cost * reference_batch), round(voxels * self.preset.covered / math.prod(found.patch))
        )
        masked = self.fingerprint.median_relative_size_after_cropping < 0.75
        rules = normalizations(self.channel_names)
        return Configuration(
            name=name,
            spacing_mm=tuple(float(step) for step in spacing),
            patch=found.patch,
            batch_size=max(batch, 2),
            median_shape=tuple(float(edge) for edge in median),
            topology=found,
            network=self.preset.network,
            normalization=rules,
            use_mask=tuple(masked and rule == "zscore" for rule in rules),
            batch_dice=False,
        )

    def _largest(self, spacing: np.ndarray, median: np.ndarray, budget: float) -> tuple[Topology, int]:
        """The largest patch whose network stays within the budget, shrunk along its relatively longest axis."""
        density = 1 / spacing
        volume = 256.0**3 if len(spacing) == 3 else 2048.0**2
        wanted = [round(step) for step in density * (volume / np.prod(density)) ** (1 / len(spacing))]
        steps: list[float] = spacing.tolist()
        found = topology(steps, np.minimum(wanted, median).tolist())
        while (cost := feature_values(found, self.preset.network, labels=self.labels)) > budget:
            edges = zip(found.patch, median, found.divisors, strict=True)
            # An axis that is as short as its poolings allow is left alone; the original shrinks it to nothing.
            ratios = [edge / size if edge > divisor else -1.0 for edge, size, divisor in edges]
            if max(ratios) < 0:
                break
            axis = int(np.argsort(ratios)[-1])
            smaller = list(found.patch)
            smaller[axis] -= found.divisors[axis]
            step = topology(steps, smaller).divisors[axis]
            smaller[axis] = found.patch[axis] - step
            found = topology(steps, smaller)
        return found, cost

    def _low_resolution(self, full: Configuration, median: np.ndarray) -> Configuration | None:
        fine = np.asarray(full.spacing_mm)
        spacing, voxels, low = fine.copy(), float(np.prod(median)), full
        while math.prod(low.patch) / voxels < LOW_RESOLUTION_BELOW:
            short = max(spacing) / spacing > 2
            spacing[short if short.any() else slice(None)] *= SPACING_STEP
            shape = fine / spacing * median
            voxels = float(np.prod(shape))
            rounded = np.asarray([max(round(edge), 1) for edge in shape], float)
            low = self._configuration("3d_lowres", spacing, rounded, voxels * len(self.fingerprint.spacings))
        return None if float(np.prod(median)) / voxels < 2 else low

    def _in_array_order(self, found: Configuration, order: Sequence[int]) -> Configuration:
        """Undoes the planner's axis order, which puts the coarsest axis first."""
        back = [list(order).index(axis) for axis in range(len(order))]

        def turn(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[axis] for axis in back)

        planned = found.topology
        turned = Topology(
            turn(planned.patch), tuple(map(turn, planned.strides)), tuple(map(turn, planned.kernel_sizes))
        )
        return replace(
            found,
            spacing_mm=turn(found.spacing_mm),
            patch=turned.patch,
            median_shape=turn(found.median_shape),
            topology=turned,
        )
