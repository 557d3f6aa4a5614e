"""UNet++ level by level: parameters, multiply-adds, time per image, and the Dice of a trained run.

`python -m benchmarks pruning` measures the published 2D and 3D networks with random weights (time does not depend on
them). `--run outputs/<run>` measures the network of a run that was trained with MODEL.DEEP_SUPERVISION=True, and
evaluates every level by `evaluate.py ... INFERENCE.HEADS=L<k>`; further words are passed on to it.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

SIZES = {"2d": (512, 512), "3d": (64, 64, 64)}
PROJECT = pathlib.Path(__file__).resolve().parents[1]


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures every level; `tables` holds one row per level, shallowest first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pruning")
    parser.add_argument("--run", type=pathlib.Path, help="folder of a trained run")
    parser.add_argument("--size-2d", type=int, nargs=2, default=SIZES["2d"], metavar=("H", "W"))
    parser.add_argument("--size-3d", type=int, nargs=3, default=SIZES["3d"], metavar=("D", "H", "W"))
    parser.add_argument("--only", choices=("2d", "3d"), help="of the published networks")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    known, rest = parser.parse_known_args(arguments)
    if known.run is not None:
        return {"benchmark": "pruning", "run": known.run.name, "tables": {"run": _run_table(known, rest)}}
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    tables: dict[str, Any] = {}
    if known.only != "3d":
        tables["2d"] = level_table(_published(2), known.size_2d, repeats=known.repeats)
    if known.only != "2d":
        tables["3d"] = level_table(_published(3), known.size_3d, repeats=known.repeats)
    return {"benchmark": "pruning", "tables": tables}


def level_table(network: Any, size: Sequence[int], *, repeats: int = 3) -> list[dict[str, Any]]:
    """Costs of every level of a UNet++.

    Args:
        network: Built with deep supervision, free in its spatial size.
        size: Of the image.
        repeats: The fastest counts.

    Returns:
        Per level `level`, `parameters`, `gmac` (multiply-adds / 1e9), `seconds` per image, and both as shares of the
        deepest level's.
    """
    from inference.network import Network
    from models.costs import multiply_adds
    from models.pruning import prune

    image = np.random.default_rng(0).random((1, *size, network.input_shape[-1]), np.float32)
    rows: list[dict[str, Any]] = []
    for level in range(1, len(network.outputs) + 1):
        small = prune(network, level)
        answer = Network(small, batch_size=1)
        answer(image)  # compiles
        seconds = min(_seconds(answer, image) for _ in range(repeats))
        gmac = multiply_adds(small, size) / 1e9
        rows.append({"level": f"L{level}", "parameters": small.count_params(), "gmac": gmac, "seconds": seconds})
    for row in rows:
        row["share_of_gmac"] = round(row["gmac"] / rows[-1]["gmac"], 3)
        row["share_of_time"] = round(row["seconds"] / rows[-1]["seconds"], 3)
        row["gmac"], row["seconds"] = round(row["gmac"], 3), round(row["seconds"], 4)
    return rows


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


def _run_table(known: argparse.Namespace, rest: list[str]) -> list[dict[str, Any]]:
    from omegaconf import DictConfig, OmegaConf

    from configs.facts import class_count, model_choice, plain
    from models import build_model

    cfg = OmegaConf.load(known.run / "config.yaml")
    if not isinstance(cfg, DictConfig):
        raise ValueError(f"{known.run / 'config.yaml'} is no configuration: give the folder of a run.")
    kind, options = model_choice(cfg)
    options.pop("backbone_weights", None)
    size = plain(cfg.INPUT.PATCH) or [cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH]
    network = build_model(
        kind,
        input_shape=(*size, cfg.INPUT.CHANNELS),
        num_classes=class_count(cfg, list(plain(cfg.DATASET.LABELS) or ())),
        **options,
    )
    rows = level_table(network, size, repeats=known.repeats)
    for row in rows:
        row["dice"] = _dice(known.run, row["level"], rest)
    for row in rows:
        row["dice_below_deepest"] = round(rows[-1]["dice"] - row["dice"], 4)
    return rows


def _dice(run: pathlib.Path, level: str, rest: Sequence[str]) -> float:
    """Mean Dice over cases and classes of one head, as evaluate.py scores it."""
    command = [sys.executable, str(PROJECT / "evaluate.py"), f"OUTPUT_PATH={run.resolve().parent}"]
    command += [f"RUN_NAME={run.name}", f"INFERENCE.HEADS={level}", "EVALUATION.PICTURES=0", "VERBOSE=0", *rest]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    if done.returncode:
        raise ValueError(f"evaluate.py failed for {level}: {done.stderr.strip().splitlines()[-1:]}")
    summary = json.loads((run / "evaluation" / "summary.json").read_text("utf-8"))
    values = [scores["dice"]["mean"] for scores in summary["classes"].values()]
    return float(np.mean([value for value in values if value is not None and not math.isnan(value)]))
