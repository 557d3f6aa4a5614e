"""Many cases: resumable, atomic, failures named, nothing silently skipped."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from preparation_helpers import lits, small_case, write_lits, write_nifti, write_pair

from data_generators.manifest import ManifestError, load_manifest, load_splits
from data_preparation import pipeline
from data_preparation.case import Recipe
from data_preparation.collections import PreparationError
from data_preparation.pipeline import Workers, in_parallel, prepare_collection

KEEP = Recipe(height=None, width=None)


def prepare(raw, root, recipe=KEEP, **options):
    return prepare_collection(lits(raw), root, recipe, workers=1, progress=False, **options)


def times(root):
    return {path.name: path.stat().st_mtime_ns for path in (root / "images").iterdir()}


def test_all_cases_are_prepared(tmp_path):
    outcome = prepare(write_lits(tmp_path / "raw"), tmp_path / "out")
    manifest = load_manifest(tmp_path / "out")
    assert [case.id for case in manifest.cases] == ["volume-0", "volume-28", "volume-29", "volume-30"]
    assert manifest.labels == {0: "background", 1: "liver", 2: "tumor"}
    assert manifest.intensity == {"kind": "window", "window_hu": [-200.0, 250.0]}
    assert load_splits(tmp_path / "out").official["test"] == ("volume-0",)
    assert outcome.failures == {}


def test_several_workers_give_the_same_files(tmp_path):
    raw = write_lits(tmp_path / "raw")
    prepare(raw, tmp_path / "one")
    prepare_collection(lits(raw), tmp_path / "two", KEEP, workers=3, progress=True)
    for path in (tmp_path / "one" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "images" / path.name).read_bytes()
    assert load_manifest(tmp_path / "one").to_dict() == load_manifest(tmp_path / "two").to_dict()


def test_a_second_run_keeps_finished_cases(tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    prepare(raw, root)
    before = times(root)
    assert prepare(raw, root).kept == 4
    assert times(root) == before


def test_changed_settings_redo_every_case(tmp_path, caplog):
    caplog.set_level("INFO")
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    prepare(raw, root)
    assert prepare(raw, root, Recipe(6, 8)).kept == 0
    assert load_manifest(root).cases[0].shape == (5, 6, 8)
    assert "prepared again" in caplog.text


def test_a_changed_file_redoes_its_case_only(tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    prepare(raw, root)
    hu, label = small_case(99)
    write_pair(raw, 29, hu, label)
    os.utime(raw / "volume-29.nii", (1, 1))
    assert prepare(raw, root).kept == 3


def test_a_lost_array_redoes_its_case_only(tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    prepare(raw, root)
    (root / "labels" / "volume-30.npy").unlink()
    assert prepare(raw, root).kept == 3
    load_manifest(root)


def test_a_failed_case_is_named_and_the_others_go_on(tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    write_nifti(raw / "segmentation-29.nii", np.zeros((2, 2, 2), np.uint8))
    outcome = prepare(raw, root)
    assert list(outcome.failures) == ["volume-29"]
    assert "segmentation-29.nii" in outcome.failures["volume-29"]
    assert [case.id for case in load_manifest(root).cases] == ["volume-0", "volume-28", "volume-30"]
    ids = {case_id for parts in [load_splits(root).official] for part in parts.values() for case_id in part}
    assert ids == {"volume-0", "volume-28", "volume-30"}


def test_a_repaired_case_joins_and_moves_nobody(tmp_path):
    raw, root = write_lits(tmp_path / "raw", (0, 28, 29, 30, 31, 32, 33)), tmp_path / "out"
    write_nifti(raw / "segmentation-29.nii", np.zeros((2, 2, 2), np.uint8))
    prepare(raw, root)
    before = load_splits(root)
    write_pair(raw, 29, *small_case(29))
    assert prepare(raw, root).kept == 6
    after = load_splits(root)
    for part in ("train", "validation", "test"):
        assert set(before.official[part]) == set(after.official[part]) - {"volume-29"}


def test_an_unexpected_error_is_named_too(tmp_path, monkeypatch):
    raw = write_lits(tmp_path / "raw")

    def broken(case, **_):
        raise ZeroDivisionError("one over nothing")

    monkeypatch.setattr(pipeline, "prepare_case", broken)
    outcome = prepare(raw, tmp_path / "out")
    assert outcome.failures["volume-0"] == "ZeroDivisionError: one over nothing"
    assert len(outcome.failures) == 4


def test_missing_partners_are_failures(tmp_path):
    raw = write_lits(tmp_path / "raw")
    (raw / "segmentation-28.nii").unlink()
    outcome = prepare(raw, tmp_path / "out")
    assert list(outcome.failures) == [str(raw / "volume-28.nii")]
    assert "label missing" in outcome.failures[str(raw / "volume-28.nii")]


def test_while_cases_are_redone_there_is_no_manifest(tmp_path, monkeypatch):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    prepare(raw, root)

    def interrupted(case, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "prepare_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, root, Recipe(6, 8))
    with pytest.raises(ManifestError):
        load_manifest(root)
    monkeypatch.undo()
    assert prepare(raw, root).kept == 4  # the old arrays are still whole, and known to be so


def test_half_written_files_are_swept_away_and_never_counted(tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    (root / "images").mkdir(parents=True)
    (root / "images" / ".partial-12345678-volume-0.npy").write_bytes(b"half")
    prepare(raw, root)
    assert not list(root.rglob(".partial*"))


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    raw, root = write_lits(tmp_path / "raw", (0,)), tmp_path / "out"
    real = np.save

    def full(stream, array, **options):
        real(stream, array[:1], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    outcome = prepare(raw, root)
    assert "No space left" in outcome.failures["volume-0"]
    assert not [path for path in root.rglob("*") if path.is_file() and path.suffix == ".npy"]


def test_no_case_at_all_is_an_error(tmp_path):
    raw = write_lits(tmp_path / "raw", (0,))
    (raw / "segmentation-0.nii").unlink()
    with pytest.raises(PreparationError, match="no case can be prepared.*label missing"):
        prepare(raw, tmp_path / "out")


def test_a_damaged_record_redoes_the_case(tmp_path):
    raw, root = write_lits(tmp_path / "raw"), tmp_path / "out"
    prepare(raw, root)
    (root / ".cases" / "volume-0.json").write_text("{")
    assert prepare(raw, root).kept == 3


def die(case):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_process_is_explained(tmp_path):
    cases = lits(write_lits(tmp_path / "raw")).cases
    with pytest.raises(PreparationError, match=r"DATA_PREPARATION\.WORKERS=1"):
        list(in_parallel(die, cases, Workers(2, threads=False, progress=False), title=""))


RUN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs in the background without
from data_preparation import pipeline
from data_preparation.case import Recipe
from data_preparation.collections import SourceOptions, open_collection
real = pipeline.prepare_case
def slow(case, **options):
    time.sleep(0.4)
    return real(case, **options)
pipeline.prepare_case = slow
collection = open_collection("lits", SourceOptions(source=pathlib.Path(sys.argv[1])))
pipeline.prepare_collection(collection, pathlib.Path(sys.argv[2]), Recipe(None, None), workers=1, progress=False)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_is_continued(tmp_path, how, project):
    raw, root = write_lits(tmp_path / "raw", tuple(range(28, 38))), tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(raw), str(root)], cwd=project, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(root.glob(".cases/*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    assert process.wait(30) != 0
    finished = {path.stem for path in root.glob(".cases/volume-*.json")}
    assert 3 <= len(finished) < 10
    assert not (root / "manifest.json").exists()
    before = {name: (root / "images" / f"{name}.npy").stat().st_mtime_ns for name in finished}
    outcome = prepare(raw, root)
    assert outcome.kept == len(finished)
    assert {name: (root / "images" / f"{name}.npy").stat().st_mtime_ns for name in finished} == before
    prepare(raw, tmp_path / "fresh")
    for path in (tmp_path / "fresh" / "images").iterdir():
        assert path.read_bytes() == (root / "images" / path.name).read_bytes()


def test_the_prepared_folder_may_move(tmp_path):
    prepare(write_lits(tmp_path / "raw"), tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    case = load_manifest(tmp_path / "elsewhere").cases[0]
    assert not pathlib.Path(case.image).is_absolute()
    assert json.loads((tmp_path / "elsewhere" / "manifest.json").read_text())["version"] == 1
