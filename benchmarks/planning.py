"""Preparation by a plan against nnU-Net v2's: `python -m benchmarks planning [--peers PYTHON] [--source TASK]`.

Two comparisons, both sides in turn in processes of their own, two workers each:

- `preparation`: fingerprint, plan, and the 3D and the 2D data of a task of the Medical Segmentation Decathlon, from its
  files to prepared cases, as users start it, start-up included (`prepare.py` twice, into folders of their own;
  `nnUNetv2_plan_and_preprocess`). Without `--source` the task is synthetic, of the size of the hippocampus one.
- `resampling`: a CT of 512 x 512 x 400 voxels of 1 x 0.8 x 0.8 mm and its label to 1.5 mm, by the resampling functions
  alone on one thread each, and how far the voxels differ.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import nibabel
import numpy as np

from benchmarks.measure import in_turn, measured, peer_python, peer_script, summaries
from benchmarks.tables import side_rows

PROJECT = pathlib.Path(__file__).resolve().parents[1]
SHAPE, SPACING_MM, TARGET_MM, CLASSES, SEED = (400, 512, 512), (1.0, 0.8, 0.8), (1.5, 1.5, 1.5), 2, 5
CASES, CASE_SHAPE = 208, (35, 50, 36)
TARGET_RATIO = {"preparation": 1.0, "resampling": 2.0}
QUICK = ("--shape", "16", "24", "24", "--cases", "5", "--repeats", "1")
SHOWN = ("seconds", "cpu_seconds", "peak_mb")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Seconds and memory of each side, their ratio, and how far resampled voxels differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks planning")
    parser.add_argument(
        "--source", type=pathlib.Path, help="folder of a task with one channel, such as Task04_Hippocampus"
    )
    parser.add_argument("--cases", type=int, default=CASES, help="of the synthetic task")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("D", "H", "W"), help="of the CT")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-repeats", type=int, default=1, help="nnU-Net takes minutes")
    parser.add_argument("--only", choices=tuple(TARGET_RATIO))
    parser.add_argument("--peers", help="a Python with nnU-Net")
    wanted = parser.parse_args(arguments)
    peer = peer_python(wanted.peers, "nnunetv2")
    parts: dict[str, Callable[..., dict[str, Any]]] = {"preparation": _preparation, "resampling": _resampling}
    result: dict[str, Any] = {"benchmark": "planning", "target_ratio": TARGET_RATIO, "table": []}
    for name, compare in parts.items():
        if wanted.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
                result[name] = compare(wanted, pathlib.Path(folder), peer)
            rows = side_rows(result[name]["sides"], *SHOWN)
            result["table"] += [{"comparison": name, **row} for row in rows]
    return result


def _preparation(wanted: argparse.Namespace, folder: pathlib.Path, peer: str | None) -> dict[str, Any]:
    task = wanted.source or write_task(folder / "Task01_Synthetic", cases=wanted.cases)
    commands = {"ours": [sys.executable, "-m", "benchmarks.planning", "prepare", str(task), str(folder)]}
    if peer:
        write_raw(task, folder / "nnunet" / "raw")
        commands["nnunet"] = [peer, peer_script("planning"), "prepare", str(folder / "nnunet")]
    cases = len(json.loads((task / "dataset.json").read_text("utf-8"))["training"])
    return {"cases": cases, **_compared(commands, wanted)}


def _resampling(wanted: argparse.Namespace, folder: pathlib.Path, peer: str | None) -> dict[str, Any]:
    write_ct(folder, shape=wanted.shape)
    commands = {"ours": [sys.executable, "-m", "benchmarks.planning", "resample", str(folder)]}
    if peer:
        commands["nnunet"] = [
            peer,
            peer_script("planning"),
            "resample",
            str(folder),
            *map(str, (*SPACING_MM, *TARGET_MM)),
        ]
    result: dict[str, Any] = {"shape": list(wanted.shape), **_compared(commands, wanted)}
    if peer:
        result |= _voxels(folder)
    return result


def _compared(commands: dict[str, list[str]], wanted: argparse.Namespace) -> dict[str, Any]:
    found = in_turn(commands, wanted.repeats, fewer={"nnunet": wanted.peer_repeats}, OPENBLAS_NUM_THREADS="1")
    sides = {side: summaries(entries) for side, entries in found.items()}
    result: dict[str, Any] = {"sides": sides}
    if "nnunet" in sides:
        ours = sides["ours"]
        result["ratio"] = {name: round(sides["nnunet"][name]["median"] / ours[name]["median"], 2) for name in ours}
    return result


def _voxels(folder: pathlib.Path) -> dict[str, float]:
    ours, theirs = (np.load(folder / f"{side}_image.npy", mmap_mode="r") for side in ("ours", "nnunet"))
    largest = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    labels = [np.load(folder / f"{side}_label.npy") for side in ("ours", "nnunet")]
    return {
        "largest_difference_of_range": largest / float(np.ptp(theirs)),
        "share_of_equal_labels": float((labels[0] == labels[1]).mean()),
    }


def write_task(folder: pathlib.Path, *, cases: int) -> pathlib.Path:
    """A task in the Decathlon's layout: `cases` volumes about the size of a hippocampus, two labels."""
    rng = np.random.default_rng(SEED)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, str]] = []
    for number in range(cases):
        shape = [int(n + rng.integers(-4, 5)) for n in CASE_SHAPE]
        label = np.zeros(shape, np.uint8)
        label[8:16, 10:30, 10:20], label[16:24, 10:30, 10:20] = 1, 2
        image = (rng.normal(300, 40, shape) + 100 * label).astype(np.float32)
        entry = {"image": f"./imagesTr/case_{number:03}.nii.gz", "label": f"./labelsTr/case_{number:03}.nii.gz"}
        for key, array in (("image", image), ("label", label)):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / entry[key])
        entries.append(entry)
    facts = {
        "name": "Synthetic",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "first", "2": "second"},
        "training": entries,
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(facts), "utf-8")
    return folder


