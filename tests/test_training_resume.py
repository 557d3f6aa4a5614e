"""A run that was killed, and continued, ends like one that never was."""

import h5py
import numpy as np
import pytest
from training_scenarios import start

RUN = {
    "epochs": 4,
    "samples": 15,
    "batch_size": 2,
    "dropout": 0.3,
    "norm": True,
    "save_every_steps": 3,
    "optimizer": {"type": "adam", "ema": 0.9, "weight_decay": 0.01, "accumulation_steps": 2},
    "schedule": {"type": "cosine", "peak": 0.01, "warmup_epochs": 0.5},
}


def arrays(path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def without_seconds(history: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_same_end(folder, result: dict, undisturbed_folder, undisturbed: dict) -> None:
    assert without_seconds(result["history"]) == without_seconds(undisturbed["history"])
    assert result["weights"] == undisturbed["weights"]
    for name in ("best.weights.h5", "last.weights.h5"):
        ours, theirs = (arrays(place / "checkpoints" / name) for place in (folder, undisturbed_folder))
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, start(folder, **RUN)


def kill_and_continue(folder, moments_s: list[float], **changes) -> dict:
    """Kills a run this many seconds after each start of training, then lets it end."""
    for moment in moments_s:
        resume = (folder / "checkpoints" / "last.state.npz").exists()
        if result := start(folder, **RUN, **changes, kill_after_s=moment, resume=resume):
            return result
    return start(folder, **RUN, **changes, resume=(folder / "checkpoints" / "last.state.npz").exists())


def test_killed_within_an_epoch_and_continued(tmp_path, undisturbed):
    seconds = undisturbed[1]["history"][-1]["seconds"]
    moments = [float(x) for x in np.random.default_rng().uniform(0.4, 0.9, 1) * seconds]
    assert_same_end(tmp_path, kill_and_continue(tmp_path, moments), *undisturbed)


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path, undisturbed):
    seconds = undisturbed[1]["history"][-1]["seconds"]
    moments = [float(x) for x in np.random.default_rng().uniform(0.0, 1.0, 10) * seconds]
    assert_same_end(tmp_path, kill_and_continue(tmp_path, moments), *undisturbed)


@pytest.mark.slow
def test_killed_and_continued_on_jax(tmp_path):
    whole = start(tmp_path / "whole", **RUN, backend="jax")
    seconds = whole["history"][-1]["seconds"]
    moments = [float(x) for x in np.random.default_rng().uniform(0.5, 0.98, 2) * seconds]
    result = kill_and_continue(tmp_path / "killed", moments, backend="jax")
    assert_same_end(tmp_path / "killed", result, tmp_path / "whole", whole)
