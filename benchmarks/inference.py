"""Sliding windows against brute force: one window at a time, a weight map of the volume's size, a division at the end.

`python -m benchmarks inference` runs each side in a process of its own, with a network that costs nothing (what is
measured is the bookkeeping) and with a small convolutional one, and compares the answers. With `--peers PYTHON`, a
Python that has PyTorch and MONAI, MONAI's `sliding_window_inference` is measured as well, its Gaussian and overlap.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from inference.sliding_window import sliding_window
from inference.tiles import Windows, importance_map

SHAPE, PATCH, CLASSES, SEED = (128, 256, 256), (64, 96, 96), 4, 5
SIDES = ("brute_force", "ours")

Predict = Callable[[np.ndarray], np.ndarray]


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures both sides with both networks: seconds, peak memory above the start, and the largest difference."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks inference")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("D", "H", "W"))
    parser.add_argument("--patch", type=int, nargs=3, default=PATCH, metavar=("D", "H", "W"))
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--batch", type=int, default=2, help="windows at once on our side")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--peers", help="a Python with PyTorch and MONAI")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--out-array", type=pathlib.Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.side:
        return _measure(wanted)
    windows = Windows(patch=tuple(wanted.patch))
    result: dict[str, Any] = {
        "benchmark": "inference",
        "shape": list(wanted.shape),
        "patch": list(wanted.patch),
        "classes": wanted.classes,
        "windows": sum(1 for _ in windows.tiles(wanted.shape)),
    }
    peer = _peer(wanted.peers)
    for network in _NETWORKS:
        result[network] = _compare(list(arguments), network)
        if peer:
            result[network]["monai"] = _measure_peer(peer, wanted, network)
            ratio = result[network]["monai"]["seconds"] / max(result[network]["ours"]["seconds"], 0.01)
            result[network]["times_faster_than_monai"] = round(ratio, 2)
    return result


def _peer(python: str | None) -> str | None:
    """That Python where it has MONAI; else None, and one line that says so."""
    if python is None:
        return None
    try:
        found = subprocess.run([python, "-c", "import monai, torch"], check=False, capture_output=True)
    except OSError as error:
        print(f"MONAI is left out: {error}.", file=sys.stderr)
        return None
    if found.returncode:
        print(f"MONAI is left out: {python} cannot import monai and torch.", file=sys.stderr)
        return None
    return python


def _measure_peer(python: str, wanted: argparse.Namespace, network: str) -> dict[str, Any]:
    script = str(pathlib.Path(__file__).with_name("inference_peer.py"))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        numbers = [*wanted.shape, *wanted.patch, wanted.classes, wanted.batch, wanted.repeats]
        command = [python, script, network, f"{folder}/answer.npy", *map(str, numbers)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _compare(arguments: list[str], network: str) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        files = {side: pathlib.Path(folder) / f"{side}.npy" for side in SIDES}
        for side, file in files.items():
            command = [sys.executable, "-m", "benchmarks", "inference", *arguments]
            command += ["--side", side, "--network", network, "--out-array", str(file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            entries[side] = json.loads(done.stdout)
        answers = [np.load(file, mmap_mode="r") for file in files.values()]
        difference = max(float(np.abs(a - b).max()) for a, b in zip(*answers, strict=True))
    ratio = entries["brute_force"]["seconds"] / entries["ours"]["seconds"]
    return {**entries, "times_faster": round(ratio, 2), "largest_difference": difference}


def _measure(wanted: argparse.Namespace) -> dict[str, Any]:
    volume = np.random.default_rng(SEED).normal(size=(*wanted.shape, 1)).astype(np.float32)
    windows = Windows(patch=tuple(wanted.patch))
    batch = wanted.batch if wanted.side == "ours" else 1
    predict = _NETWORKS[wanted.network](wanted.classes, windows.patch, batch)
    predict(np.zeros((batch, *windows.patch, 1), np.float32))
    before, seconds = _peak_mb(), list[float]()
    answer = np.zeros(0)
    for _ in range(wanted.repeats):
        del answer
        start = time.perf_counter()
        if wanted.side == "ours":
            answer = sliding_window(volume, predict, windows=windows, batch_size=batch)
        else:
            answer = brute_force(volume, predict, windows)
        seconds.append(time.perf_counter() - start)
    measured = {"seconds": round(min(seconds), 2), "peak_mb_above_start": round(_peak_mb() - before)}
    np.save(wanted.out_array, answer)
    return measured


def brute_force(volume: np.ndarray, predict: Predict, windows: Windows) -> np.ndarray:
    """The plain way; the volume `(d, h, w, c)` is at least as large as the window.

    Returns:
        float32, `(d, h, w, k)`.
    """
    weights = importance_map(windows.patch)[..., None]
    count = np.zeros((*volume.shape[:-1], 1), np.float32)
    total: np.ndarray | None = None
    for tile in windows.tiles(volume.shape[:-1]):
        answer = predict(volume[tile][None])[0]
        if total is None:
            total = np.zeros((*volume.shape[:-1], answer.shape[-1]), np.float32)
        total[tile] += answer * weights
        count[tile] += weights
    return total / count if total is not None else count


def _free(classes: int, patch: Sequence[int], batch: int) -> Predict:
    del patch, batch
    return lambda batch: np.repeat(batch[..., :1], classes, axis=-1)


def _convolutions(classes: int, patch: Sequence[int], batch: int) -> Predict:
    import keras

    from inference.network import Network

    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((*patch, 1))
    x = inputs
    for filters in (8, 8):
        x = keras.layers.Conv3D(filters, 3, padding="same", activation="relu")(x)
    logits = keras.layers.Conv3D(classes, 1, dtype="float32")(x)
    return Network(keras.Model(inputs, logits), batch_size=batch)


_NETWORKS: dict[str, Callable[[int, Sequence[int], int], Predict]] = {"free": _free, "convolutions": _convolutions}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
