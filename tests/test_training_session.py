"""The course of a run: validation, best checkpoint, stopping, leaving, budgets, losses that are no number."""

import logging
import math
import os
import signal
import threading
import time

import keras
import numpy as np
import pytest
from training_stand_ins import Batches, CrossEntropy, network

from inference.segmenter import Application
from metrics.streaming import StreamingDice
from training.assembly import initial_rate
from training.budget import Budget
from training.checkpoints import CheckpointError, load_network_weights
from training.feeds import Feed
from training.loop import best_epoch, fit
from training.optimizers import OptimizerChoice, build_optimizer
from training.schedules import ScheduleChoice
from training.session import Rules, TrainingStoppedError
from training.step import TrainingModel
from training.validation import dice, validate_batches, validate_volumes

STEPS = 4


def model(rules: Rules | None = None, **choice) -> TrainingModel:
    keras.utils.set_random_seed(0)
    rules = rules or Rules()
    made = TrainingModel(network(), CrossEntropy(), dice=StreamingDice(2), class_names=["liver"])
    rate = initial_rate(rules.schedule, rules.budget, steps_per_epoch=STEPS)
    made.prepare(build_optimizer(OptimizerChoice(**{"type": "sgd", "momentum": 0.0, **choice}), learning_rate=rate))
    return made


def rules(*, epochs: int = 3, peak: float = 0.1, **changes) -> Rules:
    return Rules(**{"budget": Budget(epochs=epochs), "schedule": ScheduleChoice(peak=peak), **changes})


def told(values: list[float]):
    """A validation that says what it is told to."""
    left = iter(values)
    return lambda _model: {"dice": next(left)}


class Watch:
    """An observer that acts at a batch."""

    def __init__(self, at: int, act):
        self.at, self.act, self.seen = at, act, 0

    def started(self, progress, epochs):
        pass

    def batch(self, step, steps, logs):
        self.seen += 1
        if self.seen == self.at:
            self.act()

    def epoch(self, row, progress):
        pass

    def finished(self):
        pass


def run(folder, how: Rules, *, made: TrainingModel | None = None, loader: Batches | None = None, **more):
    made = made or model(how)
    return fit(made, loader or Batches(), rules=how, folder=folder, **more), made


def test_validation_counts_every_sample(tmp_path):
    # 7 samples in batches of 4: the last batch holds 3. The rate is 0, so the weights stay.
    loader, made = Batches(samples=7), model(rules(peak=0.0))
    measured = validate_batches(lambda start: Feed(loader, start=start, endless=False))(made)
    logits = made.network(loader.images)
    expected = float(CrossEntropy().terms(loader.labels, logits)["segmentation"])
    assert measured["loss"] == pytest.approx(expected, rel=1e-5)


def test_best_checkpoint_is_that_of_the_best_validation(tmp_path):
    outcome, made = run(tmp_path, rules(), validate=told([0.2, 0.9, 0.5]))
    assert outcome.progress.best == 0.9
    assert best_epoch(outcome.progress.history, "val_dice") == 2
    best, last = network(), network()
    load_network_weights(tmp_path / "checkpoints" / "best.weights.h5", best)
    load_network_weights(tmp_path / "checkpoints" / "last.weights.h5", last)
    np.testing.assert_array_equal(last.get_weights()[0], made.network.get_weights()[0])
    assert not np.array_equal(best.get_weights()[0], last.get_weights()[0])


def test_early_stopping_follows_the_same_metric(tmp_path):
    outcome, _ = run(tmp_path, rules(epochs=9, patience=2), validate=told([0.5, 0.9, 0.8, 0.9, 1.0]))
    # 0.9 is not better than 0.9: epochs 3 and 4 are two validations without improvement.
    assert outcome.progress.epoch == 4
    again, _ = run(tmp_path, rules(epochs=9, patience=2), validate=told([1.0]), resume=True)
    assert again.progress.epoch == 4


def test_smaller_may_be_better(tmp_path):
    how = rules(metric="val_dice", larger_is_better=False)
    outcome, _ = run(tmp_path, how, validate=told([0.5, 0.3, 0.4]))
    assert outcome.progress.best == 0.3


