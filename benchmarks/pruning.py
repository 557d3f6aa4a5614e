"""UNet++ level by level: parameters, multiply-adds, time per image, and the Dice of a trained run.

`python -m benchmarks pruning` measures the published 2D and 3D networks with random weights (time does not depend on
them). `--run outputs/<run>`, once or several times, measures the networks of runs that were trained with
MODEL.DEEP_SUPERVISION=True, and evaluates every level by `evaluate.py ... INFERENCE.HEADS=L<k>`, into a folder that
goes afterwards; further words, such as EVALUATION.SPLIT=validation, are passed on to it.
"""

import argparse
import contextlib
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.measure import summary

SIZES = {"2d": (512, 512), "3d": (64, 64, 64)}
PROJECT = pathlib.Path(__file__).resolve().parents[1]
QUICK = ("--size-2d", "32", "32", "--only", "2d", "--repeats", "1")
TOLERATED = 0.01


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures every level; `tables` holds one row per level, shallowest first, `table` all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pruning")
    parser.add_argument("--run", type=pathlib.Path, action="append", default=[], help="folder of a trained run")
    parser.add_argument("--size-2d", type=int, nargs=2, default=SIZES["2d"], metavar=("H", "W"))
    parser.add_argument("--size-3d", type=int, nargs=3, default=SIZES["3d"], metavar=("D", "H", "W"))
    parser.add_argument("--only", choices=("2d", "3d"), help="of the published networks")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of all levels")
    known, rest = parser.parse_known_args(arguments)
    tables: dict[str, Any] = {}
    for folder in known.run:
        tables[folder.name] = run_table(folder, rest, repeats=known.repeats)
    if not known.run:
        if rest:
            parser.error(f"unknown: {' '.join(rest)}")
        for rank, size in ((2, known.size_2d), (3, known.size_3d)):
            if known.only in (None, f"{rank}d"):
                tables[f"{rank}d"] = level_table(_published(rank), size, repeats=known.repeats)
    table = [{"network": name, **row} for name, rows in tables.items() for row in rows]
    result: dict[str, Any] = {"benchmark": "pruning", "tables": tables, "table": table}
    if known.run:
        result["smallest_within_a_point"] = {name: smallest(rows) for name, rows in tables.items()}
    return result


def level_table(network: Any, size: Sequence[int], *, repeats: int = 5) -> list[dict[str, Any]]:
    """Costs of every level of a UNet++; the levels take turns, so that other work on the machine slows all of them.

    Args:
        network: Built with deep supervision; free in its spatial size, or of this one.
        size: Of the image.
        repeats: Rounds.

    Returns:
        Per level `level`, `parameters`, `gmac` (multiply-adds / 1e9), the median `seconds` per image and their
        `spread`, and the shares of the deepest level's multiply-adds and seconds.
    """
    from inference.network import Network
    from models.costs import multiply_adds
    from models.pruning import prune

    image = np.random.default_rng(0).random((1, *size, network.input_shape[-1]), np.float32)
    rows: list[dict[str, Any]] = []
    answers: list[Any] = []
    for level in range(1, len(network.outputs) + 1):
        small = prune(network, level)
        gmac = multiply_adds(small, size) / 1e9
        rows.append({"level": f"L{level}", "parameters": small.count_params(), "gmac": gmac})
        answers.append(Network(small, batch_size=1))
        answers[-1](image)  # compiles
    rounds = [[_seconds(answer, image) for answer in answers] for _ in range(repeats)]
    for row, passed in zip(rows, zip(*rounds, strict=True), strict=True):
        found = summary(passed, digits=4)
        row |= {"seconds": found["median"], "spread": found["spread"]}
    for row in rows:
        row["share_of_gmac"] = round(row["gmac"] / rows[-1]["gmac"], 3)
        row["share_of_time"] = round(row["seconds"] / rows[-1]["seconds"], 3) if rows[-1]["seconds"] else None
        row["gmac"] = round(row["gmac"], 3)
    return rows


