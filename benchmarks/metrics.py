"""Every metric of a CT of 512 x 512 x 400 with 14 classes on one core, against MONAI's metrics on the same masks.

`python -m benchmarks metrics [--peers PYTHON]`. Ours computes, of every class: overlap, volumes, boundary IoU, HD,
HD95, ASSD, surface Dice at two tolerances, lesions matched one to one; the counts that pooled scores are made of; and
calibration of every class and of the decision over the whole volume, from probabilities that are made slab by slab
(making them is not counted). MONAI computes Dice, IoU, HD95 and surface Dice at the same tolerances, the latter as
DeepMind's surface-distance does (`use_subvoxels`), which is ours as well; its HD95 runs between voxels of the edges and
differs by up to a voxel. Both sides use one core, in processes of their own; reading the files is not counted.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.measure import answer, in_turn, peak_mb, peer_python, peer_script, reset_peak_mb, summaries

SHAPE, CLASSES, SPACING_MM, TOLERANCE_MM, SEED = (400, 512, 512), 14, (1.0, 0.8, 0.8), (1.0, 2.0), 5
TARGET_SECONDS = 20.0
QUICK = ("--shape", "24", "32", "32", "--classes", "3", "--repeats", "1")
_SLICES = 4
COMPARED = ("dice", "iou", "hd95", "nsd_1mm", "nsd_2mm")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Seconds of both sides, of every part of ours, and the largest difference of every common value."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks metrics")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("D", "H", "W"))
    parser.add_argument("--classes", type=int, default=CLASSES, help="of organs, the background not counted")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", help="a Python with PyTorch and MONAI")
    parser.add_argument("--peer-repeats", type=int, default=1, help="MONAI takes minutes")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.side:
        return _side(wanted)
    peer = peer_python(wanted.peers, "monai", "torch")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        command = [sys.executable, "-m", "benchmarks.metrics", *arguments, "--folder", folder, "--side"]
        answer([*command, "make"])
        sides = {"ours": [*command, "ours"]}
        if peer:
            numbers = map(str, [*SPACING_MM, wanted.classes, *TOLERANCE_MM])
            sides["monai"] = [peer, peer_script("metrics"), folder, *numbers]
        entries = in_turn(sides, wanted.repeats, fewer={"monai": wanted.peer_repeats}, OMP_NUM_THREADS="1")
    return _result(wanted, entries)


def _result(wanted: argparse.Namespace, entries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    scores = {side: found[0]["scores"] for side, found in entries.items()}
    sides = {side: summaries([_numbers(entry) for entry in found]) for side, found in entries.items()}
    result: dict[str, Any] = {
        "benchmark": "metrics",
        "shape": list(wanted.shape),
        "classes": wanted.classes,
        "spacing_mm": list(SPACING_MM),
        "sides": sides,
        "target_seconds": TARGET_SECONDS,
        "table": [row for side, numbers in sides.items() for row in _rows(side, numbers)],
    }
    if "monai" in sides:
        ratio = sides["monai"]["cpu_seconds"]["median"] / sides["ours"]["cpu_seconds"]["median"]
        result["ratio_of_processor_seconds"] = round(ratio, 2)
        result["largest_difference"] = {name: _apart(scores["ours"], scores["monai"], name) for name in COMPARED}
    return result


def _rows(side: str, numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for the whole and one for each part."""
    rows: list[dict[str, Any]] = []
    for name in numbers:
        if name.endswith("seconds") and not name.endswith("cpu_seconds"):
            part = name.removesuffix("seconds")
            found = {kind: numbers[f"{part}{kind}"]["median"] for kind in ("seconds", "cpu_seconds")}
            rows.append(
                {"side": side, "part": part.strip("_") or "everything", **found, "spread": numbers[name]["spread"]}
            )
    whole = next(row for row in rows if row["part"] == "everything")
    whole["peak_mb"] = numbers["peak_mb"]["median"]
    return [whole, *(row for row in rows if row is not whole)]


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if name != "scores"}


