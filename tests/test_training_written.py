"""What a run writes down, and the batches it reads."""

import csv
import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from generators_helpers import numbered_volume, write_collection
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_stand_ins import Batches

from data_generators.sequence import SequenceLoader
from data_generators.sources import SliceSource
from training.checkpoints import Progress
from training.data import held_out
from training.feeds import Feed, pad_batch
from training.loaders import Batching, training_loader
from training.observers import Curves, EpochLines, HistoryTable, clock, columns, summary
from training.progress import Bar
from training.record import commit, fingerprint, write_record
from training.runtime import Runtime
from training.tensorboard import TensorBoard

FIRST = {"epoch": 1.0, "loss": 0.5, "dice": 0.25, "seconds": 2.0}
SECOND = {"epoch": 2.0, "loss": 0.4, "dice": 0.5, "val_dice": 0.75, "seconds": 5.0}
CPU = Runtime("tensorflow", "cpu", ("a CPU",), "float32", xla=False, deterministic=True, seed=5)


def watch(observer, *rows) -> Progress:
    """Tells an observer about a run that begins with the first row already done."""
    progress = Progress(epoch=1, history=[dict(rows[0])], seconds=2.0)
    observer.started(progress, 3)
    for row in rows[1:]:
        progress.history.append(dict(row))
        progress.epoch += 1
        observer.batch(1, 1, row)
        observer.epoch(row, progress)
    observer.finished()
    return progress


def read_table(path) -> list[dict]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_has_a_row_for_each_epoch_and_gaps_where_nothing_was_measured(tmp_path):
    watch(HistoryTable(tmp_path / "history.csv"), FIRST, SECOND)
    rows = read_table(tmp_path / "history.csv")
    assert [(row["epoch"], row["val_dice"]) for row in rows] == [("1.0", ""), ("2.0", "0.75")]


def test_a_continued_run_writes_no_row_twice(tmp_path):
    table = HistoryTable(tmp_path / "history.csv")
    watch(table, FIRST, SECOND)
    watch(HistoryTable(tmp_path / "history.csv"), FIRST, SECOND)
    assert len(read_table(tmp_path / "history.csv")) == 2


def test_rows_of_another_run_stay_where_that_is_wished(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss\n1.0,9.0\n2.0,8.0\n3.0,7.0\n")
    kept = HistoryTable(tmp_path / "history.csv", keep=True)
    kept.started(Progress(), 1)
    kept.epoch(FIRST, Progress(epoch=1, history=[FIRST]))
    assert [row["loss"] for row in read_table(tmp_path / "history.csv")] == ["9.0", "8.0", "7.0", "0.5"]


def test_curves_get_columns_and_a_failing_picture_ends_nothing(tmp_path, caplog):
    drawn = []
    watch(Curves(tmp_path / "curves.png", lambda found, path: drawn.append((found, path))), FIRST, SECOND)
    assert drawn[0][0]["loss"] == [0.5, 0.4]
    assert np.isnan(drawn[0][0]["val_dice"][0])

    def fails(found, path):
        raise OSError("no space")

    watch(Curves(tmp_path / "curves.png", fails), FIRST, SECOND)
    assert "No curves: no space" in caplog.text


def test_tensorboard_reads_what_was_written(tmp_path):
    watch(TensorBoard(tmp_path), FIRST, SECOND)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/dice", "train/seconds", "validation/dice"}
    assert [(event.step, event.value) for event in events.Scalars("validation/dice")] == [(2, 0.75)]


def test_a_line_says_loss_dice_time_and_what_is_left(caplog):
    caplog.set_level(logging.INFO)
    row = {**SECOND, "dice_liver": 0.6, "dice_tumor": 0.4}
    watch(EpochLines("val_dice"), FIRST, row)
    # The epoch took 5 - 2 seconds, and one of three is left.
    expected = "Epoch 2/3: loss 0.4000, Dice 0.500 (liver 0.600, tumor 0.400); val_dice 0.7500; 3 s; about 3 s left"
    assert caplog.messages[-1] == expected


def test_the_bar_shows_values(tmp_path):
    with (tmp_path / "screen").open("w") as screen:
        watch(Bar(Console(file=screen, force_terminal=True, width=120)), FIRST, SECOND)
    assert "epoch 2" in (tmp_path / "screen").read_text()


def test_the_bar_is_silent_where_there_is_no_terminal(tmp_path):
    with (tmp_path / "screen").open("w") as screen:
        watch(Bar(Console(file=screen)), FIRST, SECOND)
    assert (tmp_path / "screen").read_text().strip() == ""


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (200, "3 min"), (7500, "2 h 05 min")])
def test_durations_in_words(seconds, text):
    assert clock(seconds) == text


