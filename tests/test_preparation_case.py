"""One case: window first, one scale for all slices, labels untouched, orientation by the header, nothing lost."""

import numpy as np
import pytest
from preparation_helpers import SPACING_MM, lits, small_case, write_lits, write_nifti, write_pair

from data_generators.manifest import foreground_slices, foreground_voxels
from data_preparation import case as case_module
from data_preparation.case import Recipe, foreground_index, prepare_arrays, prepare_case
from data_preparation.collections import PreparationError
from imaging import read_volume

KEEP = Recipe(height=None, width=None)
WINDOW = (-200.0, 250.0)


def unit(hu):
    return (np.clip(hu, *WINDOW) - WINDOW[0]) / (WINDOW[1] - WINDOW[0])


def arrays_of(folder, recipe=KEEP, index=0):
    collection = lits(folder)
    return prepare_arrays(collection.cases[index], collection, recipe)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "RAI", "PIR", "SAL"])
def test_every_orientation_gives_the_same_arrays(tmp_path, codes):
    hu, label = small_case(1)
    write_pair(tmp_path, 0, hu, label, codes=codes)
    arrays = arrays_of(tmp_path)
    assert np.abs(arrays.image[..., 0] - unit(hu)).max() < 1e-3
    assert np.array_equal(arrays.label, label)
    assert arrays.geometry.prepared_grid().spacing_mm == pytest.approx(SPACING_MM)


@pytest.mark.parametrize("slices", [129, 513])
def test_no_number_of_slices_loses_the_volume(tmp_path, slices):
    # OpenCV drops a last axis of 1 and refuses more than 512 channels: such volumes used to vanish without a word.
    hu = np.zeros((slices, 128, 128), np.int16)
    hu[:, 30:60, 30:60] = np.arange(slices)[:, None, None] % 100
    write_pair(tmp_path, 0, hu, hu > 0)
    arrays = arrays_of(tmp_path, Recipe(64, 64))
    assert arrays.image.shape == (slices, 64, 64, 1)
    assert np.abs(arrays.image[:, 20, 20, 0] - unit(np.arange(slices) % 100)).max() < 1e-3


def test_wide_scans_are_resized(tmp_path):
    write_pair(tmp_path, 0, np.zeros((2, 16, 600)), np.zeros((2, 16, 600)))
    assert arrays_of(tmp_path, Recipe(8, 320)).image.shape == (2, 8, 320, 1)


def test_one_tissue_has_one_value_whatever_else_is_in_the_slice(tmp_path):
    hu = np.full((3, 8, 8), 40)
    hu[1, 0, 0] = 3000  # metal in one slice
    hu[2, :4] = -1000  # air in another
    write_pair(tmp_path, 0, hu, np.zeros_like(hu))
    image = arrays_of(tmp_path).image[..., 0]
    assert np.unique(image[:, 6, 6]).tolist() == [pytest.approx(240 / 450, abs=5e-4)]


def test_a_constant_slice_is_finite(tmp_path):
    write_pair(tmp_path, 0, np.full((2, 8, 8), -1000), np.zeros((2, 8, 8)))
    assert (arrays_of(tmp_path).image == 0).all()


def test_the_window_is_applied_before_anything_is_interpolated(tmp_path):
    # Skin edge: two values, -1000 and 40 HU. Clipped first, the edge lies between -200 and 40 and nothing overshoots.
    hu = np.full((2, 64, 64), -1000)
    hu[:, 9:50, 11:47] = 40
    write_pair(tmp_path, 0, hu, np.zeros_like(hu))
    image = arrays_of(tmp_path, Recipe(40, 40)).image.astype(np.float32)
    assert image.max() <= 240 / 450 + 5e-4
    half = np.full((1, 2, 2), -1000)
    half[0, :, 0] = 40
    write_pair(tmp_path / "half", 0, half, np.zeros_like(half))
    # Mean of the clipped values 240/450 and 0, not the clipped mean of -480 HU.
    assert float(arrays_of(tmp_path / "half", Recipe(1, 1)).image[0, 0, 0, 0]) == pytest.approx(120 / 450, abs=5e-4)


def test_the_tumour_stays_a_class_of_its_own(tmp_path):
    write_lits(tmp_path, (0,))
    assert np.unique(arrays_of(tmp_path).label).tolist() == [0, 1, 2]


def test_labels_are_never_interpolated(tmp_path):
    label = np.zeros((2, 40, 40), np.uint8)
    label[:, 10:30, 10:30] = 2
    write_pair(tmp_path, 0, np.zeros_like(label), label)
    for size in (17, 80):
        assert np.unique(arrays_of(tmp_path, Recipe(size, size)).label).tolist() == [0, 2]


