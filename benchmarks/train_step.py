"""A training step and a forward pass of every model, with mixed precision and XLA on and off.

`python -m benchmarks train_step --models unet3plus --batch 2 --option "filters=[16,32,64,128,256]"`. Each combination
runs in a process of its own, through `fit` as train.py does it: batches are on the host, the update is included, and a
step ends when its loss is known. `KERAS_BACKEND=jax` measures JAX, which always compiles.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHAPES: Mapping[str, tuple[int, ...]] = {
    "unet3plus": (320, 320, 3),
    "unet3plus_deepsup_cgm": (320, 320, 3),
    "unetplusplus": (256, 256, 3),
    "unet": (256, 256, 3),
    "resenc_unet": (256, 256, 3),
    "unetr_plusplus": (64, 128, 128, 1),
}
CLASSES, UNCOUNTED = 2, 2
COMBINATIONS = ((False, False), (True, False), (False, True), (True, True))


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures; medians and quartiles in milliseconds, samples per second, and what it ran on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks train_step")
    parser.add_argument("--models", nargs="+", default=["unet3plus"], choices=SHAPES, metavar="MODEL")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, nargs="+", help="spatial size instead of the usual one")
    parser.add_argument("--steps", type=int, default=10, help="measured after two that compile")
    parser.add_argument("--option", action="append", default=[], help="of the model, such as filters=[8,16,32,48,64]")
    parser.add_argument("--amp", choices=("on", "off"), help=argparse.SUPPRESS)
    parser.add_argument("--xla", choices=("on", "off"), help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.amp:
        return _measure(wanted)
    combinations = COMBINATIONS
    if os.environ.get("KERAS_BACKEND") == "jax":
        combinations = ((False, True), (True, True))
    measured = [
        _in_process([*arguments, "--models", model], amp=amp, xla=xla)
        for model in wanted.models
        for amp, xla in combinations
    ]
    machines = [{key: entry.pop(key, None) for key in ("hardware", "versions")} for entry in measured]
    return {"benchmark": "train_step", "batch": wanted.batch, "steps": wanted.steps, **machines[0], "results": measured}


def _in_process(arguments: list[str], *, amp: bool, xla: bool) -> dict[str, Any]:
    words = ["--amp", "on" if amp else "off", "--xla", "on" if xla else "off"]
    command = [sys.executable, "-m", "benchmarks", "train_step", *arguments, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"amp": amp, "xla": xla, "failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout[done.stdout.index("{") :])


class _Repeated:
    """One batch, again and again."""

    def __init__(self, image: np.ndarray, label: np.ndarray, steps: int) -> None:
        self.batch, self.steps, self.epoch, self.batch_size = (image, label), steps, 0, len(image)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < self.steps:
            raise IndexError(index)
        return self.batch

    def names(self, index: int) -> list[str]:
        """Nothing to name."""
        del index
        return []


def _measure(wanted: argparse.Namespace) -> dict[str, Any]:
    import keras

    from losses import build_loss
    from losses.objective import Objective
    from models import build_model, inference_model
    from training.assembly import assemble
    from training.feeds import Feed
    from training.optimizers import OptimizerChoice
    from training.record import hardware, versions
    from training.runtime import start_runtime

    model_type = wanted.models[0]
    *size, channels = SHAPES[model_type]
    shape = (*(wanted.size or size), channels)
    options = {name: ast.literal_eval(value) for name, value in (text.split("=", 1) for text in wanted.option)}
    runtime = start_runtime(amp=wanted.amp == "on", xla=wanted.xla == "on", seed=0)
    model = assemble(
        lambda: build_model(model_type, input_shape=shape, num_classes=CLASSES, **options),
        Objective(build_loss("dice_ce")),
        class_names=["foreground"],
        ignore_label=255,
        optimizer=OptimizerChoice("adam"),
        learning_rate=1e-4,
        runtime=runtime,
    )
    rng = np.random.default_rng(0)
    image = rng.random((wanted.batch, *shape), np.float32)
    label = rng.integers(0, CLASSES, (wanted.batch, *shape[:-1], 1), np.uint8)
    ends: list[float] = []

    def note(batch: int, logs: Any = None) -> None:
        del batch
        float((logs or {})["loss"])
        ends.append(time.perf_counter())

    steps = wanted.steps + UNCOUNTED
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    model.fit(Feed(_Repeated(image, label, steps)), steps_per_epoch=steps, callbacks=[callback], verbose=0)
    network = inference_model(model.network)
    network.jit_compile = runtime.xla
    forward = [_seconds(lambda: network.predict_on_batch(image)) for _ in range(steps)][UNCOUNTED:]
    return {
        "model": model_type,
        "shape": list(shape),
        "parameters": int(model.network.count_params()),
        "backend": runtime.backend,
        "amp": runtime.precision,
        "xla": runtime.xla,
        "step": _summary(np.diff(ends)[UNCOUNTED - 1 :], wanted.batch),
        "forward": _summary(np.array(forward), wanted.batch),
        "hardware": hardware(runtime),
        "versions": versions(),
    }


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _summary(seconds: np.ndarray, samples: int) -> dict[str, float]:
    low, median, high = (float(value) for value in np.percentile(seconds, [25, 50, 75]))
    return {
        "median_ms": round(1e3 * median, 2),
        "quartiles_ms": [round(1e3 * low, 2), round(1e3 * high, 2)],  # type: ignore[dict-item]
        "samples_per_s": round(samples / median, 2),
    }
