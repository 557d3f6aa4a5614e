"""MONAI's side of the metrics benchmark; runs in an environment of its own, without this project.

`PYTHON metrics_peer.py FOLDER d h w CLASSES TOLERANCE...` prints one line of JSON: seconds, processor seconds, peak
memory above the start in MB, and the scores. One core, one class at a time: MONAI takes one-hot masks, and those of all
classes at once would need 15 times the memory.
"""

import json
import os
import pathlib
import sys
import time

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice


def peak_mb():
    """Largest resident memory so far."""
    lines = pathlib.Path("/proc/self/status").read_text("ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def scores(reference, prediction, spacing, tolerances):
    """Dice, IoU, HD95 in mm and surface Dice of one class; masks `(1, 1, d, h, w)`."""
    pair = {"y_pred": prediction, "y": reference, "include_background": True}
    found = {
        "dice": float(compute_dice(**pair)),
        "iou": float(compute_iou(**pair)),
        "hd95": float(compute_hausdorff_distance(**pair, percentile=95, spacing=spacing)),
    }
    for tolerance in tolerances:
        options = {"class_thresholds": [tolerance], "spacing": spacing, "use_subvoxels": True}
        found[f"nsd_{tolerance:g}mm"] = float(compute_surface_dice(**pair, **options))
    return found


def main(arguments):
    """Measures and prints."""
    folder, *numbers = arguments
    spacing = [float(number) for number in numbers[:3]]
    classes, tolerances = int(numbers[3]), [float(number) for number in numbers[4:]]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    reference, prediction = (
        torch.from_numpy(np.load(pathlib.Path(folder) / f"{name}.npy")) for name in ("reference", "prediction")
    )
    before, clock, processor = peak_mb(), time.perf_counter(), time.process_time()
    found = {}
    for value in range(1, classes + 1):
        masks = ((array == value)[None, None] for array in (reference, prediction))
        found[f"organ {value}"] = scores(*masks, spacing, tolerances)
    used = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - processor}
    print(json.dumps({**used, "peak_mb": peak_mb() - before, "scores": found}))


if __name__ == "__main__":
    main(sys.argv[1:])