def test_a_validation_without_a_number_is_not_the_best(tmp_path):
    outcome, _ = run(tmp_path, rules(epochs=2), validate=told([math.nan, 0.1]))
    assert outcome.progress.best == 0.1


def test_validation_every_second_epoch_and_at_the_end(tmp_path):
    outcome, _ = run(tmp_path, rules(epochs=5, validate_every=2), validate=told([0.1, 0.2, 0.3]))
    assert ["val_dice" in row for row in outcome.progress.history] == [False, True, False, True, True]


def test_a_metric_that_is_not_measured_is_named_with_those_that_are(tmp_path):
    with pytest.raises(TrainingStoppedError, match=r"VALIDATION.METRIC=val_liver.*val_dice"):
        run(tmp_path, rules(metric="val_liver"), validate=told([0.1]))


def test_without_validation_the_newest_weights_are_the_best(tmp_path):
    _, made = run(tmp_path, rules(epochs=2))
    best = network()
    load_network_weights(tmp_path / "checkpoints" / "best.weights.h5", best)
    np.testing.assert_array_equal(best.get_weights()[0], made.network.get_weights()[0])


def test_plateau_lowers_the_rate(tmp_path):
    how = rules(epochs=5, schedule=ScheduleChoice("plateau", peak=0.4, factor=0.5, patience=2))
    outcome, _ = run(tmp_path, how, validate=told([0.5, 0.5, 0.5, 0.5, 0.5]))
    # Epochs 2 and 3 do not improve: 0.2 in epoch 4; 4 and 5 do not either.
    assert [row["learning_rate"] for row in outcome.progress.history] == pytest.approx([0.4, 0.4, 0.4, 0.2, 0.2])


def test_history_says_which_rate_an_epoch_ended_with(tmp_path):
    how = rules(epochs=2, schedule=ScheduleChoice("poly", peak=0.1, power=1.0))
    outcome, _ = run(tmp_path, how)
    assert [row["learning_rate"] for row in outcome.progress.history] == pytest.approx([0.1, 0.05])


def test_a_number_of_batches_ends_within_an_epoch(tmp_path):
    outcome, made = run(tmp_path, rules(budget=Budget(steps=6)), validate=told([0.1, 0.2]))
    assert int(made.optimizer.iterations.numpy()) == 6
    assert outcome.progress.epoch == 2


def test_a_time_ends_the_run_and_the_schedule_fits_it(tmp_path):
    schedule = ScheduleChoice("poly", peak=0.1, power=1.0)
    started = time.monotonic()
    outcome, _ = run(tmp_path, rules(budget=Budget(seconds=3.0), schedule=schedule))
    assert 3.0 <= outcome.progress.seconds < time.monotonic() - started + 1
    rates = [row["learning_rate"] for row in outcome.progress.history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05


def test_a_loss_that_is_no_number_names_the_batch_and_its_cases(tmp_path):
    loader = Batches()
    loader.epoch = 1
    names = loader.names(2)
    loader.images[int(names[0].removeprefix("case_"))] = np.inf
    sick = _OnlyInEpoch(loader, epoch=1)
    how = rules()
    with pytest.raises(TrainingStoppedError, match=f"batch 3 of epoch 2, samples {names[0]}"):
        run(tmp_path, how, loader=sick)


class _OnlyInEpoch(Batches):
    """Passes a loader's infinite images in one epoch only."""

    def __init__(self, loader: Batches, *, epoch: int):
        super().__init__()
        self.images, self.sick = loader.images, epoch

    def __getitem__(self, index: int):
        image, label = super().__getitem__(index)
        return (image if self.epoch == self.sick else np.nan_to_num(image, posinf=0.0)), label


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves_and_the_run_can_go_on(tmp_path, number):
    how = rules(epochs=2)
    whole, undisturbed = run(tmp_path / "whole", how)
    left, _ = run(tmp_path / "cut", how, observers=[Watch(6, lambda: os.kill(os.getpid(), number))])
    assert (left.signal, left.progress.epoch, left.progress.step) == (number, 1, 2)
    outcome, continued = run(tmp_path / "cut", how, resume=True)
    assert outcome.interrupted is None
    np.testing.assert_array_equal(continued.network.get_weights()[0], undisturbed.network.get_weights()[0])
    assert [row["loss"] for row in outcome.progress.history] == [row["loss"] for row in whole.progress.history]


def test_a_signal_during_validation_does_not_lose_the_epoch(tmp_path):
    def interrupted(_model):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"dice": 0.5}

    left, _ = run(tmp_path, rules(epochs=1), validate=interrupted)
    assert left.progress.trained is not None
    outcome, made = run(tmp_path, rules(epochs=1), validate=told([0.7]), resume=True)
    assert outcome.progress.history[0]["val_dice"] == 0.7
    assert int(made.optimizer.iterations.numpy()) == STEPS


