"""Learning rates and budgets, worked by hand."""

import math

import pytest

from training.assembly import initial_rate, scaled_rate
from training.budget import Budget, parse_budget
from training.schedules import EpochSchedule, ScheduleChoice, rate_at


def schedule(epochs: int = 10, steps_per_epoch: int = 4, **choice) -> EpochSchedule:
    return EpochSchedule(ScheduleChoice(**choice), epochs=epochs, steps_per_epoch=steps_per_epoch)


def test_constant_stays():
    assert [float(schedule(type="constant", peak=0.5)(step)) for step in (0, 17, 39)] == [0.5, 0.5, 0.5]


def test_poly_falls_once_an_epoch():
    # nnU-Net: 0.01 (1 - e / E) ^ 0.9; epoch 5 of 10 begins at batch 20.
    rates = schedule(type="poly", peak=0.01)
    assert float(rates(19)) == pytest.approx(0.01 * 0.6**0.9)
    assert [float(rates(step)) for step in (20, 23)] == pytest.approx([0.01 * 0.5**0.9] * 2)


def test_poly_counts_epochs_rightly_however_many_batches():
    # 0.1 * 3 and the like are not exact in binary: floor must not lose an epoch.
    rates = schedule(type="poly", peak=1.0, power=1.0, epochs=1000, steps_per_epoch=250)
    assert [float(rates(250 * epoch)) for epoch in (3, 70, 999)] == pytest.approx([0.997, 0.93, 0.001], abs=1e-6)


def test_cosine_after_a_linear_warm_up():
    # Warm-up: 4 batches, then 36 batches of cosine; its middle is batch 22.
    rates = schedule(type="cosine", peak=1.0, end=0.2, warmup_epochs=1)
    assert [float(rates(step)) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert float(rates(4)) == pytest.approx(1.0)
    assert float(rates(22)) == pytest.approx(0.2 + 0.8 * 0.5)
    assert float(rates(13)) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert float(rates(40)) == pytest.approx(0.2)


def test_warm_up_of_a_part_of_an_epoch():
    assert float(schedule(type="constant", peak=1.0, warmup_epochs=0.5)(0)) == pytest.approx(0.5)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="WARMUP_EPOCHS=10"):
        schedule(warmup_epochs=10)


def test_rate_by_time():
    choice = ScheduleChoice(type="poly", peak=2.0, end=1.0, power=1.0)
    assert [rate_at(choice, done) for done in (0.0, 0.25, 1.0, 7.0)] == pytest.approx([2.0, 1.75, 1.0, 1.0])


def test_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="constant, poly, cosine, plateau"):
        ScheduleChoice(type="polly")


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        (None, Budget(epochs=3)),
        ("6h", Budget(seconds=21600.0)),
        ("1h30m", Budget(seconds=5400.0)),
        ("90 m", Budget(seconds=5400.0)),
        ("0.5d", Budget(seconds=43200.0)),
        ("40000 steps", Budget(steps=40000)),
    ],
)
def test_budgets(text, budget):
    assert parse_budget(text, epochs=3) == budget


@pytest.mark.parametrize("text", ["6", "h", "6 parsecs", "0h", "0 steps", "6h!", ""])
def test_other_budgets_are_refused(text):
    with pytest.raises(ValueError, match="6h, 90m"):
        parse_budget(text, epochs=3)


def test_batches_make_epochs_rounded_up():
    assert Budget(steps=10).epochs_of(4) == 3
    assert Budget(seconds=1.0).epochs_of(4) is None


def test_the_rate_is_a_formula_over_batches_unless_time_or_plateau_decide():
    poly = ScheduleChoice(type="poly", peak=0.3)
    assert isinstance(initial_rate(poly, Budget(epochs=2), steps_per_epoch=5), EpochSchedule)
    assert initial_rate(poly, Budget(seconds=9.0), steps_per_epoch=5) == 0.3
    assert initial_rate(ScheduleChoice(type="plateau", peak=0.3), Budget(epochs=2), steps_per_epoch=5) == 0.3


def test_rules_for_larger_batches():
    assert [scaled_rate(0.1, devices=4, rule=rule) for rule in ("none", "linear", "sqrt")] == [0.1, 0.4, 0.2]
    with pytest.raises(ValueError, match="none, linear, sqrt"):
        scaled_rate(0.1, devices=4, rule="cubic")
