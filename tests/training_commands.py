"""train.py and the other scripts in processes of their own, on a small prepared collection."""

import csv
import os
import pathlib
import subprocess
import sys

import numpy as np
from generators_helpers import write_collection

from data_generators.manifest import save_splits
from data_generators.records import Splits

PROJECT = pathlib.Path(__file__).resolve().parents[1]
TINY = [
    "MODEL.FILTERS=[4,4,4,4,4]",
    "INPUT.HEIGHT=32",
    "INPUT.WIDTH=32",
    "HYPER_PARAMETERS.BATCH_SIZE=2",
    "HYPER_PARAMETERS.LEARNING_RATE=0.01",
    "LOSS.TYPE=dice_ce",
    "VERBOSE=2",
]
START = """
import runpy, sys
sys.argv = sys.argv[1:]
if {without_tensorflow}:
    sys.modules["tensorflow"] = None
if {devices} > 1:
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * {devices})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command(script: str, folder, *words: str, without_tensorflow: bool = False, devices: int = 1) -> list[str]:
    """The command line of a script, perhaps without TensorFlow or with several logical CPU devices."""
    start = START.format(without_tensorflow=without_tensorflow, devices=devices)
    return [sys.executable, "-c", start, script, f"WORK_DIR={folder}", *words]


def environment(backend: str = "tensorflow") -> dict[str, str]:
    return {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(script: str, folder, *words: str, code: int = 0, backend: str = "tensorflow", **changes) -> str:
    """Runs a script; what it said."""
    done = subprocess.run(
        command(script, folder, *words, **changes),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=environment(backend),
        cwd=PROJECT,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said[-3000:]
    return said


def rows(run: pathlib.Path) -> list[dict]:
    """The history of a run."""
    with (run / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_squares(folder: pathlib.Path) -> pathlib.Path:
    """A folder with a prepared collection of four volumes of five slices: a bright square is the liver."""
    rng = np.random.default_rng(3)
    cases = {}
    for number in range(4):
        label = np.zeros((5, 32, 32), np.uint8)
        label[1:4, 8:24, 6 + number : 20 + number] = 1
        image = 0.3 * label + rng.normal(0.3, 0.05, label.shape)
        cases[f"case{number}"] = (image[..., None].astype(np.float16), label)
    root = write_collection(folder / "data" / "prepared" / "lits", cases)
    parts = {"train": ("case0", "case1"), "validation": ("case2",), "test": ("case3",)}
    folds = tuple({"train": ("case1", "case2", "case3"), "validation": ("case0",)} for _ in range(5))
    save_splits(root, Splits(parts, folds, 0))
    return folder
