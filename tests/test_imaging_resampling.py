"""Resampling equals SciPy's and nnU-Net's, and slices resize whatever their number."""

import numpy as np
import pytest
from scipy import ndimage

from imaging import (
    coarse_axis,
    new_shape,
    read_label,
    read_volume,
    resample_image,
    resample_label,
    resample_label_nearest,
    resample_probabilities,
    resize_slices,
)

SHAPES = [(5, 20, 50), (14, 41, 33), (9, 64, 17), (1, 3, 7), (30, 5, 33), (9, 40, 90)]
CASES = {
    "spleen_anisotropic": (
        "edge_cases/ivadomed_data-testing/ct_scan/sub-spleen2/ct/sub-spleen2_ct.nii.gz",
        "edge_cases/ivadomed_data-testing/ct_scan/derivatives/labels/sub-spleen2/ct/sub-spleen2_ct_seg-manual.nii.gz",
    ),
    "hippocampus_isotropic": (
        "Task04_Hippocampus/imagesTr/hippocampus_001.nii.gz",
        "Task04_Hippocampus/labelsTr/hippocampus_001.nii.gz",
    ),
}


def scipy_zoom(array, shape, order):
    return ndimage.zoom(array.astype(float), np.divide(shape, array.shape), order=order, mode="nearest", grid_mode=True)


@pytest.fixture(scope="module", params=CASES)
def recorded(request, shared):
    image, label = CASES[request.param]
    with np.load(shared / "fixtures" / "nnunet_resampling.npz") as file:
        facts = {key.split("/")[1]: file[key] for key in file if key.startswith(request.param)}
    facts["shape"] = tuple(int(size) for size in facts["shape"][1:])
    facts["auto"] = {
        "separate_axis": "auto",
        "spacing_mm": facts["current_spacing"],
        "target_spacing_mm": facts["target_spacing"],
    }
    return read_volume(shared / "data" / image), read_label(shared / "data" / label), facts


def test_images_equal_nnunet(recorded):
    image, _, facts = recorded
    mine = resample_image(image.array, facts["shape"], **facts["auto"]).ravel()[facts["index"]]
    assert np.abs(mine - facts["image"]).max() < 1e-5 * np.ptp(facts["image"])


def test_labels_equal_nnunet(recorded):
    _, label, facts = recorded
    mine = resample_label(label.array, facts["shape"], **facts["auto"]).ravel()[facts["index"]]
    assert (mine == facts["label"]).mean() >= 0.999
    assert (facts["label"] > 0).sum() > 0


def test_the_new_size_equals_nnunet(recorded):
    image, _, facts = recorded
    spacing = {"spacing_mm": facts["current_spacing"], "target_spacing_mm": facts["target_spacing"]}
    assert new_shape(image.shape, **spacing) == facts["shape"]


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_equal_scipy_edges_included(shape, order, rng):
    x = rng.normal(size=(9, 40, 33)) * 100
    expected = np.clip(scipy_zoom(x, shape, order), x.min(), x.max())
    np.testing.assert_allclose(resample_image(x, shape, order=order), expected, atol=1e-6 * np.ptp(x))


def test_a_long_axis_is_exact_too(rng):
    x = rng.normal(size=(1, 2, 700))
    expected = np.clip(scipy_zoom(x, (1, 2, 501), 3), x.min(), x.max())
    np.testing.assert_allclose(resample_image(x, (1, 2, 501)), expected, atol=1e-5)


def test_cubic_overshoot_is_clipped():
    step = np.repeat([-1000.0, 40.0], 8)[None, None]
    assert scipy_zoom(step, (1, 1, 40), 3).max() > 60
    assert resample_image(step, (1, 1, 40)).max() == 40


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_coarse_axis_takes_the_nearest_slice(axis, rng):
    x = rng.normal(size=(7, 7, 7)) * 10
    shape = tuple(10 if index == axis else 4 for index in range(3))
    slices = np.moveaxis(x, axis, 0)
    planar = np.stack([np.clip(scipy_zoom(one, (4, 4), 3), one.min(), one.max()) for one in slices])
    # Centres 0.2, 0.9, 1.6, ... of 10 in 7 (in voxel edges: i * 0.7 + 0.35), so slices 0, 1, 1, 2, 3, 3, 4, 5, 5, 6.
    expected = np.moveaxis(planar[[0, 1, 1, 2, 3, 3, 4, 5, 5, 6]], 0, axis)
    np.testing.assert_allclose(resample_image(x, shape, separate_axis=axis), expected, atol=1e-4)


def test_channels_are_resampled_by_themselves(rng):
    x = rng.normal(size=(4, 5, 6, 2)).astype(np.float32)
    both = resample_image(x, (3, 7, 6))
    np.testing.assert_array_equal(both[..., 1], resample_image(x[..., 1], (3, 7, 6)))


