"""The input of a planned network: crop, normalise, resample, as nnU-Net v2 does, with the way back."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from imaging.crop import crop_slices, nonzero_bounding_box, nonzero_mask
from imaging.geometry import CaseGeometry
from imaging.intensity import clip_zscore, rescale_to_unit, rgb_to_unit, zscore
from imaging.resampling import new_shape, resample_image, resample_label
from imaging.volume import CANONICAL, Shape, Volume, axis_moves, move_axes

RULES = ("ct", "zscore", "none", "unit", "rgb")


@dataclasses.dataclass(frozen=True)
class PlannedInput:
    """What a plan does to every image.

    Attributes:
        spacing_mm: Target spacing along `(d, h, w)`; `None` keeps that of the file.
        normalization: One of `RULES` per channel.
        use_mask: Per channel: z-scores from the non-zero region alone, outside of which everything is 0.
        intensities: Per channel, of the training foreground: mean, std, percentile_00_5, percentile_99_5 (for `ct`).

    Raises:
        ValueError: An unknown rule, or lists of different lengths.
    """

    spacing_mm: tuple[float | None, float | None, float | None]
    normalization: tuple[str, ...]
    use_mask: tuple[bool, ...]
    intensities: tuple[Mapping[str, float], ...] = ()

    def __post_init__(self) -> None:
        unknown = [rule for rule in self.normalization if rule not in RULES]
        if unknown:
            raise ValueError(f"PLAN.NORMALIZATION: {unknown[0]!r} is unknown; type one of {', '.join(RULES)}.")
        lengths = {len(self.normalization), len(self.use_mask), *([len(self.intensities)] if self.intensities else [])}
        if len(self.spacing_mm) != 3 or len(lengths) != 1:
            raise ValueError(
                f"A plan for {len(self.normalization)} channels has {len(self.use_mask)} mask rules and a spacing of "
                f"{len(self.spacing_mm)} axes: PLAN.NORMALIZATION and PLAN.USE_MASK have one value per channel."
            )

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "PlannedInput":
        """Inverse of `to_dict`; also reads what a manifest says about intensities."""
        d, h, w = (None if step is None else float(step) for step in entry["spacing_mm"])
        return cls(
            spacing_mm=(d, h, w),
            normalization=tuple(str(rule) for rule in entry["normalization"]),
            use_mask=tuple(bool(masked) for masked in entry["use_mask"]),
            intensities=tuple(dict(channel) for channel in entry["intensities"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "spacing_mm": list(self.spacing_mm),
            "normalization": list(self.normalization),
            "use_mask": list(self.use_mask),
            "intensities": [dict(channel) for channel in self.intensities],
        }

    def target(self, spacing_mm: Sequence[float]) -> tuple[float, float, float]:
        """Spacing after resampling, of a volume with this spacing; both along canonical `(d, h, w)`."""
        d, h, w = (old if new is None else new for old, new in zip(spacing_mm, self.spacing_mm, strict=True))
        return d, h, w

    def normalized(self, image: np.ndarray) -> np.ndarray:
        """Each channel of a cropped image by its rule, float32 `(d, h, w, c)`; before anything is interpolated.

        Raises:
            ValueError: Another number of channels than planned, or colours out of range.
        """
        if image.shape[-1] != len(self.normalization):
            raise ValueError(f"The image has {image.shape[-1]} channels, the plan {len(self.normalization)}.")
        mask = nonzero_mask(image) if any(self.use_mask) else None
        result = np.empty(image.shape, np.float32)
        for index, (rule, masked) in enumerate(zip(self.normalization, self.use_mask, strict=True)):
            channel = image[..., index]
            if rule == "ct":
                result[..., index] = _foreground_score(channel, self.intensities[index])
            elif rule == "zscore":
                result[..., index] = zscore(channel, mask=mask if masked else None)
            else:
                rescale = {"none": np.asarray, "unit": rescale_to_unit, "rgb": rgb_to_unit}[rule]
                result[..., index] = rescale(channel)
        return result


def prepare_planned(
    volume: Volume, plan: PlannedInput, *, label: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None, CaseGeometry]:
    """An image, and its label, as a planned network sees them.

    Reorients, crops to what is not 0 in some channel, normalises, resamples (cubic; labels linearly per value; a much
    coarser axis apart).

    Args:
        volume: As read, any orientation.
        plan: Spacing and intensities.
        label: `(d, h, w)` on the grid and in the orientation of the volume.

    Returns:
        Image `(d, h, w, c)` float32, label `(d, h, w)` of its own type or `None`, and the way back.

    Raises:
        ValueError: As `PlannedInput.normalized`.
    """
    moves = axis_moves(volume.affine, CANONICAL)
    upright = move_axes(volume.array, *moves)
    upright = upright if upright.ndim == 4 else upright[..., None]
    crop = nonzero_bounding_box(upright)
    image = plan.normalized(upright[crop_slices(crop)])
    d, h, w = (volume.spacing_mm[axis] for axis in moves[0])
    target = plan.target((d, h, w))
    shape = new_shape(image.shape[:3], spacing_mm=(d, h, w), target_spacing_mm=target)
    geometry = CaseGeometry.of(volume.grid, crop=crop, prepared_shape=shape)
    small = None
    if label is not None:
        small = np.ascontiguousarray(move_axes(label, *moves)[crop_slices(crop)])
    if shape == cast(Shape, image.shape[:3]):
        return image, small, geometry
    image = resample_image(image, shape, separate_axis="auto", spacing_mm=(d, h, w), target_spacing_mm=target)
    if small is not None:
        small = resample_label(small, shape, separate_axis="auto", spacing_mm=(d, h, w), target_spacing_mm=target)
    return image, small, geometry


def _foreground_score(channel: np.ndarray, of_training: Mapping[str, float]) -> np.ndarray:
    return clip_zscore(
        channel,
        low=of_training["percentile_00_5"],
        high=of_training["percentile_99_5"],
        mean=of_training["mean"],
        std=of_training["std"],
    )
