"""Checkpoints: whole or not at all, and only into what they belong to."""

import errno

import keras
import numpy as np
import pytest
from training_stand_ins import CrossEntropy, network

from metrics.streaming import StreamingDice
from training.checkpoints import (
    CheckpointError,
    Progress,
    load_network_weights,
    load_state,
    save_state,
    save_weights,
    write_atomically,
)
from training.optimizers import OptimizerChoice, build_optimizer
from training.step import TrainingModel


def model(classes: int = 2, **choice) -> TrainingModel:
    made = TrainingModel(network(classes=classes), CrossEntropy(), dice=StreamingDice(classes), class_names=["a"])
    made.prepare(build_optimizer(OptimizerChoice(**choice), learning_rate=0.1))
    return made


def test_everything_comes_back(tmp_path):
    saved, path = model(ema=0.9), tmp_path / "state.npz"
    for place, variable in enumerate(saved.variables + saved.optimizer.variables + saved.metrics_variables):
        variable.assign(keras.ops.cast(keras.ops.full(variable.shape, place), variable.dtype))
    np.random.seed(4)
    progress = Progress(epoch=3, step=2, seconds=1.5, best=0.25, waited=1, history=[{"loss": 0.1 + 0.2}])
    save_state(path, saved, progress)
    expected = np.random.random(3)
    other = model(ema=0.9)
    assert load_state(path, other) == progress
    np.testing.assert_array_equal(np.random.random(3), expected)
    for ours, theirs in zip(other.variables, saved.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for ours, theirs in zip(other.optimizer.variables, saved.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    path, made = tmp_path / "state.npz", model()
    save_state(path, made, Progress(epoch=1))
    before = path.read_bytes()

    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*previous one is intact"):
        save_state(path, made, Progress(epoch=2))
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["state.npz"]


def test_weights_written_halfway_are_never_seen(tmp_path):
    path = tmp_path / "best.weights.h5"

    def dies(temporary):
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, dies)
    assert not path.exists()


def test_another_number_of_classes_is_named(tmp_path):
    save_weights(tmp_path / "best.weights.h5", network(classes=3))
    with pytest.raises(CheckpointError, match="does not fit tiny.*number of classes"):
        load_network_weights(tmp_path / "best.weights.h5", network(classes=2))


def test_a_state_of_another_network_is_named(tmp_path):
    save_state(tmp_path / "state.npz", model(classes=3), Progress())
    with pytest.raises(CheckpointError, match=r"logits/kernel is \(1, 1, 4, 2\) here and \(1, 1, 4, 3\) there"):
        load_state(tmp_path / "state.npz", model())


def test_a_state_of_another_optimizer_is_named(tmp_path):
    save_state(tmp_path / "state.npz", model(type="sgd"), Progress())
    with pytest.raises(CheckpointError, match="of the optimizer's variables"):
        load_state(tmp_path / "state.npz", model(type="adam"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_state_is_named(tmp_path, content):
    (tmp_path / "state.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="state.npz is damaged"):
        load_state(tmp_path / "state.npz", model())


def test_missing_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="without RESUME=True"):
        load_state(tmp_path / "state.npz", model())
    with pytest.raises(CheckpointError, match="no weights file"):
        load_network_weights(tmp_path / "best.weights.h5", network())
