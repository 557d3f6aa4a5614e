"""How fast 3D patches are made with nnU-Net's whole recipe: `python -m benchmarks augmentation [--peers PYTHON]`.

Patches of 96 x 96 x 96 out of prepared volumes, two workers: ours, and batchgeneratorsv2 (nnU-Net's own) in the
environment that `--peers` names. Each side reads the same memory-mapped files; the peer reads 153 voxels a side, as
nnU-Net does, ours what the drawn rotation needs. Both sides are measured in turn, in processes of their own.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.loader import recipe, speed, summary, write_volumes

PATCH, BATCH, TARGET = (96, 96, 96), 2, 1.3
VOLUME, CASES = (160, 192, 192), 4
QUICK = ("--repeats", "1", "--batches", "1", "--workers", "1")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Patches per second of each side, and their ratio where there is a peer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks augmentation")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, default=40, help="in each repeat")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peers", help="a Python with PyTorch and batchgeneratorsv2")
    wanted = parser.parse_args(arguments)
    peer = pathlib.Path(__file__).with_name("augmentation_peer.py")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        root = write_volumes(pathlib.Path(folder), shape=VOLUME, cases=CASES)
        numbers = [str(root), str(wanted.batches), str(wanted.workers)]
        sides = {"ours": [sys.executable, "-m", "benchmarks.augmentation", *numbers]}
        if wanted.peers:
            sides["batchgeneratorsv2"] = [wanted.peers, str(peer), *numbers]
        speeds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(wanted.repeats):
            for side, command in sides.items():
                speeds[side].append(_measured(command))
    summaries = {side: summary(found) for side, found in speeds.items()}
    result: dict[str, Any] = {
        "benchmark": "augmentation",
        "unit": "patches of 96x96x96 per second",
        "cores": len(os.sched_getaffinity(0)),
        "workers": wanted.workers,
        "speeds": summaries,
        "table": [
            {"side": side, "patches_per_s": found["median"], "spread": found["spread"]}
            for side, found in summaries.items()
        ],
    }
    if wanted.peers:
        ratio = summaries["ours"]["median"] / summaries["batchgeneratorsv2"]["median"]
        result |= {"ratio": round(ratio, 2), "target_ratio": TARGET}
    return result


def patches(root: str, batches: int, workers: int) -> float:
    """Ours: patches per second of the Sequence loader."""
    from data_generators.augmentation import build_augmentation
    from data_generators.patches import PatchSource
    from data_generators.sequence import SequenceLoader

    loader = SequenceLoader(
        PatchSource(root, patch=PATCH),
        batch_size=BATCH,
        augment=build_augmentation(recipe("nnunet_3d")),
        workers=workers,
        steps_per_epoch=batches + 1,
    )
    return speed(lambda: (loader[index] for index in range(len(loader))))


def _measured(command: Sequence[str]) -> float:
    environment = {**os.environ, "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax")}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} failed: {ended.stderr.strip().splitlines()[-1:]}")
    return float(json.loads(ended.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(patches(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