def smallest(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The shallowest level whose Dice is at most a point below the deepest one's, and what it costs of that one."""
    found = next(row for row in rows if row["dice_below_deepest"] <= TOLERATED)
    return {name: found[name] for name in ("level", "dice", "dice_below_deepest", "share_of_gmac", "share_of_time")}


def _seconds(answer: Any, image: np.ndarray) -> float:
    start = time.perf_counter()
    answer(image)
    return time.perf_counter() - start


def _published(rank: int) -> Any:
    from models import build_model

    options: dict[str, Any] = {"input_shape": (*[None] * rank, 1), "deep_supervision": True}
    if rank == 2:
        return build_model("unetplusplus", num_classes=1, recipe="paper", **options)
    return build_model("unetplusplus", num_classes=3, **options)


def run_table(run: pathlib.Path, rest: Sequence[str], *, repeats: int) -> list[dict[str, Any]]:
    """`level_table` of a trained run, with the mean Dice of every level over cases and classes.

    Args:
        run: Folder of a run of UNet++ with deep supervision.
        rest: Further words for `evaluate.py`.
        repeats: As in `level_table`.

    Raises:
        ValueError: The folder holds no such run, or evaluate.py refuses; its own words.
    """
    network, size = _network(run)
    rows = level_table(network, size, repeats=repeats)
    for row in rows:
        row["dice"] = _dice(run, row["level"], rest)
    for row in rows:
        row["dice_below_deepest"] = round(rows[-1]["dice"] - row["dice"], 4)
    return rows


def _network(run: pathlib.Path) -> tuple[Any, Sequence[int]]:
    """The network that a run trained, with random weights, and the size of its input."""
    from omegaconf import DictConfig, OmegaConf

    from configs.facts import model_choice, plain
    from models import build_model

    place = run / "config.yaml"
    cfg = OmegaConf.load(place) if place.is_file() else None
    if not isinstance(cfg, DictConfig):
        raise ValueError(f"{run} holds no config.yaml: give the folder of a trained run, such as outputs/<run>.")
    kind, options = model_choice(cfg)
    if kind != "unetplusplus" or not options.get("deep_supervision"):
        raise ValueError(
            f"{run} is a run of {kind} without the heads that pruning needs: train MODEL.TYPE=unetplusplus "
            "MODEL.DEEP_SUPERVISION=True."
        )
    options.pop("backbone_weights", None)
    crop = plain(cfg.AUGMENTATION).get("CROP") or {}
    size = plain(cfg.INPUT.PATCH) or crop.get("SIZE") or [cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH]
    shape = (*size, cfg.INPUT.CHANNELS)
    return build_model(kind, input_shape=shape, num_classes=_classes(cfg), **options), size


def _classes(cfg: Any) -> int:
    from configs.facts import class_count, plain, prepared_folder
    from data_generators.manifest import label_lut, load_manifest

    names, regions = list(plain(cfg.DATASET.LABELS) or ()), len(plain(cfg.DATASET.REGIONS) or ())
    with contextlib.suppress(ValueError):  # a run of pictures, or its collection has moved: the labels are in the run
        root = prepared_folder(cfg)
        names = names if root is None else label_lut(load_manifest(root).labels, plain(cfg.DATASET.LABELS))[1][1:]
    return class_count(cfg, names, regions=regions)


def _dice(run: pathlib.Path, level: str, rest: Sequence[str]) -> float:
    """Mean Dice over cases and classes of one head, as evaluate.py scores it; the run's own evaluation stays."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        copy = pathlib.Path(folder) / run.name
        copy.mkdir()
        for path in run.resolve().iterdir():
            if path.name not in ("evaluation", "predictions"):
                (copy / path.name).symlink_to(path)
        command = [sys.executable, str(PROJECT / "evaluate.py"), f"OUTPUT_PATH={folder}", f"RUN_NAME={run.name}"]
        command += [f"INFERENCE.HEADS={level}", "EVALUATION.PICTURES=0", "VERBOSE=0", *rest]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        written = copy / "evaluation" / "summary.json"
        if not written.is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ValueError(f"evaluate.py failed for {level} of {run.name}: {last}")
        found = json.loads(written.read_text("utf-8"))
    values = [scores["dice"]["mean"] for scores in found["classes"].values()]
    return round(float(np.mean([value for value in values if value is not None and not math.isnan(value)])), 4)
