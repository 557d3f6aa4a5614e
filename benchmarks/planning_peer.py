"""nnU-Net's side of the planning benchmark; runs in an environment of its own, without this project.

`PYTHON planning_peer.py prepare FOLDER` plans and preprocesses dataset 1 of `FOLDER/raw` with two processes, as its
command does; `... resample FOLDER d h w d h w` resamples image.npy and label.npy from one spacing to another with its
default resampling. One line of JSON: seconds, processor seconds, and peak memory above the start in MB.
"""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time

COMMAND = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry as e; e()"


def peak_mb():
    """Largest resident memory so far."""
    lines = pathlib.Path("/proc/self/status").read_text("ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def used():
    """Processor seconds of this process and of its children."""
    kinds = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(kind.ru_utime + kind.ru_stime for kind in kinds)


def measured(work):
    """As `benchmarks.measure.measured`."""
    before, clock, processors = peak_mb(), time.perf_counter(), used()
    work()
    return {
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": used() - processors,
        "peak_mb": peak_mb() - before,
    }


def prepare(folder):
    """The command a user types."""
    root = pathlib.Path(folder)
    shutil.rmtree(root / "preprocessed", ignore_errors=True)
    places = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    words = ["-d", "1", "-c", "3d_fullres", "2d", "-np", "2", "2", "-npfp", "2"]
    command = [sys.executable, "-c", COMMAND, *words]
    environment = {**os.environ, **places}
    found = measured(lambda: subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL))
    return {name: value for name, value in found.items() if name != "peak_mb"}


def resample(folder, *numbers):
    """Image and label by `resample_data_or_seg_to_shape`, as its default plans have it."""
    import numpy as np
    from nnunetv2.preprocessing.resampling.default_resampling import (
        compute_new_shape,
        resample_data_or_seg_to_shape,
    )

    root, spacing = pathlib.Path(folder), [float(number) for number in numbers]
    image, label = (np.load(root / f"{name}.npy")[None] for name in ("image", "label"))
    image, label = image.astype(np.float32), label.astype(np.int16)
    shape = compute_new_shape(image.shape[1:], spacing[:3], spacing[3:])
    done = {}

    def both():
        common = {"order_z": 0, "force_separate_z": None}
        done["image"] = resample_data_or_seg_to_shape(image, shape, spacing[:3], spacing[3:], False, 3, **common)
        done["label"] = resample_data_or_seg_to_shape(label, shape, spacing[:3], spacing[3:], True, 1, **common)

    found = measured(both)
    for name, array in done.items():
        np.save(root / f"nnunet_{name}.npy", array[0])
    return found


if __name__ == "__main__":
    print(json.dumps({"prepare": prepare, "resample": resample}[sys.argv[1]](*sys.argv[2:])))
