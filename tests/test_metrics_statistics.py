"""Summaries, intervals over patients, paired comparisons."""

import math

import numpy as np
import pytest
from scipy import stats

from metrics.provenance import provenance
from metrics.statistics import bootstrap_interval, by_patient, compare, summary, worst_cases


def test_summary():
    found = summary([1.0, 2.0, 3.0, math.nan, 6.0])
    assert (found["n"], found["undefined"], found["mean"], found["median"]) == (4, 1, 3.0, 2.5)
    assert found["sd"] == pytest.approx(math.sqrt(14 / 3))
    assert (found["quartile_1"], found["quartile_3"], found["least"], found["largest"]) == (1.75, 3.75, 1.0, 6.0)


def test_summary_of_one_value_and_of_none():
    assert math.isnan(summary([0.5])["sd"])
    assert summary([0.5])["mean"] == 0.5
    nothing = summary([math.nan])
    assert (nothing["n"], nothing["undefined"]) == (0, 1)
    assert math.isnan(nothing["mean"])


def test_worst_cases():
    scores = {"a": 0.9, "b": 0.2, "c": math.nan, "d": 0.2, "e": 0.5}
    assert worst_cases(scores, count=3) == [("b", 0.2), ("d", 0.2), ("e", 0.5)]
    assert worst_cases(scores, count=1, high_is_good=False) == [("a", 0.9)]


def test_patients_are_counted_once():
    scores = {"p1_a": 0.8, "p1_b": 0.6, "p2_a": math.nan, "alone": 0.5}
    found = by_patient(scores, {"p1_a": "p1", "p1_b": "p1", "p2_a": "p2"})
    assert found == pytest.approx({"p1": 0.7, "p2": math.nan, "alone": 0.5}, nan_ok=True)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_intervals_are_scipys(rng, statistic, method):
    values = rng.beta(8, 2, 40)
    function = {"mean": np.mean, "median": np.median}[statistic]
    expected = stats.bootstrap(
        (values,), function, n_resamples=999, method=method, rng=np.random.default_rng(3)
    ).confidence_interval
    found = bootstrap_interval([*values, math.nan], statistic=statistic, method=method, resamples=999, seed=3)
    assert found == pytest.approx((expected.low, expected.high))


def test_percentile_intervals_are_the_percentiles_of_the_resampled_means(rng):
    values = rng.normal(size=25)
    resamples = values[np.random.default_rng(1).integers(0, 25, (2000, 25))].mean(1)
    found = bootstrap_interval(values.tolist(), method="percentile", resamples=2000, seed=1)
    assert found == pytest.approx(tuple(np.percentile(resamples, [2.5, 97.5])), abs=0.03)


def test_intervals_without_spread_or_without_values():
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert all(math.isnan(x) for x in bootstrap_interval([0.5, math.nan]))
    with pytest.raises(ValueError, match="use mean or median"):
        bootstrap_interval([1, 2], statistic="mode")


def runs(rng, improvement, *, cases=60):
    first = {f"case_{i:02d}": float(x) for i, x in enumerate(rng.beta(18, 2, cases))}
    return first, {name: x + improvement + rng.normal(0, 0.02) for name, x in first.items()}


def test_a_planted_dice_point_over_sixty_cases_is_found(rng):
    found = compare(*runs(rng, 0.01), resamples=999)
    assert found.p_value < 0.05
    assert found.interval[0] > 0
    assert found.better > found.worse


def test_a_planted_zero_is_not_found():
    first, second = runs(np.random.default_rng(5), 0.0)
    found = compare(first, second, resamples=999)
    assert found.p_value > 0.05
    assert found.interval[0] < 0 < found.interval[1]


def test_no_change_at_all():
    found = compare({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": 0.5})
    assert (found.mean, found.p_value, found.better, found.worse) == (0.0, 1.0, 0, 0)


def test_cases_of_one_run_only_are_named():
    found = compare({"a": 0.5, "b": 0.5, "c": math.nan}, {"a": 0.6, "c": 0.5, "d": 0.9})
    assert list(found.differences) == ["a"]
    assert set(found.left_out) == {"b", "c", "d"}
    nothing = compare({"a": 0.5}, {"b": 0.5})
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.p_value)


def test_largest_changes_come_first():
    found = compare({"a": 0.5, "b": 0.5, "c": 0.5}, {"a": 0.51, "b": 0.3, "c": 0.6})
    assert list(found.differences) == ["b", "c", "a"]


def test_provenance_names_tool_and_version():
    found = provenance()
    assert "surface-distance 0.1" in found["hd, hd95, nsd"]
    assert all(text.startswith(("medical-unets", "scipy")) for text in found.values())
