"""Collections of volumes: nnU-Net's raw format, lists and patterns, ACDC; published splits; what CHECK finds."""

import json
import logging

import cv2
import h5py
import nibabel as nib
import numpy as np
import pytest

from data_generators.manifest import load_manifest, load_splits
from data_preparation.check import check_collection
from data_preparation.collections import (
    CaseSource,
    PreparationError,
    SourceOptions,
    open_collection,
    original_label_reader,
)
from data_preparation.planned import FOLD_SEED, planned_splits, prepare_by_plan
from data_preparation.planning.document import Wishes
from data_preparation.published_splits import published_splits
from data_preparation.splits import LeakError, make_splits

SHAPE = (10, 12, 8)


def write(path, array, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def picture(rng):
    return rng.normal(100, 20, SHAPE).astype(np.float32)


def organ(*values):
    """A label whose planes 2, 3, ... hold the values."""
    label = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        label[2 + index, 3:6, 3:6] = value
    return label


def nnunet(folder, rng, *, cases=3, channels=1, labels=None, values=(1, 2)):
    for index in range(cases):
        for channel in range(channels):
            write(folder / f"imagesTr/p{index}_{channel:04d}.nii.gz", picture(rng))
        write(folder / f"labelsTr/p{index}.nii.gz", organ(*values))
    said = {
        "channel_names": {str(index): "MRI" for index in range(channels)},
        "labels": labels or {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(said))
    return folder


def opened(name, folder, **options):
    return open_collection(name, SourceOptions(source=folder, **options))


def prepared(collection, root, **said):
    outcome = prepare_by_plan(collection, root, wishes=Wishes(), workers=1, progress=False, **said)
    assert not outcome.failures
    return load_manifest(root)


def test_one_file_per_channel_is_stacked(tmp_path, rng):
    manifest = prepared(opened("nnunet_raw", nnunet(tmp_path / "raw", rng, channels=2)), tmp_path / "out")
    assert [case.id for case in manifest.cases] == ["p0", "p1", "p2"]
    assert (manifest.cases[0].channels, len(manifest.cases[0].sources)) == (2, 2)


def test_a_missing_channel_names_the_case_and_the_file(tmp_path, rng):
    folder = nnunet(tmp_path, rng, channels=2)
    (folder / "imagesTr/p1_0000.nii.gz").unlink()
    collection = opened("nnunet_raw", folder)
    assert [case.id for case in collection.cases] == ["p0", "p2"]
    assert "case p1 lacks channel 0000. Add p1_0000.nii.gz" in str(collection.findings[0])


def test_the_last_channel_missing_is_found_when_the_file_is_read(tmp_path, rng):
    folder = nnunet(tmp_path, rng, channels=2)
    (folder / "imagesTr/p1_0001.nii.gz").unlink()
    found = check_collection(opened("nnunet_raw", folder), workers=1, progress=False)
    assert any("p1_0000.nii.gz: 1 channels; this collection has 2" in str(finding) for finding in found)


def test_regions_name_the_values_by_the_smallest_region(tmp_path, rng):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    collection = opened("nnunet_raw", nnunet(tmp_path / "raw", rng, labels=labels, values=(1, 2, 3)))
    assert collection.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert collection.labels == {0: "background", 1: "whole", 2: "core", 3: "enhancing"}
    assert prepared(collection, tmp_path / "out").preparation["regions"]["core"] == [2, 3]


def test_the_ignored_label_is_stored_as_255_and_read_again_so(tmp_path, rng):
    labels = {"background": 0, "organ": 1, "ignore": 2}
    manifest = prepared(opened("nnunet_raw", nnunet(tmp_path / "raw", rng, labels=labels)), tmp_path / "out")
    case = manifest.cases[0]
    assert sorted(case.voxels) == [0, 1, 255]
    source = CaseSource(case.id, case.patient, (), tmp_path / "raw/labelsTr/p0.nii.gz")
    assert set(np.unique(original_label_reader(manifest)(source).array)) == {0, 1, 255}


def test_the_explicit_list_wins_over_names_and_expands_variables(tmp_path, rng, monkeypatch):
    folder = nnunet(tmp_path / "raw", rng)
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    write(tmp_path / "elsewhere/a.nii.gz", picture(rng))
    said = json.loads((folder / "dataset.json").read_text())
    said["dataset"] = {
        "a": {"images": ["$ELSEWHERE/a.nii.gz"], "label": "labelsTr/p0.nii.gz"},
        "b": {"images": ["imagesTr/absent.nii.gz"], "label": "labelsTr/p1.nii.gz"},
    }
    (folder / "dataset.json").write_text(json.dumps(said))
    collection = opened("nnunet_raw", folder)
    assert [case.id for case in collection.cases] == ["a"]
    assert "lists it for case b" in str(collection.findings[0])


def test_a_csv_list_gives_ids_patients_and_parts(tmp_path, rng):
    for name in "abc":
        write(tmp_path / f"x/{name}_t1.nii.gz", picture(rng))
        write(tmp_path / f"x/{name}_seg.nii.gz", organ(1))
    rows = [f"{name}_left,Doe{name},x/{name}_t1.nii.gz,x/{name}_seg.nii.gz,train" for name in "ab"]
    rows.append("c_left,Doec,x/c_t1.nii.gz,x/c_seg.nii.gz,test")
    (tmp_path / "list.csv").write_text("id,patient,image,label,part\n" + "\n".join(rows) + "\n")
    collection = opened("volume_folder", tmp_path / "list.csv", labels={"organ": 1}, channels=("CT",))
    assert [(case.id, case.patient, case.part) for case in collection.cases] == [
        ("a_left", "Doea", "train"),
        ("b_left", "Doeb", "train"),
        ("c_left", "Doec", "test"),
    ]
    assert (collection.labels, collection.channels) == ({0: "background", 1: "organ"}, ("CT",))


def test_a_json_list_by_part_with_several_channels(tmp_path, rng):
    for name in ("t1", "t2", "seg"):
        write(tmp_path / f"{name}.nii.gz", picture(rng) if name != "seg" else organ(1))
    row = {"id": "one", "image": ["t1.nii.gz", "t2.nii.gz"], "label": "seg.nii.gz"}
    (tmp_path / "list.json").write_text(json.dumps({"training": [row], "name": "x"}))
    case = opened("volume_folder", tmp_path / "list.json").cases[0]
    assert (case.id, len(case.images), case.part) == ("one", 2, "train")


def test_patterns_pair_by_what_the_asterisks_stand_for(tmp_path, rng):
    for name in ("p1", "p2", "p3"):
        write(tmp_path / f"{name}/t1.nii.gz", picture(rng))
        write(tmp_path / f"{name}/t2.nii.gz", picture(rng))
        write(tmp_path / f"{name}/seg.nii.gz", organ(1))
    (tmp_path / "p2/t2.nii.gz").unlink()
    (tmp_path / "p3/seg.nii.gz").unlink()
    collection = opened("volume_folder", tmp_path, images=("*/t1.nii.gz", "*/t2.nii.gz"), masks="*/seg.nii.gz")
    assert [case.id for case in collection.cases] == ["p1"]
    assert "case p2 lacks channel 1" in str(collection.findings[0])
    assert "label missing for case p3" in str(collection.findings[1])


def test_a_folder_without_patterns_pairs_images_and_labels_by_name(tmp_path, rng):
    write(tmp_path / "images/a.nii.gz", picture(rng))
    write(tmp_path / "labels/a.nii.gz", organ(1))
    assert [case.id for case in opened("volume_folder", tmp_path).cases] == ["a"]


def test_an_empty_folder_says_what_to_type(tmp_path):
    with pytest.raises(PreparationError, match=r"DATA_PREPARATION\.IMAGES='images/\*\.nii\.gz'"):
        opened("volume_folder", tmp_path)


def test_doubled_ids_are_refused(tmp_path, rng):
    write(tmp_path / "a.nii.gz", picture(rng))
    (tmp_path / "list.csv").write_text("id,image,label\nx,a.nii.gz,a.nii.gz\nx,a.nii.gz,a.nii.gz\n")
    with pytest.raises(PreparationError, match="several cases are called x"):
        opened("volume_folder", tmp_path / "list.csv")


def heart(folder, rng, *, patients=3):
    folder.mkdir(parents=True, exist_ok=True)
    for patient in range(1, patients + 1):
        for frame in ("01", "12"):
            with h5py.File(folder / f"patient{patient:03d}_frame{frame}.h5", "w") as file:
                label = np.zeros((4, 30, 28), np.uint8)
                label[1:3, 5:9, 5:9], label[1:3, 10:14, 5:9], label[1:3, 15:20, 5:9] = 1, 2, 3
                file["image"] = rng.uniform(0.1, 1, (4, 30, 28)).astype(np.float32)
                file["label"] = label
    return folder


def test_heart_frames_have_the_given_spacing_and_stay_with_their_patient(tmp_path, rng):
    manifest = prepared(opened("acdc", heart(tmp_path / "raw", rng)), tmp_path / "out")
    assert manifest.cases[0].spacing_mm == pytest.approx((10.0, 1.5, 1.5))
    for fold in load_splits(tmp_path / "out").folds:
        patients = [{case_id.split("_")[0] for case_id in fold[part]} for part in ("train", "validation")]
        assert patients[0].isdisjoint(patients[1])


def test_another_spacing_prepares_the_frames_again(tmp_path, rng):
    folder = heart(tmp_path / "raw", rng)
    prepared(opened("acdc", folder), tmp_path / "out")
    manifest = prepared(opened("acdc", folder, spacing_mm=(8.0, 2.0, 2.0)), tmp_path / "out")
    assert manifest.cases[0].spacing_mm == pytest.approx((8.0, 2.0, 2.0))


def sources(*ids, patient=None):
    return [CaseSource(case_id, patient or case_id, (), None) for case_id in ids]


def test_splits_of_nnunet_are_taken_as_they_are(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}]))
    splits = published_splits("s.json", sources("a", "b", "c"), folder=tmp_path)
    assert splits.folds[1] == {"train": ("c",), "validation": ("a",)}
    assert splits.official["validation"] == ("c",)


