"""Cases that differ from the others: volume, intensity, orientation, voxel size. Hints to look at, not proofs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_preparation.collections.base import Finding

FEWEST = 5
_AXES = ("inferior-superior", "anterior-posterior", "left-right")


class Surveyed(Protocol):
    """What is asked of a case; see `data_preparation.survey.CaseSurvey`."""

    @property
    def file(self) -> str: ...  # noqa: D102
    @property
    def spacing_mm(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def quantiles(self) -> tuple[tuple[float, ...], ...]: ...  # noqa: D102
    @property
    def samples(self) -> tuple[Mapping[str, NDArray[np.float32]], ...]: ...  # noqa: D102
    @property
    def volumes_ml(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def centres(self) -> Mapping[str, tuple[float, ...]]: ...  # noqa: D102
    @property
    def template(self) -> NDArray[np.float32]: ...  # noqa: D102


def suspicious(cases: Sequence[Surveyed]) -> list[Finding]:
    """What is unusual beside the other cases; nothing below five cases, which are too few to know what is usual."""
    if len(cases) < FEWEST:
        return []
    return [
        *unusual_volumes(cases),
        *unusual_intensities(cases),
        *inverted_intensities(cases),
        *unusual_voxels(cases),
        *mirrored_classes(cases),
        *turned_images(cases),
    ]


def outliers(values: Iterable[float], *, at_least: float) -> list[int]:
    """Places of the values that lie far from the median.

    Args:
        values: NaN is no outlier.
        at_least: Distance from the median below which nothing is one.

    Returns:
        Places where the distance is also above five robust standard deviations (1.4826 times the median distance).
    """
    array = np.fromiter(values, np.float64)
    known = array[np.isfinite(array)]
    if known.size < FEWEST:
        return []
    middle = np.median(known)
    limit = max(5 * 1.4826 * float(np.median(np.abs(known - middle))), at_least)
    return [place for place, value in enumerate(array) if abs(value - middle) > limit]


def unusual_volumes(cases: Sequence[Surveyed]) -> list[Finding]:
    """A class at least two and a half times as large, or as small, as in the others."""
    found: list[Finding] = []
    for name in dict.fromkeys(name for case in cases for name in case.volumes_ml):
        volumes = [case.volumes_ml.get(name, 0.0) for case in cases]
        logs = [math.log(volume) if volume > 0 else math.nan for volume in volumes]
        middle = float(np.median([volume for volume in volumes if volume > 0] or [0.0]))
        found += [
            Finding(
                cases[place].file,
                f"{name} has {volumes[place]:.3g} ml; the median of the collection is {middle:.3g} ml.",
                "Look at its label and its voxel size.",
            )
            for place in outliers(logs, at_least=math.log(2.5))
        ]
    return found


def unusual_intensities(cases: Sequence[Surveyed]) -> list[Finding]:
    """Intensities that are scaled or shifted beside the others, channel by channel."""
    found: list[Finding] = []
    for channel in range(min(len(case.quantiles) for case in cases)):
        spans = [case.quantiles[channel][-1] - case.quantiles[channel][0] for case in cases]
        usual = float(np.nanmedian(spans))
        logs = [math.log(span) if span > 0 else math.nan for span in spans]
        middles = [case.quantiles[channel][2] for case in cases]
        scaled = outliers(logs, at_least=math.log(2.0))
        shifted = outliers(middles, at_least=0.75 * usual)
        for place in sorted({*scaled, *shifted}):
            low, _, middle, _, high = cases[place].quantiles[channel]
            said = f"intensities run from {low:.4g} to {high:.4g}, median {middle:.4g}; usual here are a span of "
            said += f"{usual:.4g} and a median of {float(np.nanmedian(middles)):.4g}."
            found.append(Finding(cases[place].file, said, "It may be scaled, shifted, or in another unit."))
    return found


def inverted_intensities(cases: Sequence[Surveyed]) -> list[Finding]:
    """Images whose dark is bright: they run against the others, or only their distribution turned round fits."""
    templates = np.array([case.template for case in cases])
    shapes = np.array([_shape(case.quantiles[0]) for case in cases])
    found: list[Finding] = []
    for place, case in enumerate(cases):
        usual = np.nanmedian(np.delete(shapes, place, axis=0), axis=0)
        straight = float(np.abs(shapes[place] - usual).mean())
        turned = float(np.abs(1 - shapes[place][::-1] - usual).mean())
        against = _correlation(case.template, np.median(np.delete(templates, place, axis=0), axis=0)) < -0.4
        if against or (straight > 0.12 and turned < 0.5 * straight):
            found.append(
                Finding(case.file, "dark and bright seem exchanged beside the other cases.", "Invert the image.")
            )
    return found


def unusual_voxels(cases: Sequence[Surveyed]) -> list[Finding]:
    """Voxels three times as large, or as small, along an axis as in the others."""
    found: list[Finding] = []
    for axis in range(3):
        logs = [math.log(case.spacing_mm[axis]) for case in cases]
        usual = math.exp(float(np.median(logs)))
        found += [
            Finding(
                cases[place].file,
                f"voxels are {cases[place].spacing_mm[axis]:.3g} mm {_AXES[axis]}; usual here are {usual:.3g} mm.",
                "Compare the header with the scanner's protocol.",
            )
            for place in outliers(logs, at_least=math.log(3.0))
        ]
    return found


def mirrored_classes(cases: Sequence[Surveyed]) -> list[Finding]:
    """Classes that lie where the others' would lie in a mirror."""
    found: list[Finding] = []
    for name in dict.fromkeys(name for case in cases for name in case.centres):
        holders = [case for case in cases if name in case.centres]
        if len(holders) < FEWEST:
            continue
        centres = np.array([case.centres[name] for case in holders])
        usual = np.median(centres, axis=0)
        spread = np.median(np.abs(centres - usual), axis=0)
        for axis in range(3):
            away = np.abs(centres[:, axis] - usual[axis])
            mirrored = np.abs(1 - centres[:, axis] - usual[axis])
            for place in np.flatnonzero((away > 0.1 + 4 * spread[axis]) & (mirrored < 0.5 * away)):
                said = f"{name} lies on the other side ({_AXES[axis]}) than in the other cases."
                found.append(Finding(holders[place].file, said, "Check the orientation in the header of its files."))
    return found


def turned_images(cases: Sequence[Surveyed]) -> list[Finding]:
    """Images that resemble the others only when they are flipped along an axis."""
    templates = np.array([case.template for case in cases])
    found: list[Finding] = []
    for place, case in enumerate(cases):
        usual = np.median(np.delete(templates, place, axis=0), axis=0)
        straight = _correlation(case.template, usual)
        flipped = [_correlation(np.flip(case.template, axis), usual) for axis in range(3)]
        best = int(np.argmax(flipped))
        if flipped[best] > 0.5 and flipped[best] > straight + 0.15:
            said = f"the image resembles the others only when it is flipped {_AXES[best]}."
            found.append(Finding(case.file, said, "Check the orientation in the header of its files."))
    return found


def _shape(quantiles: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles between the first and the last, as 0 to 1: the same whatever the scale."""
    array = np.asarray(quantiles, np.float64)
    return (array - array[0]) / max(float(array[-1] - array[0]), 1e-12)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1])
