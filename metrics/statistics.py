"""From scores of cases to statements about them: summaries, intervals over patients, paired comparisons."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Scores = Mapping[str, float]
"""Case (or patient) to score; NaN means not defined."""


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean, sd (n - 1), median, quartiles, least, largest, and how many values went in and were NaN.

    NaN values are left out; `n` and `undefined` say so. Without any value the rest is NaN; with one the sd.
    """
    array = np.asarray(values, np.float64)
    known = array[~np.isnan(array)]
    counts = {"n": float(known.size), "undefined": float(array.size - known.size)}
    names = ("mean", "sd", "median", "quartile_1", "quartile_3", "least", "largest")
    if not known.size:
        return counts | dict.fromkeys(names, math.nan)
    quarter, half, three = np.percentile(known, [25, 50, 75])
    sd = known.std(ddof=1) if known.size > 1 else math.nan
    numbers = (known.mean(), sd, half, quarter, three, known.min(), known.max())
    return counts | {name: float(number) for name, number in zip(names, numbers, strict=True)}


def worst_cases(scores: Scores, *, count: int = 5, high_is_good: bool = True) -> list[tuple[str, float]]:
    """The worst cases with their scores, worst first; equal ones by name; undefined ones are left out."""
    sign = 1.0 if high_is_good else -1.0
    known = [(name, value) for name, value in scores.items() if not math.isnan(value)]
    return sorted(known, key=lambda item: (sign * item[1], item[0]))[:count]


def by_patient(scores: Scores, patients: Mapping[str, str]) -> dict[str, float]:
    """Mean score of each patient over the patient's cases, so that intervals are over patients.

    Args:
        scores: By case; undefined ones are left out, a patient without any is NaN.
        patients: Case to patient; a case that is not listed is its own patient.

    Returns:
        Patient to score, in order of first appearance.
    """
    grouped: dict[str, list[float]] = {}
    for case, value in scores.items():
        values = grouped.setdefault(patients.get(case, case), [])
        if not math.isnan(value):
            values.append(value)
    return {patient: float(np.mean(values)) if values else math.nan for patient, values in grouped.items()}


def bootstrap_interval(
    values: Sequence[float],
    *,
    statistic: str = "mean",
    confidence: float = 0.95,
    resamples: int = 9999,
    method: str = "BCa",
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of the mean or median over patients: that of `scipy.stats.bootstrap` for the same generator.

    Args:
        values: One for each patient; NaN values are left out.
        statistic: `"mean"` or `"median"`.
        confidence: Level, in (0, 1).
        resamples: Number of resamples.
        method: `"BCa"`, `"percentile"` or `"basic"`, as SciPy names them.
        seed: Of the generator.

    Returns:
        Lower and upper end; both the value itself if all are equal; NaN with fewer than two values.

    Raises:
        ValueError: The statistic is unknown.
    """
    functions = {"mean": np.mean, "median": np.median}
    if statistic not in functions:
        raise ValueError(f"Statistic {statistic!r} is not known: use mean or median.")
    array = np.asarray(values, np.float64)
    known = array[~np.isnan(array)]
    if known.size < 2:
        return math.nan, math.nan
    if np.ptp(known) == 0:
        return float(known[0]), float(known[0])
    interval = stats.bootstrap(
        (known,),
        functions[statistic],
        confidence_level=confidence,
        n_resamples=resamples,
        method=method,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs on the same cases; differences are second minus first.

    Attributes:
        differences: By case, largest change first.
        mean: Mean difference.
        interval: Bootstrap 95 % interval of it.
        p_value: Wilcoxon signed-rank test, two-sided; 1 if nothing differs, NaN without cases.
        left_out: Cases that only one run has, or that are undefined in one.
    """

    differences: dict[str, float]
    mean: float
    interval: tuple[float, float]
    p_value: float
    left_out: tuple[str, ...]

    @property
    def better(self) -> int:
        """Cases whose score is higher in the second run."""
        return sum(value > 0 for value in self.differences.values())

    @property
    def worse(self) -> int:
        """Cases whose score is lower in the second run."""
        return sum(value < 0 for value in self.differences.values())


def compare(first: Scores, second: Scores, *, resamples: int = 9999, seed: int = 0) -> Comparison:
    """Compare two runs case by case.

    Args:
        first: Scores by case (or patient, see `by_patient`).
        second: Scores by case.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        Differences, their mean with its interval, and the test.
    """
    union = list(first) + [case for case in second if case not in first]
    found = {case: second.get(case, math.nan) - first.get(case, math.nan) for case in union}
    left_out = tuple(case for case, value in found.items() if math.isnan(value))
    pairs = sorted(((c, v) for c, v in found.items() if not math.isnan(v)), key=lambda item: -abs(item[1]))
    values = np.array([value for _, value in pairs])
    return Comparison(
        differences=dict(pairs),
        mean=float(values.mean()) if values.size else math.nan,
        interval=bootstrap_interval(values.tolist(), resamples=resamples, seed=seed),
        p_value=_wilcoxon(values),
        left_out=left_out,
    )


def _wilcoxon(differences: Floats) -> float:
    if not differences.size:
        return math.nan
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)