def test_integers_are_accepted_and_not_changed():
    x = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    np.testing.assert_array_equal(resample_image(x, (2, 3, 4)), x)


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_equal_scipy_per_value(shape, rng):
    smooth = ndimage.gaussian_filter(rng.normal(size=(9, 40, 33)), 2)
    label = np.digitize(smooth, np.quantile(smooth, [0.5, 0.7, 0.9])).astype(np.uint8)
    expected = np.zeros(shape, np.uint8)
    for value in range(4):
        expected[scipy_zoom(label == value, shape, 1) >= 0.5] = value
    assert (resample_label(label, shape) == expected).mean() > 0.999


def test_labels_are_never_mixed():
    label = np.zeros((1, 1, 8), np.uint8)
    label[..., 4:] = 3
    assert set(np.unique(resample_label(label, (1, 1, 21)))) == {0, 3}


def test_negative_and_large_label_values_survive():
    label = np.array([[[-1, -1, 0, 0, 70000, 70000]]], np.int32)
    np.testing.assert_array_equal(resample_label(label, (1, 1, 12)), np.repeat(label, 2, axis=2))


def test_a_label_keeps_its_type_and_fractions_are_refused():
    assert resample_label(np.ones((2, 2, 2), np.uint16), (3, 3, 3)).dtype == np.uint16
    with pytest.raises(ValueError, match="integers"):
        resample_label(np.ones((2, 2, 2)), (3, 3, 3))


def test_nearest_takes_the_voxel_whose_cell_holds_the_centre():
    # 5 in 3: centres 5/6, 5/2, 25/6 in voxel edges, so voxels 0, 2, 4.
    np.testing.assert_array_equal(resample_label_nearest(np.arange(5).reshape(1, 1, 5), (1, 1, 3)).ravel(), [0, 2, 4])


def test_probabilities_keep_their_sum(rng):
    p = rng.dirichlet([1, 1, 1], (4, 5, 6))
    np.testing.assert_allclose(resample_probabilities(p, (7, 3, 9)).sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        ((5.0, 0.8, 0.8), (3, 1.1, 1.1), 0),
        ((0.8, 0.8, 3.0), None, 2),
        ((1.0, 1.0, 3.0), None, None),  # exactly 3 times is not above 3 times
        ((0.24, 1.25, 1.25), None, None),  # two axes share the largest spacing
        ((1.0, 1.0, 1.0), (1, 4, 1), 1),
    ],
)
def test_the_coarse_axis_is_found_as_in_nnunet(spacing, target, axis):
    assert coarse_axis(spacing, target) == axis


@pytest.mark.parametrize(
    "options",
    [{"order": 2}, {"separate_axis": 3}, {"separate_axis": "auto"}, {"shape": (0, 1, 1)}],
    ids=["order", "axis", "auto without spacing", "size 0"],
)
def test_wrong_options_are_refused(options):
    shape = options.pop("shape", (1, 1, 1))
    with pytest.raises(ValueError, match="give|needs|need"):
        resample_image(np.zeros((2, 2, 2)), shape, **options)


@pytest.mark.parametrize(("slices", "size"), [(129, 128), (513, 24)])
def test_no_number_of_slices_is_lost(slices, size, rng):
    x = rng.normal(size=(slices, size, size)).astype(np.float32)
    # A quarter of the size: the mean of 4 x 4 pixels, where linear interpolation would take only the middle ones.
    mine = resize_slices(x, size // 4, size // 4, label=False)
    expected = x.reshape(slices, size // 4, 4, size // 4, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(mine, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_channels_survive_resizing(channels):
    assert resize_slices(np.zeros((2, 8, 8, *channels), np.uint8), 4, 6, label=False).shape == (2, 4, 6, *channels)


def test_one_axis_may_shrink_while_the_other_grows():
    x = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    mine = resize_slices(x, 2, 3, label=False)
    np.testing.assert_allclose(mine[0], [[0.5] * 3, [2.5] * 3])


def test_labels_of_slices_are_never_interpolated(rng):
    label = rng.choice([0, 5, 200], (3, 31, 17)).astype(np.uint8)
    small = resize_slices(label, 15, 40, label=True)
    assert small.dtype == np.uint8
    assert set(np.unique(small)) == {0, 5, 200}


def test_a_label_shrunk_by_whole_factors_takes_the_middle():
    np.testing.assert_array_equal(resize_slices(np.arange(9).reshape(1, 9, 1), 3, 1, label=True).ravel(), [1, 4, 7])


def test_empty_slices_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        resize_slices(np.zeros((1, 2, 2)), 0, 2, label=False)
