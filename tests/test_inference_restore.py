"""The way from a file to the network and back: same preparation as training, same grid as the file."""

import numpy as np
import pytest
from inference_cases import write_case

from data_preparation.case import Recipe, prepare_arrays
from data_preparation.collections import SourceOptions, open_collection
from imaging import CaseGeometry, Grid, Volume, read_volume, reorient, to_canonical
from inference.prepare import InputRecipe, label_on_prepared, prepare_volume
from inference.restore import restore_labels

WINDOW = {"kind": "window", "window_hu": [-200.0, 250.0]}
AFFINE = np.array([[0, 0, -1.5, 20], [0, -1.5, 0, 30], [4.0, 0, 0, -50], [0, 0, 0, 1]])


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
def test_a_new_file_is_prepared_exactly_as_the_training_cases(tmp_path, codes):
    write_case(tmp_path, 1, codes=codes)
    collection = open_collection("lits", SourceOptions(source=tmp_path))
    trained = prepare_arrays(collection.cases[0], collection, Recipe(height=32, width=24))
    image, geometry = prepare_volume(read_volume(tmp_path / "volume-1.nii.gz"), InputRecipe(32, 24, WINDOW))
    np.testing.assert_array_equal(image, trained.image)
    assert image.dtype == trained.image.dtype
    assert geometry.to_dict() == trained.geometry.to_dict()


def test_without_a_size_the_file_keeps_its_own(tmp_path):
    image, _ = prepare_volume(Volume(np.zeros((3, 5, 7), np.int16), AFFINE), InputRecipe(intensity=WINDOW))
    assert image.shape == (3, 5, 7, 1)
    # -0 HU lies at (0 + 200) / 450 of the window.
    assert float(image[0, 0, 0, 0]) == pytest.approx(200 / 450, abs=1e-3)


@pytest.mark.parametrize(
    ("array", "word"),
    [(np.zeros((2, 3, 4, 2), np.int16), "2 channels"), (np.full((2, 3, 4), np.nan, np.float32), "not finite")],
)
def test_files_that_do_not_fit_are_refused(array, word):
    with pytest.raises(ValueError, match=word):
        prepare_volume(Volume(array, AFFINE, source="a.nii"), InputRecipe(intensity=WINDOW))


def test_an_intensity_that_cannot_be_repeated_is_refused():
    with pytest.raises(ValueError, match="zscore"):
        InputRecipe(intensity={"kind": "zscore"})


def one_hot(label, classes):
    return np.eye(classes, dtype=np.float32)[label]


def random_geometry(codes, prepared_shape=None, crop=None):
    shape = (5, 8, 6)
    stored = reorient(Volume(np.zeros(shape, np.uint8), AFFINE), codes)
    return CaseGeometry.of(stored.grid, crop=crop, prepared_shape=prepared_shape)


@pytest.mark.parametrize("codes", ["SPL", "LPS", "RAS", "AIR"])
@pytest.mark.parametrize("classes", [2, 4])
def test_labels_return_to_the_voxels_they_came_from(rng, codes, classes):
    label = rng.integers(0, classes, (5, 8, 6)).astype(np.uint8)
    stored = reorient(Volume(label, AFFINE), codes)
    found = restore_labels(one_hot(label, classes), CaseGeometry.of(stored.grid))
    np.testing.assert_array_equal(found.array, stored.array)
    np.testing.assert_allclose(found.affine, stored.affine)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_one_class_at_a_time_equals_all_at_once(rng, classes):
    crop = ((1, 5), (0, 7), (2, 6))
    geometry = random_geometry("RAS", prepared_shape=(4, 11, 9), crop=crop)
    probabilities = rng.random((4, 11, 9, classes)).astype(np.float32)
    whole = geometry.restore_probabilities(probabilities)
    expected = whole[..., 0] > 0.5 if classes == 1 else whole[..., 1] > 0.5 if classes == 2 else whole.argmax(-1)
    np.testing.assert_array_equal(restore_labels(probabilities, geometry).array, expected)


def test_outside_the_crop_is_background():
    geometry = random_geometry("SPL", crop=((1, 3), (2, 5), (0, 6)))
    found = restore_labels(one_hot(np.full((2, 3, 6), 2), 3), geometry).array
    assert (found[1:3, 2:5] == 2).all()
    assert np.count_nonzero(found) == 2 * 3 * 6


def test_the_decision_is_taken_after_resampling():
    # Two prepared voxels 0.9 and 0.2 become four: linear in between, at 0.9, 0.725, 0.375, 0.2.
    grid = Grid((1, 1, 4), AFFINE)
    geometry = CaseGeometry.of(grid, prepared_shape=(1, 1, 2))
    probabilities = np.array([0.9, 0.2], np.float32).reshape(1, 1, 2, 1)
    assert restore_labels(probabilities, geometry).array.ravel().tolist() == [1, 1, 0, 0]
    assert restore_labels(probabilities, geometry, threshold=0.3).array.ravel().tolist() == [1, 1, 1, 0]


def test_regions_are_restored_from_the_outermost_inwards():
    geometry = CaseGeometry.of(Grid((1, 1, 3), AFFINE))
    probabilities = np.array([[0.9, 0.1], [0.9, 0.8], [0.1, 0.8]], np.float32).reshape(1, 1, 3, 2)
    assert restore_labels(probabilities, geometry, regions=[[1, 2], [2]]).array.ravel().tolist() == [1, 2, 2]


def test_probabilities_of_another_grid_are_refused():
    with pytest.raises(ValueError, match="prepared grid"):
        restore_labels(np.zeros((5, 8, 7, 2), np.float32), random_geometry("SPL"))


def test_a_label_is_seen_on_the_prepared_grid(rng):
    label = rng.integers(0, 3, (5, 8, 6)).astype(np.uint8)
    stored = reorient(Volume(label, AFFINE), "RAI")
    geometry = CaseGeometry.of(stored.grid, prepared_shape=(5, 4, 12))
    seen = label_on_prepared(stored.array, geometry, stored.affine)
    # 8 rows become 4: the nearest voxel of centre 0.5 * 2 = 1, 3, 5, 7; 6 columns become 12: each twice.
    np.testing.assert_array_equal(seen, np.repeat(to_canonical(stored).array[:, 1::2], 2, axis=2))
