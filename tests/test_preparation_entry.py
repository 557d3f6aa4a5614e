"""prepare.py as users type it: exit codes, messages, files."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from page_helpers import read_page
from preparation_helpers import write_lits, write_nifti

from data_generators.manifest import load_manifest, load_splits

SMALL = ["DATA_PREPARATION.PHANTOM.CASES=4", "DATA_PREPARATION.PHANTOM.SIZE=[10,32,32]"]


def run(project, cwd, *words):
    command = [sys.executable, str(project / "prepare.py"), f"WORK_DIR={cwd}", "DATA_PREPARATION.WORKERS=1", *words]
    environment = os.environ | {"PYTHONPATH": str(project)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False)


def test_phantoms_are_made_and_prepared(project, tmp_path):
    done = run(project, tmp_path, "dataset=phantom", "INPUT.HEIGHT=16", "INPUT.WIDTH=24", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "4 cases are prepared" in done.stdout
    manifest = load_manifest(tmp_path / "data/prepared/phantom")
    assert manifest.collection == "phantom"
    assert {case.shape[1:] for case in manifest.cases} == {(16, 24)}
    assert len(load_splits(tmp_path / "data/prepared/phantom").official["test"]) == 1
    assert (tmp_path / "data/raw/phantom/volume-0.nii.gz").is_file()


def test_the_scanners_size_can_be_kept(project, tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    keep = ["DATA_PREPARATION.RESIZED_HEIGHT=null", "DATA_PREPARATION.RESIZED_WIDTH=null"]
    done = run(project, tmp_path, f"DATA_PREPARATION.SOURCE={raw}", f"DATASET.PREPARED_PATH={root}", *keep)
    assert done.returncode == 0, done.stderr
    assert load_manifest(root).cases[0].shape == (5, 12, 16)
    assert load_manifest(root).preparation == {"height": None, "width": None, "orientation": "SPL"}


def test_a_failed_case_makes_the_exit_code_1(project, tmp_path):
    raw = write_lits(tmp_path / "raw")
    write_nifti(raw / "segmentation-29.nii", np.zeros((2, 2, 2), np.uint8))
    done = run(project, tmp_path, f"DATA_PREPARATION.SOURCE={raw}")
    assert done.returncode == 1
    assert "3 cases are prepared" in done.stdout
    assert "FAILED volume-29" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_lists_and_writes_nothing(project, tmp_path):
    raw = write_lits(tmp_path / "raw")
    write_nifti(raw / "segmentation-29.nii", np.zeros((2, 2, 2), np.uint8))
    (raw / "segmentation-30.nii").unlink()
    done = run(project, tmp_path, f"DATA_PREPARATION.SOURCE={raw}", "CHECK=True")
    assert done.returncode == 1
    assert "segmentation-29.nii" in done.stdout
    assert "volume-30.nii: label missing" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_check_of_sound_files_is_0(project, tmp_path):
    done = run(project, tmp_path, f"DATA_PREPARATION.SOURCE={write_lits(tmp_path / 'raw')}", "CHECK=True")
    assert done.returncode == 0
    assert "4 cases checked, no findings." in done.stdout


def test_png_goes_where_the_configuration_says(project, tmp_path):
    raw = write_lits(tmp_path / "raw")
    done = run(project, tmp_path, f"DATA_PREPARATION.SOURCE={raw}", "DATA_PREPARATION.FORMAT=png")
    assert done.returncode == 0, done.stderr
    for part, cases in (("train", 2), ("val", 1), ("test", 1)):
        assert len(list((tmp_path / "data" / part / "images").iterdir())) == 5 * cases
    assert (tmp_path / "data/train/mask").is_dir()


def test_a_report_lists_what_the_checker_found(project, tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    write_nifti(raw / "segmentation-29.nii", np.zeros((2, 2, 2), np.uint8))
    done = run(project, tmp_path, f"DATA_PREPARATION.SOURCE={raw}", f"DATASET.PREPARED_PATH={root}", "REPORT=True")
    assert done.returncode == 1
    page = read_page(root / "report.html")
    assert "volume-29" in " ".join(page.words)
    assert "the label is 2 x 2 x 2 voxels" in " ".join(page.words)
    # A thumbnail of each of the four cases, and the suspicious one again.
    assert sum(source.startswith("data:image/webp") for source in page.pictures) == 5
    assert f"Page: {root / 'report.html'}" in done.stdout


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["DATA_PREPARATION.SOURCE=/nowhere"], "DATA_PREPARATION.SOURCE="),
        ([], "DATA_PREPARATION.SOURCE="),
        (["DATASET.COLLECTION=litz"], "Did you mean lits"),
        (["DATA_PREPARATION.SCAN_MIN_VALUE=300", "dataset=phantom", *SMALL], "SCAN_MIN_VALUE"),
        (["DATA_PREPARATION.RESIZED_HEIGHT=big", "dataset=phantom", *SMALL], "RESIZED_HEIGHT"),
        (["dataset=phantom", "DATASET.PREPARED_PATH=null", *SMALL], "DATASET.PREPARED_PATH"),
        (["dataset=phantom", "CHECK=True"], "prepare.py dataset=phantom"),
        (["DATA_PREPARATION.SUORCE=x"], "DATA_PREPARATION.SOURCE"),
    ],
)
def test_mistakes_are_answered_in_one_line(project, tmp_path, words, answer):
    done = run(project, tmp_path, *words)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("Writing")]
    assert len(said) == 1
    assert answer in said[0]


def test_paths_of_the_predecessor_lie_below_the_work_dir(project, tmp_path):
    write_lits(tmp_path / "data" / "Training Batch 1", (0,))
    write_lits(tmp_path / "data" / "Training Batch 2", (28, 29))
    done = run(project, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [case.id for case in load_manifest(pathlib.Path(tmp_path, "data/prepared/lits")).cases] == [
        "volume-0",
        "volume-28",
        "volume-29",
    ]
