"""Several devices: the same training as on one, in processes with two logical CPU devices."""

import concurrent.futures
import json
import os
import socket

import numpy as np
import pytest
from training_scenarios import start

from training.cluster import find_process, join_cluster

FIVE_UNEVEN_STEPS = {"samples": 19, "batch_size": 4, "epochs": 1}
"""Batches of 4, 4, 4, 4 and 3 samples: the last one is 2 + 1 on two devices."""


def difference(one: dict, two: dict) -> float:
    assert one["weights"].keys() == two["weights"].keys()
    return max(float(np.abs(np.array(one["weights"][k]) - np.array(two["weights"][k])).max()) for k in one["weights"])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"optimizer": {"type": "sgd", "momentum": 0.9}}, id="sgd", marks=pytest.mark.slow),
        pytest.param(
            {
                "xla": True,
                "optimizer": {
                    "type": "sgd",
                    "momentum": 0.9,
                    "clip_norm": 0.1,
                    "weight_decay": 0.01,
                    "coupled": True,
                    "ema": 0.5,
                },
            },
            id="xla clipped decayed averaged",
        ),
        pytest.param(
            {"optimizer": {"type": "adam", "accumulation_steps": 2, "weight_decay": 0.1}},
            id="accumulated",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_devices_train_as_one(tmp_path, changes):
    one = start(tmp_path / "one", **FIVE_UNEVEN_STEPS, **changes)
    two = start(tmp_path / "two", **FIVE_UNEVEN_STEPS, **changes, devices=2, several=True)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert difference(one, two) < 1e-5
    for name in ("loss", "dice", "val_loss", "val_dice"):
        assert two["history"][0][name] == pytest.approx(one["history"][0][name], abs=1e-5)


@pytest.mark.slow
def test_a_batch_smaller_than_the_devices(tmp_path):
    # 9 samples in batches of 4: the last batch has one sample, so one device has none.
    sizes = {"samples": 9, "batch_size": 4, "optimizer": {"type": "sgd", "momentum": 0.0}}
    one = start(tmp_path / "one", **sizes)
    two = start(tmp_path / "two", **sizes, devices=2, several=True)
    assert difference(one, two) < 1e-5
    assert two["history"][0]["val_loss"] == pytest.approx(one["history"][0]["val_loss"], abs=1e-5)


@pytest.mark.slow
def test_mixed_precision_xla_and_two_devices_at_once(tmp_path):
    result = start(tmp_path, amp=True, xla=True, norm=True, devices=2, several=True, epochs=6, samples=19)
    history = result["history"]
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.slow
def test_float16_scales_the_loss_on_two_devices(tmp_path):
    wanted = {"policy": "mixed_float16", "epochs": 4, "optimizer": {"type": "adam", "accumulation_steps": 2}}
    result = start(tmp_path, **wanted, devices=2, several=True)
    assert result["history"][-1]["loss"] < result["history"][0]["loss"]


@pytest.mark.slow
def test_jax_shares_batches_too(tmp_path):
    sizes = {"samples": 20, "batch_size": 4, "backend": "jax", "optimizer": {"type": "sgd", "momentum": 0.9}}
    one = start(tmp_path / "one", **sizes)
    two = start(tmp_path / "two", **sizes, devices=2, several=True)
    assert two["replicas"] == 2
    assert difference(one, two) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_two_processes_train_as_one(tmp_path, backend):
    # Two processes with half a batch each; 20 samples are five whole batches.
    sizes = {"samples": 20, "backend": backend, "epochs": 2, "optimizer": {"type": "sgd", "momentum": 0.9}}
    one = start(tmp_path / "one", **sizes, batch_size=4)
    with socket.socket() as first, socket.socket() as second:
        for free in (first, second):
            free.bind(("localhost", 0))
        hosts = [f"localhost:{free.getsockname()[1]}" for free in (first, second)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(start, tmp_path / "two", **sizes, batch_size=2, hosts=hosts, process=place) for place in (0, 1)
        ]
        results = [future.result() for future in running]
    for result in results:
        assert difference(one, result) < 1e-5
        assert [row["loss"] for row in result["history"]] == pytest.approx([row["loss"] for row in one["history"]])
        assert [row["val_dice"] for row in result["history"]] == [row["val_dice"] for row in one["history"]]
    assert (tmp_path / "two" / "checkpoints" / "last.state.npz").exists()


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"xla": True},
        {"xla": True, "devices": 2, "several": True, "amp": True},
        pytest.param({"backend": "jax"}, marks=pytest.mark.slow),
    ],
)
def test_recomputed_activations_change_nothing(tmp_path, wanted):
    wanted = {**wanted, "norm": True, "dropout": 0.2, "epochs": 2}
    kept, recomputed = (start(tmp_path / str(remat), **wanted, remat=remat) for remat in (False, True))
    assert difference(kept, recomputed) < (2e-3 if wanted.get("amp") else 1e-5)


def test_processes_are_found():
    assert find_process(None, None, environment={}) == (0, 1)
    assert find_process(["a:1", "b:1"], 1, environment={}) == (1, 2)
    assert find_process(None, None, environment={"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}) == (3, 4)
    # A batch script that was not started by srun is one process, however many tasks its job has.
    assert find_process(None, None, environment={"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == (0, 1)
    for wrong in (None, 2):
        with pytest.raises(ValueError, match="Type CLUSTER.PROCESS=0 on the first, up to 1"):
            find_process(["a:1", "b:1"], wrong, environment={})


def test_tensorflow_is_told_the_hosts(monkeypatch):
    with pytest.raises(ValueError, match=r"Type CLUSTER.HOSTS=.*or BACKEND=jax"):
        join_cluster(None, (0, 2))
    monkeypatch.setenv("TF_CONFIG", "")
    join_cluster(["a:1", "b:1"], (1, 2))
    told = json.loads(os.environ["TF_CONFIG"])
    assert told == {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
