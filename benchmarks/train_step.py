"""A training step and a forward pass of every model, with mixed precision and XLA on and off, fed by any loader.

`python -m benchmarks train_step --models unet3plus --batch 2 --option "filters=[16,32,64,128,256]"`. Each combination
runs in a process of its own, through `fit` as train.py does it: batches are on the host, the update is included, and a
step ends when its loss is known. `--loader` reads batches from a prepared collection (random, written for it) as
training does; without it one batch is repeated. `KERAS_BACKEND=jax` measures JAX, which always compiles:

    KERAS_BACKEND=jax python -m benchmarks train_step --models unet3plus --size 320 320 --batch 16 --amp on \\
        --steps 50 --peak-tflops 989

`--peers PYTHON`, a Python with PyTorch and nnU-Net's `dynamic_network_architectures`, measures the same networks there
in float32 with as many threads, once per model, and the ratios. UNet 3+, `unet` and `resenc_unet` have one,
unless an option changes their layers.

`host_peak_mb` is the memory of the steps above that of the idle network, where no GPU holds it; `--remat` lowers it.
`--peak-tflops` is the chip's dense peak in bfloat16 (989 for H100 and H200, 312 for A100). The share of it counts two
operations for each multiply-add of one forward pass, three times as many for a step.
"""

import argparse
import ast
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.measure import answer, peak_mb, peer_python, peer_script, reset_peak_mb

SHAPES: Mapping[str, tuple[int, ...]] = {
    "unet3plus": (320, 320, 3),
    "unet3plus_deepsup": (320, 320, 3),
    "unet3plus_deepsup_cgm": (320, 320, 3),
    "unetplusplus": (256, 256, 3),
    "unet": (256, 256, 3),
    "resenc_unet": (256, 256, 3),
    "unetr_plusplus": (64, 128, 128, 1),
    "universal_unet": (64, 64, 64, 1),
}
CLASSES, UNCOUNTED = 2, 2
PARTS = ("step", "forward")
EXECUTION = ("decoder_upsampling", "convolution")
PEERS = ("unet3plus", "unet", "resenc_unet")
SWITCH: Mapping[str, tuple[bool, ...]] = {"on": (True,), "off": (False,), "both": (False, True)}
QUICK = ("--models", "unet", "--size", "16", "16", "--batch", "2", "--steps", "2", "--option", "filters=[4,4]")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures; medians and quartiles in milliseconds, samples per second, and what it ran on."""
    wanted = _parser().parse_args(arguments)
    if wanted.here:
        return _measure(wanted)
    jax = os.environ.get("KERAS_BACKEND") == "jax"
    combinations = [(amp, xla) for xla in (SWITCH["on"] if jax else SWITCH[wanted.xla]) for amp in SWITCH[wanted.amp]]
    measured = [
        _in_process([*arguments, "--models", model], amp=amp, xla=xla)
        for model in wanted.models
        for amp, xla in combinations
    ]
    peer = peer_python(wanted.peers, "torch", "dynamic_network_architectures")
    same_network = all(words.split("=", 1)[0] in EXECUTION for words in wanted.option)
    theirs: dict[str, dict[str, Any]] = {}
    for entry in measured:
        model = entry["model"]
        if peer and same_network and model in PEERS and "failed" not in entry:
            theirs[model] = theirs.get(model) or _peer(peer, entry, wanted)
            entry["peer"] = {**theirs[model], **_ratios(entry, theirs[model])}
    machines = [{key: entry.pop(key, None) for key in ("hardware", "versions")} for entry in measured]
    known = next((found for found in machines if found["hardware"]), machines[0])
    return {
        "benchmark": "train_step",
        "batch": wanted.batch,
        "steps": wanted.steps,
        "loader": wanted.loader,
        **known,
        "results": measured,
        "table": [_row(entry) for entry in measured],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks train_step")
    parser.add_argument("--models", nargs="+", default=["unet3plus"], choices=SHAPES, metavar="MODEL")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, nargs="+", help="spatial size instead of the usual one; three are a volume")
    parser.add_argument("--steps", type=int, default=10, help="measured after two that compile")
    parser.add_argument("--option", action="append", default=[], help="of the model, such as filters=[8,16,32,48,64]")
    parser.add_argument("--loader", choices=("none", "sequence", "dali"), default="none", help="none repeats one batch")
    parser.add_argument("--amp", choices=SWITCH, default="both", help="mixed precision: bfloat16 where there is any")
    parser.add_argument("--xla", choices=SWITCH, default="both", help="compiled; JAX always is")
    parser.add_argument("--remat", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument("--peers", help="a Python with PyTorch and nnU-Net")
    parser.add_argument("--peak-tflops", type=float, help="the chip's peak, for the share of it that is reached")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


def _in_process(arguments: list[str], *, amp: bool, xla: bool) -> dict[str, Any]:
    words = ["--amp", "on" if amp else "off", "--xla", "on" if xla else "off", "--here"]
    code = "import json, sys; from benchmarks.train_step import run; print(json.dumps(run(sys.argv[1:])))"
    done = subprocess.run([sys.executable, "-c", code, *arguments, *words], check=False, capture_output=True, text=True)
    if done.returncode:
        model = arguments[-1]
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"model": model, "amp": "mixed" if amp else "float32", "xla": xla, "failed": reason}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _peer(python: str, entry: Mapping[str, Any], wanted: argparse.Namespace) -> dict[str, Any]:
    """PyTorch's summaries for the network of an entry; a step counts three times the operations of a forward pass."""
    numbers = [wanted.batch, wanted.steps, len(os.sched_getaffinity(0)), CLASSES, *entry["shape"]]
    said = answer([python, peer_script("train_step"), entry["model"], *map(str, numbers)])
    once = entry["tflop_per_pass"]
    step, forward = (
        _summary(np.array(said[part]), wanted.batch, tflop, None)
        for part, tflop in zip(PARTS, (3 * once, once), strict=True)
    )
    return {"parameters": said["parameters"], "step": step, "forward": forward}


