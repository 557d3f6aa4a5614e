"""Trackers: off unless asked for, imported only then, told every epoch."""

import sys
import types

import pytest

from configs import compose
from configs.facts import plain
from training.checkpoints import Progress
from training.trackers import check_trackers, flat, trackers

ROW = {"epoch": 1.0, "loss": 0.5, "val_dice": float("nan")}


class Recorder(types.ModuleType):
    """A package that writes down what is called."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*words, **named):
            self.calls.append((name, words, named))
            return self

        return call

    @property
    def info(self):
        return types.SimpleNamespace(run_id="abc")


def settings(*words):
    return plain(compose(["dataset=phantom", *words]))


def follow(tracker, epochs=1):
    progress = Progress()
    tracker.started(progress, epochs)
    progress.epoch = 1
    tracker.batch(1, 1, {})
    tracker.epoch(ROW, progress)
    tracker.finished()


def test_nothing_is_tracked_unless_asked(tmp_path):
    assert trackers(tmp_path, settings()) == []
    assert "mlflow" not in sys.modules and "wandb" not in sys.modules


@pytest.mark.parametrize(("name", "command"), [("MLFLOW", "pip install mlflow-skinny"), ("WANDB", "pip install wandb")])
def test_a_missing_package_is_answered_with_the_command(monkeypatch, name, command):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ValueError, match="^[^\n]*$") as caught:
        check_trackers(settings(f"CALLBACKS.{name}.VALUE=True")["CALLBACKS"])
    assert command in str(caught.value) and f"CALLBACKS.{name}.VALUE" in str(caught.value)
    check_trackers(settings()["CALLBACKS"])


def test_mlflow_is_told_settings_once_and_every_epoch(tmp_path, monkeypatch):
    package = Recorder("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", package)
    run = tmp_path / "run"
    run.mkdir()
    for _ in range(2):
        follow(trackers(run, settings("CALLBACKS.MLFLOW.VALUE=True", "SEED=11"))[0])
    calls = {name: (words, named) for name, words, named in package.calls}
    assert calls["log_metrics"] == (({"loss": 0.5},), {"step": 1})
    # Beside the run: nothing leaves the machine. The second time the same run goes on.
    assert str(tmp_path) in calls["set_tracking_uri"][0][0]
    assert calls["start_run"][1] == {"run_id": "abc", "run_name": "run"}
    told = [words[0] for name, words, _ in package.calls if name == "log_params"]
    assert len(told) == 1 and told[0]["SEED"] == "11" and told[0]["MODEL.TYPE"] == "unet3plus"
    assert package.calls[-1][0] == "end_run"


def test_weights_and_biases_stay_offline_unless_told(tmp_path, monkeypatch):
    package = Recorder("wandb")
    monkeypatch.setitem(sys.modules, "wandb", package)
    follow(trackers(tmp_path, settings("CALLBACKS.WANDB.VALUE=True"))[0])
    calls = {name: (words, named) for name, words, named in package.calls}
    assert calls["init"][1]["mode"] == "offline"
    assert calls["init"][1]["project"] == "phantom"
    assert calls["init"][1]["dir"] == str(tmp_path)
    assert calls["log"] == (({"loss": 0.5},), {"step": 1})
    assert package.calls[-1][0] == "finish"


def test_settings_are_flattened_by_hand():
    assert flat({"A": {"B": 1, "C": {"D": [2, 3]}}, "E": None}) == {"A.B": 1, "A.C.D": [2, 3], "E": None}
