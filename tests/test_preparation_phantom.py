"""The synthetic collection: seeded, HU-true, labelled, in LiTS naming and several orientations."""

import nibabel
import numpy as np
import pytest

from data_preparation.anatomy import abdomen, smooth_field
from data_preparation.collections import PreparationError
from data_preparation.phantom import ORIENTATIONS, phantom_numbers, write_phantom, write_phantoms

SHAPE = (24, 96, 96)


@pytest.fixture(scope="module")
def patients():
    return [abdomen(np.random.default_rng([5, number]), SHAPE) for number in range(9)]


def test_the_same_seed_gives_the_same_patient():
    first, second, other = (abdomen(np.random.default_rng(seed), SHAPE) for seed in (1, 1, 2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_tissues_have_their_hounsfield_units(patients):
    for hu, label in patients:
        corner = hu[:, :4, :4]
        assert np.abs(np.median(corner) + 1000) < 15  # air
        assert 45 < np.median(hu[label == 1]) < 140  # liver, with or without contrast
        assert (hu > 250).any()  # bone


def test_tumours_are_darker_than_their_liver(patients):
    with_tumour = [(hu, label) for hu, label in patients if (label == 2).sum() > 30]
    assert len(with_tumour) >= 3
    for hu, label in with_tumour:
        assert np.median(hu[label == 1]) - np.median(hu[label == 2]) > 15


def test_some_patients_have_no_tumour_and_all_have_a_liver(patients):
    assert any((label == 2).sum() == 0 for _, label in patients)
    assert all(0.01 < (label > 0).mean() < 0.15 for _, label in patients)


def test_the_liver_is_on_the_right(patients):
    for _, label in patients:
        assert np.argwhere(label > 0)[:, 2].mean() < SHAPE[2] / 2  # column 0 is the patient's right


def test_no_threshold_finds_the_liver(patients):
    dice = []
    for hu, label in patients:
        guess = (hu >= 45) & (hu <= 140)
        dice.append(2 * (guess & (label > 0)).sum() / (guess.sum() + (label > 0).sum()))
    assert np.mean(dice) < 0.75


def test_smooth_fields_have_unit_variance_and_are_smooth():
    field = smooth_field(np.random.default_rng(0), (40, 60, 80), (8, 10, 12))
    assert abs(field.mean()) < 0.2
    assert field.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(field, axis=2)).mean() < 0.25


def test_files_are_named_and_split_as_lits_does(tmp_path):
    paths = write_phantoms(tmp_path, cases=10, size=(8, 16, 16), spacing_mm=(5, 3, 3), seed=1)
    assert [path.name for path in paths[:3]] == ["volume-0.nii.gz", "volume-1.nii.gz", "volume-28.nii.gz"]
    assert phantom_numbers(10) == [0, 1, *range(28, 36)]
    assert all((tmp_path / path.name.replace("volume", "segmentation")).is_file() for path in paths)


def test_orientations_are_mixed_and_label_and_image_agree(tmp_path):
    seen = set()
    for path in write_phantoms(tmp_path, cases=8, size=(12, 48, 48), spacing_mm=(5, 6, 6), seed=1):
        image = nibabel.load(path)
        label = nibabel.load(tmp_path / path.name.replace("volume", "segmentation"))
        assert np.allclose(image.affine, label.affine)
        seen.add("".join(nibabel.aff2axcodes(image.affine)))
        liver = np.argwhere(np.asarray(label.dataobj) > 0).mean(axis=0)
        x, _, _ = nibabel.affines.apply_affine(image.affine, liver)
        middle = nibabel.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
        assert x > middle[0]  # towards the patient's right, whatever the file's axes
    assert len(seen) >= 4
    assert seen <= set(ORIENTATIONS)


def test_spacing_is_anisotropic(tmp_path):
    write_phantom(tmp_path / "volume-0.nii", size=(8, 16, 16), spacing_mm=(5, 2, 2), seed=0)
    spacing = nibabel.load(tmp_path / "volume-0.nii").header.get_zooms()
    assert max(spacing) > 1.8 * min(spacing)


def test_a_second_run_keeps_files_and_another_seed_replaces_them(tmp_path):
    options = {"cases": 3, "size": (8, 16, 16), "spacing_mm": (5, 3, 3)}
    first = write_phantoms(tmp_path, seed=1, **options)[0]
    content, time = first.read_bytes(), first.stat().st_mtime_ns
    write_phantoms(tmp_path, seed=1, **options)
    assert first.stat().st_mtime_ns == time
    write_phantoms(tmp_path, seed=2, **options)
    assert first.read_bytes() != content


def test_an_interrupted_run_is_completed(tmp_path):
    options = {"cases": 3, "size": (8, 16, 16), "spacing_mm": (5, 3, 3), "seed": 1}
    paths = write_phantoms(tmp_path, **options)
    content = paths[1].read_bytes()
    paths[1].unlink()
    write_phantoms(tmp_path, **options)
    assert paths[1].read_bytes() == content


@pytest.mark.parametrize(
    "wrong", [{"cases": 2}, {"size": (4, 16, 16)}, {"size": (16, 16)}, {"spacing_mm": (5, 0, 3)}], ids=str
)
def test_impossible_settings_are_answered(tmp_path, wrong):
    options = {"cases": 3, "size": (8, 16, 16), "spacing_mm": (5, 3, 3), "seed": 1} | wrong
    with pytest.raises(PreparationError, match=r"DATA_PREPARATION\.PHANTOM"):
        write_phantoms(tmp_path, **options)