def _apart(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> float:
    return max(abs(ours[label][name] - theirs[label][name]) for label in ours)


def _side(wanted: argparse.Namespace) -> dict[str, Any]:
    if wanted.side == "make":
        write_masks(wanted.folder, shape=tuple(wanted.shape), classes=wanted.classes)
        return {}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    reference, prediction = (np.load(wanted.folder / f"{name}.npy") for name in ("reference", "prediction"))
    before = reset_peak_mb()
    found = everything(reference, prediction)
    return {**found, "peak_mb": peak_mb() - before}


def write_masks(folder: pathlib.Path, *, shape: Sequence[int], classes: int) -> None:
    """Reference and prediction, uint8 `(d, h, w)`: ellipsoids with uneven surfaces, specks far away in every third."""
    rng = np.random.default_rng(SEED)
    reference, prediction = (np.zeros(shape, np.uint8) for _ in range(2))
    for value in range(1, classes + 1):
        radii = np.array(shape) * rng.uniform(0.04, 0.17, 3)
        middle = [rng.uniform(r, n - r) for r, n in zip(radii, shape, strict=True)]
        ends = zip(middle, radii, shape, strict=True)
        box = tuple(slice(max(0, int(m - 1.3 * r)), min(n, int(m + 1.3 * r) + 2)) for m, r, n in ends)
        grids = np.meshgrid(*(np.arange(b.start, b.stop) for b in box), indexing="ij", sparse=True)
        distance: Any = sum(((g - m) / r) ** 2 for g, m, r in zip(grids, middle, radii, strict=True))
        distance += 0.25 * _smooth(rng, distance.shape, 12)
        reference[box][distance < 1] = value
        prediction[box][distance + 0.08 * _smooth(rng, distance.shape, 30) < 1] = value
        if value % 3 == 0:
            corner = [int(rng.integers(n - 3)) for n in shape]
            prediction[tuple(slice(c, c + 3) for c in corner)] = value
    np.save(folder / "reference.npy", reference)
    np.save(folder / "prediction.npy", prediction)


def _smooth(rng: np.random.Generator, shape: Sequence[int], points: int) -> np.ndarray:
    from imaging.resampling import resample_image

    coarse = rng.standard_normal([min(points, n) for n in shape], np.float32)
    return resample_image(coarse, (shape[0], shape[1], shape[2]), order=1)


class Clock:
    """Seconds of named parts of a work."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        """Does the work and adds its processor seconds to the part."""
        clock, processor = time.perf_counter(), time.process_time()
        done = work()
        for kind, passed in (
            ("seconds", time.perf_counter() - clock),
            ("cpu_seconds", time.process_time() - processor),
        ):
            for part in (f"{name}_{kind}", kind):
                self.spent[part] = self.spent.get(part, 0.0) + passed
        return done


def everything(reference: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
    """Scores one case; seconds of each part and together, and the scores that MONAI has too."""
    from metrics.calibration import class_reliability
    from metrics.cases import case_metrics, class_masks
    from metrics.lesions import match_lesions
    from metrics.overlap import count_classes

    clock = Clock()
    names = {value: f"organ {value}" for value in range(1, int(reference.max()) + 1)}
    classes = {name: (value,) for value, name in names.items()}
    options: dict[str, Any] = {"spacing_mm": SPACING_MM, "tolerance_mm": TOLERANCE_MM, "labels": names}
    scores = clock.run("overlap_and_surfaces", lambda: case_metrics(reference, prediction, **options))
    clock.run("pooled_counts", lambda: count_classes(reference, prediction, classes))
    clock.run(
        "lesions",
        lambda: [
            match_lesions(*masks, spacing_mm=SPACING_MM) for _, masks in class_masks(reference, prediction, classes)
        ],
    )
    rng = np.random.default_rng(SEED)
    for start in range(0, len(reference), _SLICES):
        truth = reference[start : start + _SLICES]
        sure = _probabilities(prediction[start : start + _SLICES], len(names) + 1, rng)
        clock.run("calibration", lambda sure=sure, truth=truth: class_reliability(sure, truth))
    kept = {label: {name: values[name] for name in COMPARED} for label, values in scores.items()}
    return {**clock.spent, "scores": kept}


def _probabilities(label: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Softmax-like probabilities `(*s, k)` float32 that agree with the label; making them is not counted."""
    odds = rng.random((*label.shape, classes), np.float32) ** 8
    np.put_along_axis(odds, label[..., None].astype(np.intp), 20.0, -1)
    return odds / odds.sum(-1, keepdims=True)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1:])))
