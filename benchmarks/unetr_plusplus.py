"""UNETR++ forward on the processor against PyTorch: one patch, batch 1, full-resolution logits.

`python -m benchmarks unetr_plusplus --peers PYTHON` measures both sides in turn, each in a process of its own with the
same weights, image and number of threads, and compares their logits. PYTHON has PyTorch; without `--peers` only ours is
measured. Seconds are medians over all passes; memory is the peak of the passes above the loaded network, which
TensorFlow has traced (some 60 MB), and of the whole process (TensorFlow's libraries alone take hundreds of MB more than
PyTorch's).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHAPES: Mapping[str, tuple[tuple[int, int, int], int, int]] = {
    "synapse": ((64, 128, 128), 1, 14),
    "acdc": ((16, 160, 160), 1, 4),
    "lung": ((32, 192, 192), 1, 2),
    "brats": ((128, 128, 128), 4, 4),
}
"""Preset to patch, channels and classes."""
SEED = 5
QUICK = ("--rounds", "1", "--repeats", "1")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Seconds, processor seconds and memory of both sides, and the largest difference of their logits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks unetr_plusplus")
    parser.add_argument("--preset", choices=SHAPES, default="synapse")
    parser.add_argument("--repeats", type=int, default=3, help="passes of each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peers", help="a Python with PyTorch")
    parser.add_argument("--ours", nargs=3, help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.ours:
        return _measure(wanted)
    shape, channels, classes = SHAPES[wanted.preset]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        files = [f"{folder}/{name}" for name in ("weights.npz", "image.npy", "answer.npy", "peer.npy")]
        _draw(wanted.preset, files)
        sides: dict[str, list[dict[str, Any]]] = {"ours": []}
        for _ in range(wanted.rounds):
            sides["ours"].append(_once(_our_command(wanted, files[:3])))
            if wanted.peers:
                sides.setdefault("pytorch", []).append(_once(_peer_command(wanted, [*files[:2], files[3]])))
        result: dict[str, Any] = {
            "benchmark": "unetr_plusplus",
            "preset": wanted.preset,
            "patch": [*shape, channels],
            "classes": classes,
            "threads": wanted.threads,
            **{side: _medians(measured) for side, measured in sides.items()},
        }
        result["table"] = [{"side": side, **result[side]} for side in sides]
        if wanted.peers:
            ours, theirs = np.moveaxis(np.load(files[2]), -1, 1), np.load(files[3])
            result["largest_difference"] = float(np.abs(ours - theirs).max() / theirs.std())
            result["pytorch_over_ours"] = {
                name: round(result["pytorch"][name] / max(result["ours"][name], 1e-3), 2) for name in result["ours"]
            }
    return result


def _draw(preset: str, files: Sequence[str]) -> None:
    """Writes weights that make every part count (a fresh network's attention is scaled by 1e-6), and an image."""
    from models.state_dicts import to_state_dict

    rng = np.random.default_rng(SEED)
    drawn: dict[str, np.ndarray] = {}
    for key, value in to_state_dict(_network(preset)).items():
        kernel = value.ndim > 1 and not key.endswith(("temperature", "temperature2"))
        around = 1.0 if value.ndim == 1 and key.endswith(("weight", "gamma", "running_var")) else 0.0
        scale = float(np.prod(value.shape[1:]) ** -0.5) if kernel else 0.1
        noise = rng.standard_normal(value.shape, np.float32) * np.float32(scale)
        drawn[key] = value if "temperature" in key else np.float32(around) + noise
    drawn |= {key: drawn[key.replace("epa_block.F", "epa_block.E")] for key in drawn if preset == "synapse"}
    np.savez(files[0], **drawn)  # type: ignore[arg-type]
    shape, channels, _ = SHAPES[preset]
    np.save(files[1], rng.standard_normal((1, channels, *shape), np.float32))


def _network(preset: str) -> Any:
    from models import build_model

    shape, channels, classes = SHAPES[preset]
    return build_model("unetr_plusplus", input_shape=(*shape, channels), num_classes=classes, preset=preset)


def _our_command(wanted: argparse.Namespace, files: Sequence[str]) -> list[str]:
    numbers = ["--repeats", str(wanted.repeats), "--threads", str(wanted.threads)]
    own = ["--preset", wanted.preset, *numbers, "--ours", *files]
    return [sys.executable, "-m", "benchmarks", "unetr_plusplus", *own]


def _peer_command(wanted: argparse.Namespace, files: Sequence[str]) -> list[str]:
    script = pathlib.Path(__file__).with_name("unetr_plusplus_peer.py")
    return [wanted.peers, str(script), wanted.preset, *files, str(wanted.repeats), str(wanted.threads)]


def _once(command: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} {command[1]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


def _medians(measured: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    times = ("seconds", "processor_seconds")
    found = {name: statistics.median([value for one in measured for value in one[name]]) for name in times}
    memory = {name: statistics.median([one[name] for one in measured]) for name in ("forward_mb", "process_mb")}
    return {**{name: round(value, 3) for name, value in found.items()}, **{k: round(v) for k, v in memory.items()}}


def _measure(wanted: argparse.Namespace) -> dict[str, Any]:
    """Our side, as predict.py runs it: compiled once, then passes."""
    import keras

    from benchmarks.measure import peak_mb, reset_peak_mb
    from inference.network import compute
    from models import inference_model
    from models.state_dicts import load_state_dict

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(wanted.threads)
        tf.config.threading.set_inter_op_parallelism_threads(wanted.threads)
    weights, image, out = wanted.ours
    whole = _network(wanted.preset)
    with np.load(weights) as stored:
        load_state_dict(whole, stored)
    network = inference_model(whole)
    batch = np.moveaxis(np.load(image), 1, -1).copy()
    seconds, processor = list[float](), list[float]()
    if keras.backend.backend() == "tensorflow":  # tracing is loading
        network.make_predict_function()
        network.predict_function.get_concrete_function([(tf.constant(batch),)])  # type: ignore[union-attr]
    idle = reset_peak_mb()
    answer = compute(network, batch)
    for _ in range(wanted.repeats):
        answer = None  # both sides hold one answer at a time
        wall, cpu = time.perf_counter(), time.process_time()
        answer = compute(network, batch)
        seconds.append(time.perf_counter() - wall)
        processor.append(time.process_time() - cpu)
    peak = peak_mb()
    np.save(out, answer)
    return {"seconds": seconds, "processor_seconds": processor, "forward_mb": peak - idle, "process_mb": peak}
