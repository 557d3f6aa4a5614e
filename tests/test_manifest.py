"""The file format of a prepared collection."""

import json

import numpy as np
import pytest

from data_generators.manifest import (
    Case,
    Manifest,
    ManifestError,
    SourceFile,
    Splits,
    foreground_slices,
    foreground_voxels,
    label_lut,
    load_manifest,
    load_splits,
    save_manifest,
    save_splits,
)
from imaging import CaseGeometry, Grid

LABELS = {0: "background", 1: "liver", 2: "tumor"}
AFFINE = np.array([[0, 0, -1.5, 7], [0, -1, 0, 8], [2, 0, 0, 9], [0, 0, 0, 1]], float)


def write(root, case_ids=("a", "b"), label=True):
    for folder in ("images", "labels", "locations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    cases = []
    for case_id in case_ids:
        np.save(root / f"images/{case_id}.npy", np.zeros((4, 3, 2, 1), np.float16))
        np.save(root / f"labels/{case_id}.npy", np.zeros((4, 3, 2), np.uint8))
        cases.append(
            Case(
                id=case_id,
                patient="p",
                image=f"images/{case_id}.npy",
                label=f"labels/{case_id}.npy" if label else None,
                shape=(4, 3, 2),
                channels=1,
                spacing_mm=(2.0, 1.0, 1.5),
                affine=AFFINE,
                geometry=CaseGeometry.of(Grid((4, 3, 2), AFFINE)),
                sources=(SourceFile("x.nii", "00"),),
                label_source=SourceFile("y.nii", "11") if label else None,
                voxels={0: 20, 2: 4},
            )
        )
    manifest = Manifest("lits", LABELS, ["CT"], {"kind": "window", "window_hu": [-200, 250]}, tuple(cases), "free")
    save_manifest(root, manifest)
    return manifest


def test_what_is_saved_is_loaded(tmp_path):
    manifest = write(tmp_path)
    assert load_manifest(tmp_path).to_dict() == manifest.to_dict()


def test_numbers_keep_their_types(tmp_path):
    write(tmp_path)
    case = load_manifest(tmp_path).case("b")
    assert case.shape == (4, 3, 2)
    assert case.voxels == {0: 20, 2: 4}
    assert np.array_equal(case.affine, AFFINE)
    assert case.geometry.prepared_shape == (4, 3, 2)
    assert load_manifest(tmp_path).labels == LABELS


def test_a_case_without_label_stays_without(tmp_path):
    write(tmp_path, label=False)
    assert load_manifest(tmp_path).cases[0].label is None
    assert load_manifest(tmp_path).cases[0].label_source is None


def test_missing_files_are_named(tmp_path):
    write(tmp_path)
    (tmp_path / "labels/b.npy").unlink()
    with pytest.raises(ManifestError, match=r"lacks labels/b\.npy.*prepare\.py again"):
        load_manifest(tmp_path)


def test_another_version_is_refused(tmp_path):
    write(tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text()) | {"version": 99}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ManifestError, match="version 99, this program reads 1"):
        load_manifest(tmp_path)


def test_no_manifest_says_what_to_run(tmp_path):
    with pytest.raises(ManifestError, match=r"not a prepared collection.*prepare\.py"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("damage", ["{", '{"version": 1}', '{"version": 1, "cases": [{"id": "a"}]}'])
def test_damage_is_one_line(tmp_path, damage):
    (tmp_path / "manifest.json").write_text(damage)
    with pytest.raises(ManifestError, match="prepare the collection again") as error:
        load_manifest(tmp_path)
    assert "\n" not in str(error.value)


def test_doubled_cases_are_refused(tmp_path):
    write(tmp_path, case_ids=("a", "a"))
    with pytest.raises(ManifestError, match="twice: a"):
        load_manifest(tmp_path)


def test_an_unknown_case_is_named(tmp_path):
    with pytest.raises(ManifestError, match="'zz'"):
        write(tmp_path).case("zz")


def test_a_failed_save_leaves_the_old_manifest(tmp_path, monkeypatch):
    old = write(tmp_path).to_dict()
    monkeypatch.setattr(json, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_manifest(tmp_path, Manifest("other", LABELS, [], {}, ()))
    monkeypatch.undo()
    assert load_manifest(tmp_path).to_dict() == old
    assert not list(tmp_path.glob(".partial*"))


def test_splits_are_loaded_as_saved(tmp_path):
    splits = Splits({"train": ("a",), "validation": ("b",), "test": ()}, ({"train": ("b",), "validation": ("a",)},), 7)
    save_splits(tmp_path, splits)
    assert load_splits(tmp_path) == splits
    assert splits.fold(0)["train"] == ("b",)


def test_a_missing_fold_is_refused():
    with pytest.raises(ManifestError, match="Fold 1 does not exist"):
        Splits({}, ({},)).fold(1)


@pytest.mark.parametrize(
    ("wanted", "table", "names"),
    [
        (None, [0, 1, 2], ("background", "liver", "tumor")),
        ({"liver": [1, 2]}, [0, 1, 1], ("background", "liver")),
        ({"tumor": 2}, [0, 0, 1], ("background", "tumor")),
        ({"tumor": 2, "liver": 1}, [0, 2, 1], ("background", "tumor", "liver")),
        ({"liver": ["liver", "tumor"]}, [0, 1, 1], ("background", "liver")),
        ({"liver": "liver", "ignore": "tumor"}, [0, 1, 255], ("background", "liver")),
        ({"background": 0, "tumor": 2}, [0, 0, 1], ("background", "tumor")),
    ],
)
def test_labels_become_classes(wanted, table, names):
    lut, classes = label_lut(LABELS, wanted)
    assert lut[:3].tolist() == table
    assert classes == names
    assert lut.dtype == np.uint8
    assert lut.shape == (256,)


def test_unlisted_values_become_background_and_255_stays_ignored():
    lut, _ = label_lut(LABELS, {"liver": 1})
    assert lut[7] == 0
    assert lut[255] == 255


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"liver": "livver"}, "Did you mean 'liver'"),
        ({"liver": 1, "tumor": [1, 2]}, "label 1 to 'liver' and to 'tumor'"),
        ({"liver": 300}, "0 to 255"),
        ({}, "names no class"),
    ],
)
def test_impossible_label_maps_are_refused(wanted, words):
    with pytest.raises(ManifestError, match=words):
        label_lut(LABELS, wanted)


def test_foreground_is_found_by_value(tmp_path):
    case = write(tmp_path).cases[0]
    np.savez(
        tmp_path / "locations/a.npz",
        slices_1=np.array([0, 1], np.int32),
        slices_2=np.array([3], np.int32),
        voxels_2=np.array([[3, 1, 1]], np.int32),
    )
    assert foreground_slices(tmp_path, case, [1, 2]).tolist() == [True, True, False, True]
    assert foreground_slices(tmp_path, case, [5]).tolist() == [False] * 4
    assert foreground_voxels(tmp_path, case, 2).tolist() == [[3, 1, 1]]
    assert foreground_voxels(tmp_path, case, 5).shape == (0, 3)


def test_a_missing_index_names_the_case(tmp_path):
    case = write(tmp_path).cases[1]
    with pytest.raises(ManifestError, match="case b"):
        foreground_slices(tmp_path, case, [1])