def test_of_several_splits_the_one_of_these_cases_is_taken(tmp_path, caplog):
    table = {"x": {"train": ["m"], "val": ["n"]}, "y": {"fold0": {"train": ["a", "z"], "val": ["b"]}}}
    (tmp_path / "s.json").write_text(json.dumps(table))
    with caplog.at_level(logging.WARNING):
        splits = published_splits("s.json", sources("a", "b", "c"), folder=tmp_path)
    assert splits.folds == ({"train": ("a",), "validation": ("b",)},)
    assert "not here (1): z" in caplog.text
    assert "leaves out cases (1): c" in caplog.text


def test_a_split_asked_for_by_name_that_is_not_there(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"x": {"train": ["a"], "val": ["b"]}}))
    with pytest.raises(PreparationError, match="has no split 'y'; it has x"):
        published_splits("s.json#y", sources("a"), folder=tmp_path)


def test_a_published_split_that_parts_a_patient_is_refused(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
    with pytest.raises(LeakError, match="Patient p"):
        published_splits("s.json", sources("a", "b", patient="p"), folder=tmp_path)


@pytest.mark.parametrize(("name", "folds"), [("msd_fold_splits_u2net", 5), ("unetr_plusplus_splits", 1)])
def test_published_files_fit_their_collections(shared, name, folds):
    ids = {"msd_fold_splits_u2net": ["hippocampus_001", "hippocampus_017"], "unetr_plusplus_splits": ["BRATS_001"]}
    cases = sources(*ids[name])
    splits = published_splits(f"{name}.json", cases, folder=shared / "fixtures")
    assert len(splits.folds) == folds
    assert ids[name][0] in splits.official["train"]


def test_folds_are_those_that_were_published_for_six_tasks(shared):
    # They come from scikit-learn's KFold(5, shuffle=True, random_state=12345) over the sorted names.
    for folds in json.loads((shared / "fixtures/msd_fold_splits_u2net.json").read_text()).values():
        names = sorted({*folds["fold0"]["train"], *folds["fold0"]["val"]})
        made = make_splits(sources(*names), validation_share=0.1, seed=FOLD_SEED)
        for index, fold in enumerate(made.folds):
            assert set(fold["validation"]) == set(folds[f"fold{index}"]["val"])


def test_pictures_in_nnunets_format_are_planned_in_2d(tmp_path, rng):
    folder = tmp_path / "raw"
    for index in range(3):
        for kind, array in (("imagesTr/p{}_0000", rng.integers(1, 255, (40, 32, 3))), ("labelsTr/p{}", np.eye(40, 32))):
            path = folder / f"{kind.format(index)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), array.astype(np.uint8))
    said = {"channel_names": {"0": "rgb_to_0_1", "1": "rgb_to_0_1", "2": "rgb_to_0_1"}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps({**said, "labels": {"background": 0, "line": 1}}))
    manifest = prepared(opened("nnunet_raw", folder), tmp_path / "out")
    assert (manifest.preparation["configuration"], manifest.cases[0].shape) == ("2d", (1, 40, 32))
    assert float(np.load(tmp_path / "out" / manifest.cases[0].image).max()) == pytest.approx(254 / 255)


def test_labels_beyond_a_byte_are_refused(tmp_path, rng):
    labels = {"background": 0, "organ": 1, "lesion": 500}
    with pytest.raises(PreparationError, match=r"Label 500 \(lesion\) cannot be stored"):
        opened("nnunet_raw", nnunet(tmp_path, rng, labels=labels))


def test_a_fold_without_cases_here_is_said_and_not_the_official_one(tmp_path, caplog):
    (tmp_path / "s.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["z"]}, {"train": ["a"], "val": ["b"]}]))
    with caplog.at_level(logging.WARNING):
        splits = published_splits("s.json", sources("a", "b"), folder=tmp_path)
    assert splits.official["validation"] == ("b",)
    assert "fold 0 has no cases here" in caplog.text


def test_check_names_a_volume_of_one_slice(tmp_path, rng):
    folder = nnunet(tmp_path, rng)
    write(folder / "imagesTr/p1_0000.nii.gz", picture(rng)[..., :1])
    write(folder / "labelsTr/p1.nii.gz", organ(1, 2)[..., :1])
    found = check_collection(opened("nnunet_raw", folder), workers=1, progress=False)
    assert ["p1_0000" in str(finding) for finding in found if "single slice" in str(finding)] == [True]


def test_preparation_warns_of_a_single_slice_by_name(tmp_path, rng, caplog):
    folder = nnunet(tmp_path / "raw", rng)
    write(folder / "imagesTr/p1_0000.nii.gz", picture(rng)[..., :1])
    write(folder / "labelsTr/p1.nii.gz", organ(1, 2)[..., 4:5])
    with caplog.at_level(logging.WARNING):
        prepared(opened("nnunet_raw", folder), tmp_path / "out")
    assert "p1: is a single slice" in caplog.text


def test_check_names_grids_that_differ_and_labels_of_four_axes(tmp_path, rng):
    folder = nnunet(tmp_path, rng)
    write(folder / "labelsTr/p0.nii.gz", organ(1, 2), (1.0, 1.0, 2.0))
    write(folder / "labelsTr/p2.nii.gz", np.zeros((*SHAPE, 2), np.uint8))
    texts = [str(finding) for finding in check_collection(opened("nnunet_raw", folder), workers=1, progress=False)]
    assert any("p0.nii.gz: the label lies elsewhere" in text and "LABEL_GRID=image" in text for text in texts)
    assert any("p2" in text and "four axes" in text for text in texts)


def test_check_names_folds_without_a_class(tmp_path, rng):
    folder = nnunet(tmp_path, rng, cases=5)
    for index in (0, 2, 3, 4):
        write(folder / f"labelsTr/p{index}.nii.gz", organ(1))
    collection = opened("nnunet_raw", folder)
    found = check_collection(collection, splits=planned_splits(collection), workers=1, progress=False)
    texts = [str(finding) for finding in found]
    # p1 alone holds the lesion: it validates in one fold, which then trains without; four folds validate without.
    assert sum("no train case holds lesion (2)" in text for text in texts) == 1
    assert sum("no validation case holds lesion (2)" in text for text in texts) == 4
    assert all("it occurs in p1" in text for text in texts)


def test_tif_stacks_take_their_spacing_from_the_sidecar(tmp_path, rng):
    from imaging import read_volume, write_volume
    from imaging.volume import Volume, picture_affine

    folder = tmp_path / "raw"
    for kind, array in (
        ("images", rng.integers(1, 200, (6, 12, 10), np.uint8)),
        ("labels", np.ones((6, 12, 10), np.uint8)),
    ):
        (folder / kind).mkdir(parents=True)
        write_volume(folder / f"{kind}/a.tif", Volume(array, picture_affine(), has_geometry=False))
    (folder / "images/a.json").write_text('{"spacing": [0.5, 0.5, 2.0]}')
    assert not read_volume(folder / "images/a.tif").has_geometry
    collection = opened("volume_folder", folder, images=("images/*.tif",), masks="labels/*.tif")
    assert collection.read_image(collection.cases[0]).spacing_mm == pytest.approx((2.0, 0.5, 0.5))
