"""How fast a depthwise 3D convolution runs in each execution: `python -m benchmarks depthwise`.

Forward and forward with backward, compiled by the backend as training compiles them, on grids of the universal U-Net.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

GRIDS = ((32, 64, 64, 16), (32, 32, 32, 32), (8, 8, 8, 256), (4, 4, 4, 512))
EXECUTIONS = ("slices", "shifted", "grouped")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures every execution on every grid.

    Args:
        arguments: `--repeats N` (median of so many), `--grids N` (the first so many grids).

    Returns:
        Per grid `d x h x w x c` and execution the median milliseconds, and the fastest; backend and device.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks depthwise")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--grids", type=int, default=len(GRIDS))
    wanted = parser.parse_args(arguments)
    import keras

    result: dict[str, Any] = {
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices(),
        "milliseconds": {},
    }
    for grid in GRIDS[: wanted.grids]:
        sides = {execution: _times(grid, execution, wanted.repeats) for execution in EXECUTIONS}
        fastest = min(sides, key=lambda side: sides[side]["forward_backward"])
        result["milliseconds"]["x".join(map(str, grid))] = {**sides, "fastest": fastest}
    return result


def _times(grid: tuple[int, ...], execution: Any, repeats: int) -> dict[str, float]:
    import keras
    import numpy as np

    from models.depthwise import DepthwiseConv3D

    image = keras.Input(grid)
    model = keras.Model(image, DepthwiseConv3D(3, execution=execution)(image))
    model.compile(keras.optimizers.SGD(1e-6), "mse", jit_compile=keras.backend.backend() == "jax")
    batch = np.random.default_rng(0).standard_normal((1, *grid)).astype(np.float32)
    forward = _median(lambda: model.predict_on_batch(batch), repeats)
    return {"forward": forward, "forward_backward": _median(lambda: model.train_on_batch(batch, batch), repeats)}


def _median(call: Callable[[], Any], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return round(1000 * statistics.median(seconds), 2)
