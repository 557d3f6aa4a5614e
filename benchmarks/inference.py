"""Sliding windows against brute force and MONAI: time and peak memory of one prediction.

Brute force is one window at a time, a weight map of the volume's size, and a division at the end. Every side runs in a
process of its own, in turn with the others, with a network that costs nothing (what is measured is the bookkeeping) and
with a small convolutional one; the answers are compared. With `--peers PYTHON`, a Python that has PyTorch and MONAI,
MONAI's `sliding_window_inference` runs as well, with its Gaussian, the same overlap, and the same layers.
"""

import argparse
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.measure import in_turn, measured, peer_python, peer_script, summaries
from benchmarks.tables import side_rows
from inference.sliding_window import sliding_window
from inference.tiles import Windows, importance_map

SHAPE, PATCH, CLASSES, SEED = (128, 256, 256), (64, 96, 96), 4, 5
QUICK = (
    "--shape",
    "12",
    "16",
    "16",
    "--patch",
    "8",
    "8",
    "8",
    "--classes",
    "2",
    "--networks",
    "free",
    "--repeats",
    "1",
)
SHOWN = ("seconds", "cpu_seconds", "peak_mb")

Predict = Callable[[np.ndarray], np.ndarray]


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures every side with both networks: medians of seconds and of the peak memory, ratios, differences."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks inference")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("D", "H", "W"))
    parser.add_argument("--patch", type=int, nargs=3, default=PATCH, metavar=("D", "H", "W"))
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--batch", type=int, default=2, help="windows at once, except by brute force")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=tuple(_NETWORKS), default=tuple(_NETWORKS))
    parser.add_argument("--peers", help="a Python with PyTorch and MONAI")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--out-array", type=pathlib.Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.side:
        return _measure(wanted)
    peer = peer_python(wanted.peers, "monai", "torch")
    result: dict[str, Any] = {
        "benchmark": "inference",
        "shape": list(wanted.shape),
        "patch": list(wanted.patch),
        "classes": wanted.classes,
        "windows": sum(1 for _ in Windows(patch=tuple(wanted.patch)).tiles(wanted.shape)),
        "table": [],
    }
    for network in wanted.networks:
        result[network] = _compare(list(arguments), wanted, network, peer)
        result["table"] += [{"network": network, **row} for row in side_rows(result[network]["sides"], *SHOWN)]
    return result


def _compare(arguments: list[str], wanted: argparse.Namespace, network: str, peer: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        files = {side: f"{folder}/{side}.npy" for side in ("brute_force", "ours", "monai")}
        words = [sys.executable, "-m", "benchmarks.inference", *arguments, "--network", network]
        commands = {side: [*words, "--side", side, "--out-array", files[side]] for side in ("brute_force", "ours")}
        if peer:
            numbers = map(str, [*wanted.shape, *wanted.patch, wanted.classes, wanted.batch])
            commands["monai"] = [peer, peer_script("inference"), network, files["monai"], *numbers]
        found = in_turn(commands, wanted.repeats)
        result: dict[str, Any] = {"sides": {side: summaries(entries) for side, entries in found.items()}}
        result["difference_from_brute_force"] = _apart(files["ours"], files["brute_force"])
        if peer and network == "free":  # convolutions have weights of their own there
            result["difference_from_monai"] = _apart(files["ours"], files["monai"])
    ours = result["sides"]["ours"]
    for side in commands:
        if side != "ours":
            theirs = result["sides"][side]
            result[f"{side}_to_ours"] = {
                name: round(theirs[name]["median"] / max(ours[name]["median"], 1e-3), 2) for name in SHOWN
            }
    return result


def _apart(first: str, second: str) -> float:
    answers = [np.load(file, mmap_mode="r") for file in (first, second)]
    return max(float(np.abs(a - b).max()) for a, b in zip(*answers, strict=True))


def _measure(wanted: argparse.Namespace) -> dict[str, Any]:
    volume = np.random.default_rng(SEED).normal(size=(*wanted.shape, 1)).astype(np.float32)
    windows = Windows(patch=tuple(wanted.patch))
    batch = wanted.batch if wanted.side == "ours" else 1
    predict = _NETWORKS[wanted.network](wanted.classes, windows.patch, batch)
    predict(np.zeros((batch, *windows.patch, 1), np.float32))
    answers: list[np.ndarray] = []

    def work() -> None:
        if wanted.side == "ours":
            answers.append(sliding_window(volume, predict, windows=windows, batch_size=batch))
        else:
            answers.append(brute_force(volume, predict, windows))

    found = measured(work)
    np.save(wanted.out_array, answers[0])
    return found


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


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1:])))
