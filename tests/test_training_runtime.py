"""Devices, precision and compilation: what is chosen, and why."""

import logging
import random

import keras
import numpy as np
import pytest

from training.devices import choose_ids
from training.runtime import choose_precision, choose_xla, seed_everything, start_runtime

FOUR = ["A100", "A100", "T4", "T4"]


@pytest.mark.parametrize(("wanted", "ids"), [(-1, (0, 1, 2, 3)), (2, (0, 1)), ([0, 2], (0, 2)), ([3], (3,))])
def test_which_devices(wanted, ids):
    assert choose_ids(wanted, FOUR) == ids


@pytest.mark.parametrize("wanted", [5, 0, -2, [4], [0, 9], [1, 1], []])
def test_devices_that_do_not_exist_are_an_error_that_lists_those_that_do(wanted):
    with pytest.raises(ValueError, match=r"0: A100, 1: A100, 2: T4, 3: T4.*Type USE_MULTI_GPUS.GPU_IDS="):
        choose_ids(wanted, FOUR)


@pytest.mark.parametrize(
    ("amp", "kind", "bfloat16", "policy"),
    [
        ("auto", "cpu", True, "float32"),
        (True, "cpu", True, "mixed_bfloat16"),
        ("auto", "gpu", True, "mixed_bfloat16"),
        ("auto", "gpu", False, "mixed_float16"),
        (True, "gpu", False, "mixed_float16"),
        (False, "gpu", True, "float32"),
    ],
)
def test_precision(amp, kind, bfloat16, policy):
    assert choose_precision(amp, kind=kind, bfloat16=bfloat16)[0] == policy


@pytest.mark.parametrize(
    ("xla", "kind", "backend", "compiled"),
    [
        ("auto", "cpu", "tensorflow", False),
        ("auto", "gpu", "tensorflow", True),
        (True, "cpu", "tensorflow", True),
        (False, "gpu", "tensorflow", False),
        (False, "gpu", "jax", True),
    ],
)
def test_compilation(xla, kind, backend, compiled):
    assert choose_xla(xla, kind=kind, backend=backend)[0] is compiled


def test_one_line_says_what_was_chosen_and_why(caplog):
    policy = keras.config.dtype_policy()
    caplog.set_level(logging.INFO, logger="training.runtime")
    runtime = start_runtime(several=True, seed=3)
    assert len(caplog.messages) == 1
    for words in ("Backend", "precision float32 (AMP auto", "one cpu only", "seed 3"):
        assert words in caplog.messages[0]
    assert runtime.replicas == 1
    assert keras.config.dtype_policy() == policy


def test_seeding_makes_everything_repeat():
    draws = []
    for _ in range(2):
        seed_everything(11, deterministic=False)
        weights = keras.initializers.GlorotUniform()((2, 2))
        draws.append([random.random(), float(np.random.random()), *np.ravel(weights).tolist()])
    assert draws[0] == draws[1]