def _ratios(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """How many times as long the peer takes."""
    return {f"{part}_ratio": round(theirs[part]["median_ms"] / ours[part]["median_ms"], 2) for part in PARTS}


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: entry.get(name) for name in ("model", "backend", "amp", "xla", "host_peak_mb")}
    for part in PARTS:
        found = entry.get(part, {})
        row |= {f"{part}_ms": found.get("median_ms"), f"{part}_samples_per_s": found.get("samples_per_s")}
        if "share_of_peak" in found:
            row[f"{part}_share_of_peak"] = found["share_of_peak"]
        if "peer" in entry:
            row[f"{part}_pytorch_ms"] = entry["peer"][part]["median_ms"]
    return row if "failed" not in entry else {**row, "failed": entry["failed"]}


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
    from models.costs import multiply_adds
    from training.record import hardware, versions
    from training.runtime import start_runtime

    model_type = wanted.models[-1]
    *size, channels = SHAPES[model_type]
    shape = (*(wanted.size or size), channels)
    runtime = start_runtime(amp=wanted.amp == "on", xla=wanted.xla == "on", seed=0)
    model = _model(model_type, shape, wanted, runtime)
    steps = wanted.steps + UNCOUNTED
    rng = np.random.default_rng(0)
    image = rng.random((wanted.batch, *shape), np.float32)
    label = rng.integers(0, CLASSES, (wanted.batch, *shape[:-1], 1), np.uint8)
    before = reset_peak_mb()
    ends = _fit(model, _stream(wanted, image, label, runtime), steps)
    above = round(peak_mb() - before)
    forward = _forward(model, image, steps, xla=runtime.xla)
    operations = 2e-12 * multiply_adds(model.network, shape[:-1])
    return {
        "model": model_type,
        "shape": list(shape),
        "parameters": int(model.network.count_params()),
        "tflop_per_pass": _digits(operations),
        "backend": runtime.backend,
        "amp": runtime.precision,
        "xla": runtime.xla,
        "host_peak_mb": above,
        "step": _summary(np.diff(ends)[UNCOUNTED - 1 :], wanted.batch, 3 * operations, wanted.peak_tflops),
        "forward": _summary(np.array(forward), wanted.batch, operations, wanted.peak_tflops),
        "hardware": hardware(runtime),
        "versions": versions(),
    }


