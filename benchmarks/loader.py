"""How fast batches are made from prepared volumes: `python -m benchmarks loader`.

Slices of 320 x 320 with both neighbours, shuffled, in batches of 16: the Sequence loader and DALI, without augmentation
and with nnU-Net's whole 2D recipe. Files are read from a warm page cache.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TARGETS = {"sequence": 800, "sequence_augmented": 150, "dali_augmented": 250}
SIDE, BATCH, CASES = 320, 16, 8
QUICK = ("--size", "32", "--repeats", "1", "--batches", "2", "--workers", "1")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures every loader in turn, `--repeats` times; images per second: all, median and spread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks loader")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, default=40, help="in each repeat")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=SIDE, help="rows and columns of a slice")
    parser.add_argument("--peers", help="not used here")
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        loaders = _loaders(
            write_volumes(pathlib.Path(folder), shape=(64, wanted.size, wanted.size), cases=CASES), wanted
        )
        speeds: dict[str, list[float]] = {name: [] for name in loaders}
        for _ in range(wanted.repeats):
            for name, loader in loaders.items():
                speeds[name].append(speed(loader))
    summaries = {name: summary(found) for name, found in speeds.items()}
    return {
        "benchmark": "loader",
        "unit": f"images of {wanted.size}x{wanted.size}x3 per second",
        "cores": len(os.sched_getaffinity(0)),
        "workers": wanted.workers,
        "speeds": summaries,
        "targets": TARGETS,
        "table": [
            {"loader": name, "images_per_s": found["median"], "spread": found["spread"], "target": TARGETS.get(name)}
            for name, found in summaries.items()
        ],
    }


def write_volumes(root: pathlib.Path, *, shape: tuple[int, int, int], cases: int, seed: int = 5) -> pathlib.Path:
    """A prepared collection of random float16 volumes `(d, h, w, 1)` with two classes, for speed only."""
    from data_generators.labels import locations_path
    from data_generators.manifest import save_manifest
    from data_generators.records import Case, Manifest
    from imaging.geometry import CaseGeometry
    from imaging.volume import Grid

    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    rng = np.random.default_rng(seed)
    entries: list[Case] = []
    for name in [f"case{number}" for number in range(cases)]:
        image = rng.random((*shape, 1), dtype=np.float32).astype(np.float16)
        label = (image[..., 0] > 0.9).astype(np.uint8) + (image[..., 0] > 0.99)
        index = {}
        for value in (1, 2):
            voxels = np.argwhere(label == value).astype(np.int32)
            index |= {f"voxels_{value}": voxels[:10000], f"slices_{value}": np.unique(voxels[:, 0])}
        files = {"images": image, "labels": label}
        for folder, array in files.items():
            (root / folder).mkdir(exist_ok=True)
            np.save(root / folder / f"{name}.npy", array)
        (root / locations_path(name)).parent.mkdir(exist_ok=True)
        np.savez(root / locations_path(name), **index)
        counts = {value: int(np.count_nonzero(label == value)) for value in (0, 1, 2)}
        geometry = CaseGeometry.of(Grid(shape, affine))
        paths = (f"images/{name}.npy", f"labels/{name}.npy")
        entries.append(Case(name, name, *paths, shape, 1, (1.0, 1.0, 1.0), affine, geometry, (), None, counts))
    labels = {0: "background", 1: "liver", 2: "tumor"}
    save_manifest(root, Manifest("random", labels, ["CT"], {"kind": "unit"}, tuple(entries)))
    return root


def recipe(name: str) -> dict[str, Any]:
    """One of the shipped augmentation recipes."""
    from omegaconf import OmegaConf

    path = pathlib.Path(__file__).resolve().parents[1] / "configs" / "augmentation" / f"{name}.yaml"
    return dict(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]


def speed(batches: Callable[[], Any]) -> float:
    """Samples per second over what `batches` gives; the first batch is not counted."""
    made = iter(batches())
    next(made)
    start, count = time.perf_counter(), 0
    for batch in made:
        count += len(batch[0])
    return count / (time.perf_counter() - start)


def summary(found: Sequence[float]) -> dict[str, Any]:
    """All values, their median, and how far the extremes are apart as a share of it."""
    median = statistics.median(found)
    return {
        "all": [round(value, 1) for value in found],
        "median": round(median, 1),
        "spread": round((max(found) - min(found)) / median, 3),
    }


def _loaders(root: pathlib.Path, wanted: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    from data_generators.augmentation import build_augmentation
    from data_generators.loaders import dali_installed, open_loader
    from data_generators.sources import SliceSource

    source = SliceSource(root)
    kinds = {"sequence": "SEQUENCE", "dali": "DALI"} if dali_installed() else {"sequence": "SEQUENCE"}
    made: dict[str, Callable[[], Any]] = {}
    for suffix, augment in (("", None), ("_augmented", build_augmentation(recipe("nnunet_2d")))):
        for name, kind in kinds.items():
            loader = open_loader(
                source,
                kind=kind,
                batch_size=BATCH,
                shuffle=True,
                augment=augment,
                workers=wanted.workers,
                threads=wanted.workers,
                steps_per_epoch=wanted.batches + 1,
            )
            made[name + suffix] = lambda loader=loader: (loader[index] for index in range(len(loader)))
    return made
