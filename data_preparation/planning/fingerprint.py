"""What a collection looks like: sizes, spacings and foreground intensities of its training cases."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

KEPT_VALUES = 1_000_000
SEED = 1234


@dataclass(frozen=True)
class Fingerprint:
    """Facts that planning and intensity normalisation rest on.

    Attributes:
        spacings: Voxel size in mm per case, depth first.
        shapes_after_crop: Size per case after cropping to the non-zero region.
        intensities: Per channel: mean, median, std, min, max, percentile_00_5, percentile_99_5 of foreground voxels.
        median_relative_size_after_cropping: Median share of a case's voxels that cropping keeps.
    """

    spacings: tuple[tuple[float, ...], ...]
    shapes_after_crop: tuple[tuple[int, ...], ...]
    intensities: tuple[dict[str, float], ...]
    median_relative_size_after_cropping: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with nnU-Net's keys."""
        return {
            "spacings": self.spacings,
            "shapes_after_crop": self.shapes_after_crop,
            "foreground_intensity_properties_per_channel": {str(i): v for i, v in enumerate(self.intensities)},
            "median_relative_size_after_cropping": self.median_relative_size_after_cropping,
        }

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> "Fingerprint":
        """Reads `to_dict`'s form, or a fingerprint file of nnU-Net."""
        channels = stored["foreground_intensity_properties_per_channel"]
        return Fingerprint(
            spacings=tuple(tuple(map(float, spacing)) for spacing in stored["spacings"]),
            shapes_after_crop=tuple(tuple(map(int, shape)) for shape in stored["shapes_after_crop"]),
            intensities=tuple(dict(channels[str(i)]) for i in range(len(channels))),
            median_relative_size_after_cropping=float(stored["median_relative_size_after_cropping"]),
        )

    def save(self, path: pathlib.Path) -> None:
        """Writes JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=1))


@dataclass(frozen=True)
class Intensities:
    """Foreground intensities of one channel of one case.

    Attributes:
        values: Ascending, float32; a sample where a case has more than a million different ones.
        shares: How much of the case's foreground each stands for; they sum to 1. Empty without foreground.
    """

    values: np.ndarray
    shares: np.ndarray

    @staticmethod
    def of(values: np.ndarray) -> "Intensities":
        """Of all foreground values of a case, in any order."""
        if not values.size:
            return Intensities(np.zeros(0, np.float32), np.zeros(0))
        found, counts = np.unique(values.astype(np.float32, copy=False), return_counts=True)
        if len(found) > KEPT_VALUES:
            drawn = np.random.default_rng(SEED).choice(values, KEPT_VALUES, replace=False)
            extremes = np.asarray([found[0], found[-1]], np.float32)
            found, counts = np.unique(np.concatenate([drawn.astype(np.float32), extremes]), return_counts=True)
        return Intensities(found, counts / counts.sum())


@dataclass(frozen=True)
class CaseFacts:
    """One training case's share of the fingerprint.

    Attributes:
        spacing_mm: Voxel size, depth first.
        shape_after_crop: Size after cropping to the non-zero region.
        relative_size: Share of the voxels that cropping keeps.
        intensities: Foreground intensities per channel.
    """

    spacing_mm: tuple[float, ...]
    shape_after_crop: tuple[int, ...]
    relative_size: float
    intensities: tuple[Intensities, ...]


def case_facts(image: np.ndarray, label: np.ndarray, *, spacing_mm: Sequence[float], relative_size: float) -> CaseFacts:
    """Facts of one case.

    Args:
        image: `(d, h, w, c)`, cropped to the non-zero region.
        label: `(d, h, w)`, cropped likewise; positive labels are foreground.
        spacing_mm: Voxel size, depth first.
        relative_size: Share of the voxels that cropping kept.
    """
    inside = label > 0
    channels = tuple(Intensities.of(image[..., channel][inside]) for channel in range(image.shape[-1]))
    d, h, w = image.shape[:3]
    return CaseFacts(tuple(float(step) for step in spacing_mm), (d, h, w), float(relative_size), channels)


def fingerprint(cases: Sequence[CaseFacts]) -> Fingerprint:
    """Pools the facts of the training cases; every case with foreground weighs the same.

    nnU-Net draws 100 million intensities for this. Here their expected values are computed: the same numbers without
    the noise of drawing, and without the memory.

    Raises:
        ValueError: No case has any foreground.
    """
    filled = [case.intensities for case in cases if all(channel.values.size for channel in case.intensities)]
    if not filled:
        raise ValueError(
            "No training case has any foreground; check the labels with `python prepare.py ... CHECK=True`."
        )
    return Fingerprint(
        spacings=tuple(case.spacing_mm for case in cases),
        shapes_after_crop=tuple(case.shape_after_crop for case in cases),
        intensities=tuple(_properties(channel) for channel in zip(*filled, strict=True)),
        median_relative_size_after_cropping=float(np.median([case.relative_size for case in cases])),
    )


def _properties(cases: Sequence[Intensities]) -> dict[str, float]:
    """Mean, spread and percentiles of one channel over the cases."""
    values = np.concatenate([case.values for case in cases])
    shares = np.concatenate([case.shares for case in cases]) / len(cases)
    order = np.argsort(values, kind="stable")
    values, shares = values[order].astype(np.float64), shares[order]
    reached = np.cumsum(shares)
    low, middle, high = (
        values[min(int(np.searchsorted(reached, share)), len(values) - 1)] for share in (0.005, 0.5, 0.995)
    )
    mean = float(np.sum(values * shares))
    return {
        "mean": mean,
        "median": float(middle),
        "std": float(np.sqrt(np.sum((values - mean) ** 2 * shares))),
        "min": float(values[0]),
        "max": float(values[-1]),
        "percentile_00_5": float(low),
        "percentile_99_5": float(high),
    }
