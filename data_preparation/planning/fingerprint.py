"""What a collection looks like: sizes, spacings and foreground intensities of its training cases."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TOTAL_SAMPLES = 100_000_000
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
class CaseFacts:
    """One training case's share of the fingerprint.

    Attributes:
        spacing_mm: Voxel size, depth first.
        shape_after_crop: Size after cropping to the non-zero region.
        relative_size: Share of the voxels that cropping keeps.
        samples: Foreground intensities, `(channels, n)` float32; empty without foreground.
    """

    spacing_mm: tuple[float, ...]
    shape_after_crop: tuple[int, ...]
    relative_size: float
    samples: np.ndarray


def foreground_samples(image: np.ndarray, label: np.ndarray, *, cases: int) -> np.ndarray:
    """Draws foreground intensities with replacement, the same number from every case.

    Args:
        image: `(d, h, w, c)`, cropped.
        label: `(d, h, w)`; positive labels are foreground.
        cases: Number of training cases.

    Returns:
        `(c, n)` float32; `(c, 0)` without foreground.
    """
    inside = label > 0
    count = TOTAL_SAMPLES // cases
    drawn = []
    for channel in range(image.shape[-1]):
        generator = np.random.RandomState(SEED)  # the stream of nnU-Net, so that its numbers come out
        values = image[..., channel][inside]
        drawn.append(generator.choice(values, count, replace=True) if values.size else values)
    return np.asarray(drawn, np.float32)


def fingerprint(cases: Sequence[CaseFacts]) -> Fingerprint:
    """Pools the facts of the training cases.

    Raises:
        ValueError: No case has any foreground.
    """
    filled = [case.samples for case in cases if case.samples.size]
    if not filled:
        raise ValueError(
            "No training case has any foreground; check the labels with `python prepare.py ... CHECK=True`."
        )
    return Fingerprint(
        spacings=tuple(case.spacing_mm for case in cases),
        shapes_after_crop=tuple(case.shape_after_crop for case in cases),
        intensities=tuple(_properties(channel) for channel in np.concatenate(filled, axis=1)),
        median_relative_size_after_cropping=float(np.median([case.relative_size for case in cases])),
    )


def _properties(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(values, (0.5, 50.0, 99.5))
    return {
        "mean": float(np.mean(values)),
        "median": float(middle),
        "std": float(np.std(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "percentile_00_5": float(low),
        "percentile_99_5": float(high),
    }
