"""How fast a depthwise 3D convolution runs in each execution: `python -m benchmarks depthwise`.

Forward and forward with backward, compiled by the backend as training compiles them, on grids of the universal U-Net.
The executions take turns, so that other work on the machine slows all of them.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.measure import summary

GRIDS = ((32, 64, 64, 16), (32, 32, 32, 32), (8, 8, 8, 256), (4, 4, 4, 512))
EXECUTIONS = ("slices", "shifted", "grouped")
QUICK = ("--grids", "1", "--repeats", "1", "--executions", "slices")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures every execution on every grid.

    Args:
        arguments: `--repeats N` (median of so many), `--grids N` (the first so many grids), `--executions A,B` (these
            only), `--xla` (TensorFlow compiles by XLA, as JAX always does).

    Returns:
        Per grid `d x h x w x c` and execution the median milliseconds, and the fastest forward and with backward;
        backend, devices and whether XLA compiled.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks depthwise")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--grids", type=int, default=len(GRIDS))
    parser.add_argument("--executions", type=lambda text: text.split(","), default=EXECUTIONS)
    parser.add_argument("--xla", action="store_true")
    wanted = parser.parse_args(arguments)
    import keras

    xla = wanted.xla or keras.backend.backend() == "jax"
    measured: dict[str, Any] = {}
    for grid in GRIDS[: wanted.grids]:
        sides = _times(grid, wanted.executions, wanted.repeats, xla=xla)
        fastest = {kind: min(sides, key=lambda side: sides[side][kind]) for kind in ("forward", "forward_backward")}
        measured["x".join(map(str, grid))] = {**sides, "fastest": fastest}
    return {
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices(),
        "xla": xla,
        "milliseconds": measured,
        "table": [
            {"grid": grid, "execution": name, **sides[name]}
            for grid, sides in measured.items()
            for name in wanted.executions
        ],
    }


def _times(grid: tuple[int, ...], executions: Sequence[str], repeats: int, *, xla: bool) -> dict[str, dict[str, float]]:
    import numpy as np

    batch = np.random.default_rng(0).standard_normal((1, *grid)).astype(np.float32)
    models = {execution: _model(grid, execution, xla=xla) for execution in executions}
    forward = _medians({name: lambda m=model: m.predict_on_batch(batch) for name, model in models.items()}, repeats)
    both = _medians({name: lambda m=model: m.train_on_batch(batch, batch) for name, model in models.items()}, repeats)
    return {
        name: {
            "forward": forward[name]["median"],
            "forward_spread": forward[name]["spread"],
            "forward_backward": both[name]["median"],
            "forward_backward_spread": both[name]["spread"],
        }
        for name in models
    }


def _model(grid: tuple[int, ...], execution: Any, *, xla: bool) -> Any:
    import keras

    from models.depthwise import DepthwiseConv3D

    image = keras.Input(grid)
    model = keras.Model(image, DepthwiseConv3D(3, execution=execution)(image))
    model.compile(keras.optimizers.SGD(1e-6), "mse", jit_compile=xla)
    return model


def _medians(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, Any]]:
    """Milliseconds of each call and their spread; one of each per round, the first round is not counted."""
    milliseconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            milliseconds[name].append(1000 * (time.perf_counter() - started))
    return {name: summary(times[1:], digits=2) for name, times in milliseconds.items()}