def test_storage_is_finer_than_a_tenth_of_a_hounsfield_unit(tmp_path):
    hu = np.arange(-200, 251).reshape(1, 11, 41)
    write_pair(tmp_path, 0, hu, np.zeros_like(hu))
    image = arrays_of(tmp_path).image
    assert image.dtype == np.float16
    assert np.abs(image[..., 0].astype(np.float64) * 450 - 200 - hu).max() < 0.15


def test_the_geometry_leads_back_to_the_file(tmp_path):
    hu, label = small_case(3, (5, 24, 32))
    write_pair(tmp_path, 0, hu, label, codes="RAI")
    arrays = arrays_of(tmp_path, Recipe(48, 64))
    restored = arrays.geometry.restore_label(arrays.label)
    source = read_volume(tmp_path / "segmentation-0.nii")
    assert np.array_equal(restored.array, source.array)
    assert np.allclose(restored.affine, source.affine)


def test_case_files_and_entry(tmp_path):
    hu, label = small_case(4)
    write_pair(tmp_path / "raw", 7, hu, label)
    collection = lits(tmp_path / "raw")
    entry = prepare_case(collection.cases[0], collection=collection, recipe=KEEP, root=tmp_path)
    image = np.load(tmp_path / entry.image, mmap_mode="r")
    assert (entry.id, entry.patient, entry.shape, entry.channels) == ("volume-7", "7", (5, 12, 16), 1)
    assert image.shape == (5, 12, 16, 1)
    assert entry.voxels == {0: int((label == 0).sum()), 1: int((label == 1).sum()), 2: 1}
    assert entry.spacing_mm == pytest.approx(SPACING_MM)
    assert len(entry.sources[0].sha256) == 64
    assert foreground_slices(tmp_path, entry, [1]).tolist() == [False, True, True, True, False]
    assert foreground_voxels(tmp_path, entry, 2).tolist() == [[2, 5, 6]]


def test_the_foreground_sample_is_bounded_and_true(monkeypatch):
    monkeypatch.setattr(case_module, "MIN_LOCATIONS", 50)
    label = np.zeros((4, 40, 40), np.uint8)
    label[1:3, 5:35, 5:35] = 3
    index = foreground_index(label, {0: 4600, 3: 1800}, "a")
    assert index["voxels_3"].shape == (50, 3)
    assert (label[tuple(index["voxels_3"].T)] == 3).all()
    assert len(np.unique(index["voxels_3"], axis=0)) == 50
    assert index["slices_3"].tolist() == [1, 2]
    assert "voxels_0" not in index
    assert np.array_equal(index["voxels_3"], foreground_index(label, {3: 1800}, "a")["voxels_3"])


def test_one_per_cent_where_that_is_more(monkeypatch):
    monkeypatch.setattr(case_module, "MIN_LOCATIONS", 5)
    assert len(foreground_index(np.ones((10, 10, 10), np.uint8), {1: 1000}, "a")["voxels_1"]) == 10


def refused(tmp_path, words, recipe=KEEP):
    with pytest.raises(PreparationError, match=words) as error:
        arrays_of(tmp_path, recipe)
    assert "\n" not in str(error.value)


def test_a_label_of_another_size_is_refused(tmp_path):
    write_nifti(tmp_path / "volume-0.nii", np.zeros((4, 8, 8), np.int16))
    write_nifti(tmp_path / "segmentation-0.nii", np.zeros((4, 8, 9), np.uint8))
    refused(tmp_path, r"segmentation-0\.nii: the label is 4 x 8 x 9 voxels, the image 4 x 8 x 8")


def test_a_label_elsewhere_is_refused_unless_the_image_is_trusted(tmp_path):
    write_nifti(tmp_path / "volume-0.nii", np.zeros((4, 8, 8), np.int16))
    write_nifti(tmp_path / "segmentation-0.nii", np.zeros((4, 8, 8), np.uint8), origin_mm=30.0)
    refused(tmp_path, r"segmentation-0\.nii: the label lies elsewhere.*LABEL_GRID=image")
    assert arrays_of(tmp_path, Recipe(None, None, trust_image_grid=True)).label.shape == (4, 8, 8)


def test_unexpected_label_values_are_refused(tmp_path):
    write_pair(tmp_path, 0, np.zeros((2, 8, 8)), np.full((2, 8, 8), 3))
    refused(tmp_path, "unexpected label values 3; this collection has 0 = background, 1 = liver, 2 = tumor")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused(tmp_path, bad):
    hu = np.zeros((2, 8, 8), np.float32)
    hu[1, 2, 3] = bad
    write_nifti(tmp_path / "volume-0.nii", hu)
    write_nifti(tmp_path / "segmentation-0.nii", np.zeros((2, 8, 8), np.uint8))
    refused(tmp_path, r"volume-0\.nii: 1 voxels are NaN or infinite")


def test_an_empty_window_is_refused():
    with pytest.raises(PreparationError, match="SCAN_MIN_VALUE"):
        Recipe(window_hu=(250.0, -200.0))
