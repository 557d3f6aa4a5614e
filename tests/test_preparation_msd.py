"""Decathlon tasks: what dataset.json says, stray label values, the recorded fingerprint and plan, and resuming."""

import dataclasses
import json
import logging
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from data_generators.manifest import load_manifest, load_splits
from data_preparation.collections import PreparationError, SourceOptions, open_collection
from data_preparation.planned import prepare_by_plan
from data_preparation.planning import Fingerprint
from data_preparation.planning.document import Wishes, load_plan
from imaging import ImageError


def write(path, array, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def task(folder, rng, *, cases=5, shape=(12, 14, 10), channels=None, labels=None):
    """A Decathlon task of small volumes; label 1 in the middle, 2 in a corner of it."""
    entries = []
    for index in range(1, cases + 1):
        size = shape if channels is None else (*shape, channels)
        image = rng.normal(100 * index, 20, size).astype(np.float32)
        label = np.zeros(shape, np.uint8)
        label[3:9, 3:9, 3:8] = 1
        label[3:5, 3:5, 3:5] = 2
        write(folder / f"imagesTr/case_{index:03d}.nii.gz", image)
        write(folder / f"labelsTr/case_{index:03d}.nii.gz", label)
        entries.append({"image": f"./imagesTr/case_{index:03d}.nii.gz", "label": f"./labelsTr/case_{index:03d}.nii.gz"})
    names = {str(index): f"T{index}" for index in range(channels or 1)}
    said = {
        "modality": names,
        "labels": labels or {"0": "background", "1": "organ", "2": "lesion"},
        "licence": "CC-BY-SA 4.0",
        "training": entries,
    }
    (folder / "dataset.json").write_text(json.dumps(said))
    return folder


def opened(folder, **options):
    return open_collection("msd", SourceOptions(source=folder, **options))


def prepared(collection, root, **wishes):
    return prepare_by_plan(collection, root, wishes=Wishes(**wishes), workers=1, progress=False)


def test_dataset_json_names_labels_channels_and_terms(tmp_path, rng):
    collection = opened(task(tmp_path, rng))
    assert collection.labels == {0: "background", 1: "organ", 2: "lesion"}
    assert (collection.channels, collection.licence) == (("T0",), "CC-BY-SA 4.0")
    assert [case.id for case in collection.cases] == [f"case_{index:03d}" for index in range(1, 6)]


def test_a_fourth_axis_becomes_channels(tmp_path, rng):
    collection = opened(task(tmp_path / "raw", rng, channels=2))
    prepared(collection, tmp_path / "out")
    manifest = load_manifest(tmp_path / "out")
    assert (manifest.channels, manifest.cases[0].channels) == (["T0", "T1"], 2)
    assert np.load(tmp_path / "out" / manifest.cases[0].image).shape[-1] == 2


def test_a_listed_file_that_is_missing_is_a_finding(tmp_path, rng):
    folder = task(tmp_path, rng)
    (folder / "labelsTr/case_002.nii.gz").unlink()
    collection = opened(folder)
    assert len(collection.cases) == 4
    assert "label missing, though dataset.json lists case case_002" in str(collection.findings[0])


def test_without_dataset_json_the_message_says_what_to_type(tmp_path):
    with pytest.raises(PreparationError, match="dataset=volume_folder"):
        opened(tmp_path)


def stray(folder, values):
    """Case 3's label as float, with strange values in its first voxels."""
    path = folder / "labelsTr/case_003.nii.gz"
    label = np.asarray(nib.load(path).dataobj).astype(np.float32)
    label[0, 0, : len(values)] = values
    write(path, label)
    return folder


def test_rounding_noise_of_a_float_label_is_rounded(tmp_path, rng):
    collection = opened(stray(task(tmp_path, rng), [0.999, 1.9995, 0.0001]))
    label = collection.read_label(collection.cases[2])
    assert (label.array.dtype, label.array[:3, 0, 0].tolist()) == (np.uint8, [1, 2, 0])


def test_stray_values_are_refused_by_name(tmp_path, rng):
    collection = opened(stray(task(tmp_path, rng), [0.5, 7.0]))
    with pytest.raises(
        ImageError, match=r"case case_003 has 2 voxels of unexpected label values 0\.5, 7.*STRAY_LABELS"
    ):
        collection.read_label(collection.cases[2])


@pytest.mark.parametrize(("rule", "value"), [("ignore", 255), ("background", 0)])
def test_stray_values_become_what_the_rule_says_and_are_logged(tmp_path, rng, caplog, rule, value):
    collection = opened(stray(task(tmp_path, rng), [0.5, 7.0]), stray_labels=rule)
    with caplog.at_level(logging.WARNING):
        label = collection.read_label(collection.cases[2])
    assert label.array[:2, 0, 0].tolist() == [value, value]
    assert "case_003 has 2 voxels" in caplog.text


def test_a_label_of_four_axes_is_refused(tmp_path, rng):
    folder = task(tmp_path, rng)
    write(folder / "labelsTr/case_001.nii.gz", np.zeros((12, 14, 10, 2), np.uint8))
    collection = opened(folder)
    with pytest.raises(ImageError, match="case case_001 has a label of four axes"):
        collection.read_label(collection.cases[0])


def test_z_scores_have_mean_0_and_deviation_1(tmp_path, rng):
    prepared(opened(task(tmp_path / "raw", rng)), tmp_path / "out")
    image = np.load(tmp_path / "out/images/case_004.npy")
    assert float(image.mean()) == pytest.approx(0, abs=1e-5)
    assert float(image.std()) == pytest.approx(1, abs=1e-5)


def test_zeros_around_the_image_are_cropped_and_restored(tmp_path, rng):
    folder = task(tmp_path / "raw", rng)
    image = np.zeros((12, 14, 10), np.float32)
    image[2:10, 1:13, 2:9] = rng.normal(100, 20, (8, 12, 7))
    write(folder / "imagesTr/case_001.nii.gz", image)
    prepared(opened(folder), tmp_path / "out")
    case = load_manifest(tmp_path / "out").case("case_001")
    # Canonical axes are z (2..9), y reversed (14 - 13 .. 14 - 1), x reversed (12 - 10 .. 12 - 2).
    assert case.geometry.crop == ((2, 9), (1, 13), (2, 10))
    label = np.load(tmp_path / "out" / case.label)
    restored = case.geometry.restore_label(label).array
    source = np.asarray(nib.load(folder / "labelsTr/case_001.nii.gz").dataobj)
    np.testing.assert_array_equal(np.transpose(restored, (2, 1, 0)), source)


def test_other_spacings_are_resampled_to_the_median(tmp_path, rng):
    folder = task(tmp_path / "raw", rng)
    write(folder / "imagesTr/case_002.nii.gz", rng.normal(100, 20, (12, 14, 10)).astype(np.float32), (2.0, 1.0, 1.5))
    write(folder / "labelsTr/case_002.nii.gz", np.ones((12, 14, 10), np.uint8), (2.0, 1.0, 1.5))
    prepared(opened(folder), tmp_path / "out")
    case = load_manifest(tmp_path / "out").case("case_002")
    assert (case.shape, case.spacing_mm) == ((15, 14, 24), pytest.approx((1.0, 1.0, 1.0)))
    assert np.load(tmp_path / "out" / case.label).shape == case.shape


def test_locations_hold_voxels_of_the_prepared_label(tmp_path, rng):
    prepared(opened(task(tmp_path / "raw", rng)), tmp_path / "out")
    label = np.load(tmp_path / "out/labels/case_001.npy")
    with np.load(tmp_path / "out/locations/case_001.npz") as found:
        assert {label[tuple(place)] for place in found["voxels_2"]} == {2}


def test_folds_are_those_of_scikit_learn(tmp_path, rng):
    # KFold(5, shuffle=True, random_state=12345) over five sorted names holds out one each, in this order.
    order = np.arange(5)
    np.random.RandomState(12345).shuffle(order)
    prepared(opened(task(tmp_path / "raw", rng)), tmp_path / "out")
    held = [fold["validation"] for fold in load_splits(tmp_path / "out").folds]
    assert held == [(f"case_{index + 1:03d}",) for index in order]


def test_a_second_run_repeats_no_case(tmp_path, rng):
    collection = opened(task(tmp_path / "raw", rng))
    prepared(collection, tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.np[yz]")}
    assert prepared(collection, tmp_path / "out").kept == 5
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.np[yz]")}


def test_a_further_case_repeats_no_other_where_each_image_is_normalised_by_itself(tmp_path, rng):
    collection = opened(task(tmp_path / "raw", rng))
    prepared(dataclasses.replace(collection, cases=collection.cases[:4]), tmp_path / "out")
    assert prepared(collection, tmp_path / "out").kept == 4


def records(root):
    """Those that are written; a file on the way to its name starts with a dot."""
    found = (path for path in root.rglob("[!.]*.json") if path.parent.name == ".cases")
    return {path: path.stat().st_mtime_ns for path in found}


def test_a_cascade_is_prepared_at_both_resolutions(tmp_path, rng, caplog):
    collection = opened(task(tmp_path / "raw", rng, shape=(30, 32, 34)))
    said = {"configuration": "3d_cascade_fullres", "memory_gb": 0.01}
    outcome = prepared(collection, tmp_path / "out", **said)
    assert not outcome.failures
    full, low = load_manifest(tmp_path / "out"), load_manifest(tmp_path / "out/3d_lowres")
    assert [case.id for case in full.cases] == [case.id for case in low.cases]
    assert full.cases[0].shape == (30, 32, 34)[::-1]
    assert np.prod(low.cases[0].shape) < np.prod(full.cases[0].shape) / 2
    assert full.cases[0].geometry.crop == low.cases[0].geometry.crop
    assert load_splits(tmp_path / "out") == load_splits(tmp_path / "out/3d_lowres")
    assert load_plan(tmp_path / "out")["configuration"] == "3d_fullres"
    assert load_plan(tmp_path / "out/3d_lowres")["configuration"] == "3d_lowres"
    assert prepared(collection, tmp_path / "out", **said).kept == 5
    with caplog.at_level(logging.WARNING):
        prepared(collection, tmp_path / "out", memory_gb=0.01)
    assert "3d_lowres stays as it was prepared before" in caplog.text


def test_a_killed_run_repeats_no_finished_case(tmp_path, rng, project):
    folder, root = task(tmp_path / "raw", rng, cases=40, shape=(40, 40, 30)), tmp_path / "out"
    typed = ["dataset=msd", f"DATA_PREPARATION.SOURCE={folder}", f"DATASET.PREPARED_PATH={root}", "VERBOSE=0"]
    command = [sys.executable, "prepare.py", *typed, "DATA_PREPARATION.WORKERS=1"]
    process = subprocess.Popen(command, cwd=project)
    while len(records(root)) < 45 and process.poll() is None:  # 40 measured, some prepared
        time.sleep(0.005)
    process.kill()
    process.wait()
    before = records(root)
    assert not (root / "manifest.json").exists() or len(before) == 80
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    after = records(root)
    assert len(after) == 80
    assert {path: after[path] for path in before} == before
    assert len(load_manifest(root).cases) == 40


def test_a_broken_case_is_named_and_the_others_are_prepared(tmp_path, rng):
    folder = task(tmp_path / "raw", rng)
    image = np.full((12, 14, 10), np.nan, np.float32)
    write(folder / "imagesTr/case_005.nii.gz", image)
    outcome = prepared(opened(folder), tmp_path / "out")
    assert list(outcome.failures) == ["case_005"]
    assert "case_005" in outcome.failures["case_005"]
    assert "NaN" in outcome.failures["case_005"]
    assert len(outcome.results) == 4
    assert all("case_005" not in ids for fold in load_splits(tmp_path / "out").folds for ids in fold.values())


@pytest.mark.slow
def test_recorded_fingerprint_and_plan_of_the_hippocampus(shared, tmp_path):
    collection = opened(shared / "data/Task04_Hippocampus")
    prepared(collection, tmp_path)
    recorded = Fingerprint.from_dict(json.loads((shared / "fixtures/nnunet_hippocampus_fingerprint.json").read_text()))
    found = Fingerprint.from_dict(json.loads((tmp_path / "fingerprint.json").read_text()))
    assert found.spacings == recorded.spacings
    assert found.shapes_after_crop == recorded.shapes_after_crop
    assert found.median_relative_size_after_cropping == recorded.median_relative_size_after_cropping
    assert found.intensities[0] == pytest.approx(recorded.intensities[0], rel=1e-3)
    plans = json.loads((shared / "fixtures/nnunet_hippocampus_plans.json").read_text())
    for name in ("2d", "3d_fullres"):
        expected, entry = plans["configurations"][name], load_plan(tmp_path)["configurations"][name]
        assert entry["patch"] == expected["patch_size"]
        assert entry["batch_size"] == expected["batch_size"]
        arguments = expected["architecture"]["arch_kwargs"]
        assert entry["strides"] == [list(step) for step in arguments["strides"]]
        assert entry["kernel_sizes"] == [list(size) for size in arguments["kernel_sizes"]]
        assert entry["filters"] == arguments["features_per_stage"]