def _model(kind: str, shape: tuple[int, ...], wanted: argparse.Namespace, runtime: Any) -> Any:
    from losses import build_loss
    from losses.objective import Objective
    from models import build_model
    from models.universal_unet import domain_model
    from training.assembly import assemble
    from training.optimizers import OptimizerChoice

    options: dict[str, Any] = {name: _value(text) for name, text in (words.split("=", 1) for words in wanted.option)}
    if kind == "universal_unet":  # a batch holds one domain
        options = {"domains": [{"name": "one", "channels": shape[-1], "classes": CLASSES}], **options}

    def network() -> Any:
        if kind == "universal_unet":
            return domain_model(build_model(kind, input_shape=shape[:-1], **options), "one")
        return build_model(kind, input_shape=shape, num_classes=CLASSES, **options)

    return assemble(
        network,
        Objective(build_loss("dice_ce")),
        class_names=["foreground"],
        ignore_label=255,
        optimizer=OptimizerChoice("adam"),
        learning_rate=1e-4,
        runtime=runtime,
        remat=wanted.remat,
    )


def _value(text: str) -> Any:
    """A number, a list or a word."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


@contextlib.contextmanager
def _stream(wanted: argparse.Namespace, image: np.ndarray, label: np.ndarray, runtime: Any) -> Generator[Any]:
    """What `fit` reads: one batch again and again, or batches of a loader from files."""
    from training.feeds import Feed
    from training.loaders import Batching, feed_of, training_loader

    steps = wanted.steps + UNCOUNTED
    if wanted.loader == "none":
        with Feed(_Repeated(image, label, steps)) as feed:
            yield feed
        return
    batching = Batching(loader=wanted.loader.upper(), batch_size=wanted.batch, steps_per_epoch=steps)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        source = _source(pathlib.Path(folder), image.shape[1:])
        loader = training_loader(source, batching, runtime=runtime)
        with feed_of(loader, batching, runtime=runtime)(0) as feed:
            yield feed


def _source(folder: pathlib.Path, shape: tuple[int, ...]) -> Any:
    """Random volumes as files: slices with their neighbours as channels, or patches."""
    from benchmarks.loader import write_volumes
    from data_generators.patches import PatchSource
    from data_generators.sources import SliceSource

    table = np.minimum(np.arange(256), CLASSES - 1).astype(np.uint8)
    if len(shape) == 3:
        root = write_volumes(folder, shape=(16, shape[0], shape[1]), cases=4)
        return SliceSource(root, slices=shape[-1], label_table=table)
    depth, rows, columns = shape[:3]
    root = write_volumes(folder, shape=(depth + 8, rows + 8, columns + 8), cases=4)
    return PatchSource(root, patch=shape[:3], label_table=table)


def _fit(model: Any, stream: Any, steps: int) -> list[float]:
    """When each step ended."""
    import keras

    ends: list[float] = []

    def note(batch: int, logs: Any = None) -> None:
        del batch
        float((logs or {})["loss"])
        ends.append(time.perf_counter())

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    with stream as batches:
        model.fit(batches, steps_per_epoch=steps, callbacks=[callback], verbose=0)
    return ends


def _forward(model: Any, image: np.ndarray, steps: int, *, xla: bool) -> list[float]:
    from models import inference_model

    network = inference_model(model.network)
    network.jit_compile = xla
    return [_seconds(lambda: network.predict_on_batch(image)) for _ in range(steps)][UNCOUNTED:]


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _summary(seconds: np.ndarray, samples: int, tflop: float, peak: float | None) -> dict[str, Any]:
    """Of one batch: `tflop` are the operations of one of its samples."""
    low, median, high = (float(value) for value in np.percentile(seconds, [25, 50, 75]))
    found: dict[str, Any] = {
        "median_ms": round(1e3 * median, 2),
        "quartiles_ms": [round(1e3 * low, 2), round(1e3 * high, 2)],
        "samples_per_s": round(samples / median, 2),
        "tflop_per_s": _digits(tflop * samples / median),
    }
    return found if peak is None else {**found, "share_of_peak": _digits(found["tflop_per_s"] / peak)}


def _digits(value: float) -> float:
    """The number with four significant digits."""
    return float(f"{value:.4g}")