def test_a_stop_file_ends_the_run_and_is_removed(tmp_path):
    (tmp_path / "STOP").touch()
    outcome, _ = run(tmp_path, rules())
    assert outcome.interrupted == "the file STOP appeared"
    assert outcome.signal is None
    assert not (tmp_path / "STOP").exists()


def test_signal_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run(tmp_path, rules(epochs=1))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_may_start_in_another_thread(tmp_path):
    failures = []
    thread = threading.Thread(target=lambda: failures.extend(_failure(tmp_path)))
    thread.start()
    thread.join()
    assert failures == []


def _failure(folder) -> list[str]:
    try:
        run(folder, rules(epochs=1))
    except Exception as error:  # noqa: BLE001  (whatever it is, the test shows it)
        return [repr(error)]
    return []


def test_another_number_of_batches_is_not_continued(tmp_path):
    run(tmp_path, rules(epochs=1))
    with pytest.raises(CheckpointError, match="had 4 batches in an epoch and has 2 now"):
        run(tmp_path, rules(epochs=2), loader=Batches(batch_size=8), resume=True)


def test_averaged_weights_are_what_is_validated_and_saved(tmp_path):
    seen = []

    def look(trained):
        seen.append(trained.network.get_weights()[0].copy())
        return {"dice": 1.0}

    _, made = run(tmp_path, rules(epochs=1), made=model(rules(epochs=1), ema=0.5), validate=look)
    saved = network()
    load_network_weights(tmp_path / "checkpoints" / "last.weights.h5", saved)
    np.testing.assert_array_equal(saved.get_weights()[0], seen[0])
    assert not np.allclose(seen[0], made.network.get_weights()[0])


def test_the_whole_network_can_be_kept_too(tmp_path):
    run(tmp_path, rules(epochs=1, whole_network=True))
    kept = keras.saving.load_model(tmp_path / "checkpoints" / "best.keras")
    assert kept.name == "tiny"


def test_only_the_best_is_kept_where_that_is_wished(tmp_path):
    run(tmp_path, rules(epochs=1, keep_last=False))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["best.weights.h5"]


def test_a_run_killed_before_its_first_checkpoint_starts_over(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="training.loop")
    outcome, _ = run(tmp_path, rules(epochs=1), resume=True)
    assert len(outcome.progress.history) == 1
    assert "starting from the beginning" in caplog.text
    with pytest.raises(CheckpointError, match="no .*last.state.npz to continue from"):
        run(tmp_path / "best only", rules(epochs=1, keep_last=False), resume=True)


def test_checkpoints_may_lie_elsewhere(tmp_path):
    run(tmp_path / "run", rules(epochs=1), checkpoints=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "last.state.npz").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
    again, _ = run(tmp_path / "run", rules(epochs=1), checkpoints=tmp_path / "elsewhere", resume=True)
    assert len(again.progress.history) == 1


@pytest.mark.parametrize(
    ("reference", "found", "score"), [([1, 1, 0], [1, 0, 0], 2 / 3), ([0], [1], 0.0), ([1], [1], 1.0)]
)
def test_dice_of_a_case(reference, found, score):
    assert dice(np.array(reference, bool), np.array(found, bool)) == pytest.approx(score)


def test_dice_of_nothing_is_no_number():
    assert math.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))


def test_whole_volumes_need_volumes():
    with pytest.raises(ValueError, match="WHOLE_VOLUME=False"):
        validate_volumes(Batches(), Application(), class_names=["liver"])
