"""Intensities, crops, names of files."""

import numpy as np
import pytest

from imaging import (
    ImageError,
    clip_zscore,
    crop_slices,
    find_images,
    mask_bounding_box,
    natural_key,
    nonzero_bounding_box,
    nonzero_mask,
    rescale_to_unit,
    rgb_to_unit,
    stem_of,
    suffix_of,
    window_to_unit,
    zscore,
)


def test_the_window_maps_its_ends_to_zero_and_one():
    x = np.array([-1000, -200, 25, 250, 3000], np.int16)
    mine = window_to_unit(x, window_hu=(-200, 250))
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, [0, 0, 0.5, 1, 1])


def test_the_same_tissue_is_the_same_grey_whatever_else_is_in_the_slice():
    tissue = np.full((1, 4, 4), 40, np.int16)
    metal = tissue.copy()
    metal[0, 0, 0] = 3000
    window = (-200, 250)
    assert window_to_unit(tissue, window_hu=window)[0, 3, 3] == window_to_unit(metal, window_hu=window)[0, 3, 3]


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="window"):
        window_to_unit(np.zeros(1), window_hu=(5, 5))


def test_clip_then_standardise():
    # clip to [0, 10]: 0, 4, 10; minus 4, over 2: -2, 0, 3.
    mine = clip_zscore(np.array([-50, 4, 99]), low=0, high=10, mean=4, std=2)
    np.testing.assert_allclose(mine, [-2, 0, 3])
    with pytest.raises(ValueError, match="clip range"):
        clip_zscore(np.zeros(1), low=1, high=0, mean=0, std=1)


def test_zscore_per_channel(rng):
    x = rng.normal(size=(3, 4, 5, 2)) * [2, 50] + [7, 1e6]
    mine = zscore(x)
    np.testing.assert_allclose(mine.mean(axis=(0, 1, 2)), 0, atol=2e-2)
    np.testing.assert_allclose(mine.std(axis=(0, 1, 2)), 1, atol=2e-2)


def test_zscore_uses_the_population_deviation():
    np.testing.assert_allclose(zscore(np.array([[[1.0, 3.0]]])), [[[-1, 1]]])


def test_zscore_in_a_mask_leaves_the_outside_zero():
    x = np.array([[[1.0, 3.0, 100.0]]])
    np.testing.assert_allclose(zscore(x, mask=np.array([[[1, 1, 0]]])), [[[-1, 1, 0]]])
    np.testing.assert_array_equal(zscore(x, mask=np.zeros((1, 1, 3))), 0)


def test_constant_images_become_zero():
    assert not zscore(np.full((2, 2, 2), 7)).any()
    assert not rescale_to_unit(np.full((2, 2, 2), 7)).any()


def test_rescaling_uses_each_channels_own_range():
    x = np.array([[[[0, 10], [4, 30]]]])
    np.testing.assert_allclose(rescale_to_unit(x), [[[[0, 0], [1, 1]]]])


def test_rescaling_does_not_change_the_input():
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    for function in (zscore, rescale_to_unit, lambda a: window_to_unit(a, window_hu=(0, 1))):
        function(x)
        np.testing.assert_array_equal(x.ravel(), np.arange(8))


def test_colours_are_divided_by_their_depth():
    np.testing.assert_allclose(rgb_to_unit(np.array([0, 51, 255], np.uint8)), [0, 0.2, 1])
    np.testing.assert_allclose(rgb_to_unit(np.array([65535], np.uint16)), [1])
    with pytest.raises(ValueError, match=r"\[0, 300\]"):
        rgb_to_unit(np.array([0.0, 300.0]))


def test_the_bounding_box_holds_every_voxel_of_any_channel():
    x = np.zeros((5, 6, 7, 2))
    x[1, 2, 3, 0] = -1
    x[2, 4, 3, 1] = 1
    assert nonzero_bounding_box(x) == ((1, 3), (2, 5), (3, 4))
    assert x[crop_slices(nonzero_bounding_box(x))].shape == (2, 3, 1, 2)


def test_an_empty_image_is_not_cropped():
    assert (
        nonzero_bounding_box(np.zeros((2, 3, 4))) == mask_bounding_box(np.zeros((2, 3, 4))) == ((0, 2), (0, 3), (0, 4))
    )


def test_holes_in_the_body_belong_to_it():
    x = np.ones((5, 5, 5))
    x[2, 2, 2] = 0
    x[0, 0, 0] = 0
    mask = nonzero_mask(x)
    assert mask[2, 2, 2] and not mask[0, 0, 0]


def test_two_comes_before_ten():
    names = ["image_10.png", "Image_2.png", "image_1.png", "b", "3", "image_2b.png"]
    expected = ["3", "b", "image_1.png", "Image_2.png", "image_2b.png", "image_10.png"]
    assert sorted(names, key=natural_key) == expected


def test_images_are_found_in_natural_order_without_hidden_files(tmp_path):
    for name in ("a10.PNG", "a2.nii.gz", ".a1.png", "notes.txt", "b.img", "b.hdr", "c.mhd", "c.raw"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["a2.nii.gz", "a10.PNG", "b.hdr", "c.mhd"]
    with pytest.raises(ImageError, match="is not a folder"):
        find_images(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("a.b.nii.gz", "a.b", ".nii.gz"),
        ("A.NII.GZ", "A", ".nii.gz"),
        ("a.png", "a", ".png"),
        ("image_0", "image_0", ""),
    ],
)
def test_double_suffixes_are_one(name, stem, suffix):
    assert (stem_of(name), suffix_of(name)) == (stem, suffix)