def write_raw(task: pathlib.Path, raw: pathlib.Path) -> None:
    """The same task in nnU-Net's layout, `Dataset001_Task`.

    Raises:
        ValueError: The task has several channels.
    """
    facts = json.loads((task / "dataset.json").read_text("utf-8"))
    if len(facts["modality"]) != 1:
        raise ValueError(
            f"{task} has {len(facts['modality'])} channels: give a task with one, such as Task04_Hippocampus."
        )
    target = raw / "Dataset001_Task"
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True)
    for entry in facts["training"]:
        name = pathlib.Path(entry["image"]).name.removesuffix(".nii.gz")
        shutil.copyfile(task / entry["image"], target / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copyfile(task / entry["label"], target / "labelsTr" / f"{name}.nii.gz")
    description = {
        "channel_names": facts["modality"],
        "labels": {name: int(value) for value, name in facts["labels"].items()},
        "numTraining": len(facts["training"]),
        "file_ending": ".nii.gz",
    }
    (target / "dataset.json").write_text(json.dumps(description), "utf-8")


def write_ct(folder: pathlib.Path, *, shape: Sequence[int]) -> None:
    """`image.npy`, int16 Hounsfield-like, and `label.npy`, uint8 with two structures, `(d, h, w)`."""
    from imaging.resampling import resample_image

    rng = np.random.default_rng(SEED)
    coarse = rng.normal(0, 300, [max(2, n // 16) for n in shape]).astype(np.float32)
    smooth = resample_image(coarse, (shape[0], shape[1], shape[2]))
    label = (smooth > 150).astype(np.uint8) + (smooth > 350)
    for index, plane in enumerate(smooth):
        smooth[index] = plane + rng.standard_normal(plane.shape, np.float32) * 20
    np.save(folder / "image.npy", smooth.astype(np.int16))
    np.save(folder / "label.npy", label)


def _prepare(task: str, folder: str) -> dict[str, float]:
    root = pathlib.Path(folder) / "ours"
    shutil.rmtree(root, ignore_errors=True)
    words = ["dataset=msd", f"DATA_PREPARATION.SOURCE={task}", f"WORK_DIR={root}", "VERBOSE=0"]
    words += ["DATA_PREPARATION.WORKERS=2", "DATA_PREPARATION.STRAY_LABELS=background"]

    def both() -> None:
        for configuration in ("3d_fullres", "2d"):
            place = f"DATASET.PREPARED_PATH={root / configuration}"
            _command([*words, place, f"DATA_PREPARATION.CONFIGURATION={configuration}"])

    return _without_memory(measured(both))


def _without_memory(found: dict[str, float]) -> dict[str, float]:
    """The work is done by further processes, whose memory was not measured."""
    return {name: value for name, value in found.items() if name != "peak_mb"}


def _command(words: Sequence[str]) -> None:
    command = [sys.executable, str(PROJECT / "prepare.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"prepare.py failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")


def _resample(folder: str) -> dict[str, float]:
    from imaging.resampling import new_shape, resample_image, resample_label

    root = pathlib.Path(folder)
    image, label = np.load(root / "image.npy"), np.load(root / "label.npy")
    spacings: dict[str, Any] = {"spacing_mm": SPACING_MM, "target_spacing_mm": TARGET_MM}
    shape = new_shape(image.shape, **spacings)
    done: dict[str, np.ndarray] = {}

    resample_image(image[:4, :4, :4], (3, 3, 3))  # what is imported late is there now

    def both() -> None:
        done["image"] = resample_image(image, shape, separate_axis="auto", **spacings)
        done["label"] = resample_label(label, shape, separate_axis="auto", **spacings)

    found = measured(both)
    for name, array in done.items():
        np.save(root / f"ours_{name}.npy", array)
    return found


if __name__ == "__main__":
    work: dict[str, Callable[..., dict[str, float]]] = {"prepare": _prepare, "resample": _resample}
    print(json.dumps(work[sys.argv[1]](*sys.argv[2:])))