def test_small_texts():
    assert summary({}) == ""
    assert columns([]) == {}


def test_the_record_keeps_earlier_sessions(tmp_path, project):
    for _ in range(2):
        write_record(tmp_path / "run.json", CPU, facts={"data_sha256": fingerprint(["a"])}, root=project)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["seed"] == 5
    assert len(record["sessions"]) == 2
    assert record["sessions"][0]["versions"]["keras"].startswith("3.")
    assert record["sessions"][0]["hardware"]["devices"] == ["a CPU"]


def test_no_commit_without_git(tmp_path):
    assert commit(tmp_path) is None


def test_fingerprints_depend_on_content_and_order():
    assert len({fingerprint(parts) for parts in (["a", "b"], ["b", "a"], ["ab"])}) == 3


def test_auto_does_without_dali_where_its_plugin_is_missing(tmp_path, monkeypatch):
    source = SliceSource(write_collection(tmp_path, {"a": (numbered_volume(3), np.zeros((3, 6, 8), np.uint8))}))
    monkeypatch.setattr("data_generators.loaders.dali_installed", lambda: True)
    monkeypatch.setattr("training.loaders.dali_plugin_installed", lambda: False)
    loader = training_loader(source, Batching(loader="AUTO"), runtime=replace(CPU, kind="gpu"))
    assert isinstance(loader, SequenceLoader)


def test_a_feed_goes_on_over_the_ends_of_epochs_from_anywhere():
    loader = Batches(samples=6, batch_size=4)
    feed = Feed(loader, start=3, threads=2)
    # Two batches an epoch: position 3 is batch 1 of epoch 1, then epoch 2 begins.
    expected = Batches(samples=6, batch_size=4)
    for place, (epoch, batch) in enumerate([(1, 1), (2, 0), (2, 1), (3, 0)]):
        expected.epoch = epoch
        np.testing.assert_array_equal(feed[place][0], expected[batch][0])
        assert feed.names(place) == expected.names(batch)
    assert feed.num_batches is None
    feed.close()
    np.testing.assert_array_equal(feed[0][0].shape, (2, 8, 8, 1))


def test_a_feed_for_validation_ends():
    assert Feed(Batches(samples=6, batch_size=4), endless=False).num_batches == 2


def test_small_batches_are_filled_up_with_samples_that_do_not_count():
    image, label = np.ones((1, 2, 2, 1), np.float32), np.ones((1, 2, 2, 1), np.uint8)
    padded = pad_batch((image, label), 3, ignore_label=255)
    assert padded[2].tolist() == [1.0, 0.0, 0.0]
    assert padded[0].shape == (3, 2, 2, 1)
    assert np.unique(padded[1][1:]).tolist() == [255]
    assert pad_batch((image, label), 1, ignore_label=255)[2].tolist() == [1.0]


def test_patients_validate_whole():
    patients = ["a", "a", "b", "c", "c", "c", "d"]
    held = held_out(patients, share=0.5, seed=1)
    chosen = {patient for patient, out in zip(patients, held, strict=True) if out}
    assert len(chosen) == 2
    assert [patient in chosen for patient in patients] == held.tolist()


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.01, 1), (0.9, 1)])
def test_at_least_one_patient_validates_and_one_trains(share, count):
    assert len(set(np.array(["a", "b"])[held_out(["a", "b"], share=share, seed=0)])) == count
