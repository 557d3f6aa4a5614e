"""Preparation against the plain way: nibabel, a loop over slices, OpenCV, PNG files.

`python -m benchmarks preparation` writes 8 synthetic LiTS volumes of 64 x 512 x 512 (uncompressed, as LiTS is), then
times each side in processes of its own: both read the same files from a warm page cache and write to the same disk.
"""

import argparse
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import cv2
import joblib
import nibabel
import numpy as np

from data_generators.manifest import label_lut
from data_preparation.case import Recipe
from data_preparation.collections import SourceOptions, open_collection
from data_preparation.phantom import phantom_numbers, write_phantom
from data_preparation.pipeline import prepare_collection
from data_preparation.slices_png import SliceFolders, prepare_slices

SIZE, SPACING_MM, SEED = (64, 512, 512), (2.5, 0.75, 0.75), 5
HEIGHT = WIDTH = 320
WINDOW_HU = (-200.0, 250.0)
TARGET = 5.0
QUICK = ("--volumes", "3", "--size", "8", "48", "48", "--repeats", "1")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures both sides alternately and returns seconds (all and median), their ratio, peak memory and sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks preparation")
    parser.add_argument("--volumes", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=3, default=SIZE, metavar=("D", "H", "W"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="of our side; 0 means one per core")
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        raw = _volumes(pathlib.Path(folder) / "raw", wanted.volumes, wanted.size)
        sides = {"reference": 1, "ours": wanted.workers, "ours_png": wanted.workers, "ours_one_worker": 1}
        measured: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(wanted.repeats):
            for side, workers in sides.items():
                measured[side].append(_measure(side, raw, pathlib.Path(folder) / side, workers))
        megabytes = sum(path.stat().st_size for path in raw.glob("volume-*.nii")) / 2**20
    medians = {side: statistics.median(entry["seconds"] for entry in entries) for side, entries in measured.items()}
    found = {side: _summary(entries) for side, entries in measured.items()}
    ratio = {side: round(medians["reference"] / medians[side], 2) for side in sides if side != "reference"}
    shown = ("median_seconds", "spread", "median_cpu_seconds", "peak_megabytes")
    return {
        "benchmark": "preparation",
        "volumes": wanted.volumes,
        "size": list(wanted.size),
        "megabytes_of_volumes": round(megabytes, 1),
        "sides": found,
        "ratio": ratio,
        "target_ratio": TARGET,
        "table": [
            {"side": side, **{name: entry[name] for name in shown}, "ratio": ratio.get(side)}
            for side, entry in found.items()
        ],
    }


def prepare_plainly(raw: pathlib.Path, target: pathlib.Path) -> None:
    """The reference: nibabel, a quarter turn, and for every slice its neighbours, window, resize and two PNG files."""
    low, high = WINDOW_HU
    for path in sorted(raw.glob("volume-*.nii")):
        number = path.stem.split("-")[1]
        scan = np.rot90(nibabel.load(path).get_fdata())
        mask = np.rot90(nibabel.load(raw / f"segmentation-{number}.nii").get_fdata())
        last = scan.shape[2] - 1
        for index in range(last + 1):
            picture = np.dstack([scan[:, :, min(max(at, 0), last)] for at in (index + 1, index, index - 1)])
            picture = (np.clip(picture, low, high) - low) / (high - low) * 255
            picture = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(target / f"image_{number}_{index}.png"), picture.astype(np.uint8))
            label = cv2.resize(mask[:, :, index], (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(target / f"mask_{number}_{index}.png"), label.astype(np.uint8))


def prepare_ours(raw: pathlib.Path, target: pathlib.Path, workers: int, *, png: bool) -> None:
    """Our side, as `prepare.py` runs it, hashes of the sources and the foreground index included."""
    collection = open_collection("lits", SourceOptions(source=raw))
    recipe = Recipe(HEIGHT, WIDTH, WINDOW_HU)
    if png:
        pairs = [(target / part / "images", target / part / "mask") for part in ("train", "val", "test")]
        table, _ = label_lut(collection.labels)
        outcome = prepare_slices(
            collection, SliceFolders(target, *pairs), recipe, table=table, workers=workers, progress=False
        )
    else:
        outcome = prepare_collection(collection, target, recipe, workers=workers, progress=False)
    if outcome.failures:
        raise RuntimeError(f"preparation failed: {outcome.failures}")


def _volumes(folder: pathlib.Path, count: int, size: Sequence[int]) -> pathlib.Path:
    folder.mkdir()
    joblib.Parallel(n_jobs=-1)(
        joblib.delayed(write_phantom)(
            folder / f"volume-{number}.nii", size=size, spacing_mm=SPACING_MM, seed=SEED, fixed_depth=True
        )
        for number in phantom_numbers(count)
    )
    return folder


def _measure(side: str, raw: pathlib.Path, target: pathlib.Path, workers: int) -> dict[str, float]:
    target.mkdir()
    command = [sys.executable, "-m", "benchmarks.preparation", side, str(raw), str(target), str(workers)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(target)
    return json.loads(answer)


def _summary(entries: Sequence[dict[str, float]]) -> dict[str, Any]:
    seconds = [round(entry["seconds"], 3) for entry in entries]
    return {
        "seconds": seconds,
        "median_seconds": statistics.median(seconds),
        "spread": round((max(seconds) - min(seconds)) / statistics.median(seconds), 3),
        "median_cpu_seconds": round(statistics.median(entry["cpu_seconds"] for entry in entries), 3),
        "peak_megabytes": round(max(entry["peak_megabytes"] for entry in entries), 1),
    }


def _one_side(side: str, raw: str, target: str, workers: str) -> None:
    """What a process of its own does: one side, its time without start-up, its peak memory."""
    start, cpu = time.perf_counter(), time.process_time()
    if side == "reference":
        prepare_plainly(pathlib.Path(raw), pathlib.Path(target))
    else:
        prepare_ours(pathlib.Path(raw), pathlib.Path(target), int(workers), png=side == "ours_png")
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_megabytes": peak}))


if __name__ == "__main__":
    _one_side(*sys.argv[1:5])
