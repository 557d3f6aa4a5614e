"""The smallest run of every benchmark: it works, says what it measured, and shows a table."""

import importlib
import json

import pytest

from benchmarks import metrics, planning
from benchmarks.__main__ import BENCHMARKS, main

LATER = ("train_step", "unetr_plusplus", "augmentation", "preparation", "loader")
"""Start processes that compile networks, write large volumes, or run whole in a test of their own."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LATER)) for n in BENCHMARKS])
def test_the_smallest_run_measures_and_shows_a_table(name, capsys, tmp_path):
    assert importlib.import_module(BENCHMARKS[name]).QUICK
    assert main([name, "--quick", "--out", str(tmp_path / "result.json")]) == 0
    said = capsys.readouterr()
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert json.loads(said.out) == result
    assert result["table"]
    assert all(isinstance(row, dict) for row in result["table"])
    assert result["machine"]["processor"]
    assert next(iter(result["table"][0])).split("_")[0] in said.err


def test_the_masks_of_the_metrics_benchmark_differ_a_little_in_every_class(tmp_path):
    metrics.write_masks(tmp_path, shape=(40, 64, 64), classes=3)
    found = metrics.everything(*(metrics.np.load(tmp_path / f"{name}.npy") for name in ("reference", "prediction")))
    assert all(0.7 < scores["dice"] < 1 for scores in found["scores"].values())
    parts = {name.removesuffix("_cpu_seconds") for name in found if name.endswith("_cpu_seconds")}
    assert {"overlap_and_surfaces", "lesions", "pooled_counts", "calibration"} <= parts


def test_both_sides_of_the_planning_benchmark_get_the_same_task(tmp_path):
    task = planning.write_task(tmp_path / "Task01_Synthetic", cases=2)
    planning.write_raw(task, tmp_path / "raw")
    there = tmp_path / "raw" / "Dataset001_Task"
    assert len(list((there / "imagesTr").glob("*_0000.nii.gz"))) == len(list((there / "labelsTr").iterdir())) == 2
    assert json.loads((there / "dataset.json").read_text())["labels"] == {"background": 0, "first": 1, "second": 2}
