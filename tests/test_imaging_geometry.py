"""The way from a file to a prepared array and back."""

import json

import numpy as np
import pytest

from imaging import CaseGeometry, Grid, Volume, crop_slices, resample_image, to_canonical

OBLIQUE = np.array([[0.1, 0.3, -1.9, 7], [0.2, -1.4, -0.2, -3], [2.9, 0.1, 0.2, 11], [0, 0, 0, 1]])
FLIPPED = np.diag([-1.0, 2.0, -3.0, 1.0])
PERMUTED = np.array([[2.0, 0, 0, 5], [0, 0, 1, 0], [0, -3, 0, 0], [0, 0, 0, 1]])
AFFINES = pytest.mark.parametrize("affine", [OBLIQUE, FLIPPED, PERMUTED], ids=["oblique", "flipped", "permuted"])


@AFFINES
def test_a_label_comes_back_exactly_where_nothing_was_resampled(affine, rng):
    source = Volume(rng.integers(0, 4, (5, 6, 7), dtype=np.uint8), affine)
    geometry = CaseGeometry.of(source.grid)
    restored = geometry.restore_label(to_canonical(source).array)
    np.testing.assert_array_equal(restored.array, source.array)
    np.testing.assert_array_equal(restored.affine, source.affine)


@AFFINES
def test_a_cropped_label_comes_back_inside_and_is_background_outside(affine, rng):
    source = Volume(rng.integers(1, 4, (5, 6, 7), dtype=np.uint8), affine)
    canonical = to_canonical(source)
    crop = ((1, 4), (0, 3), (2, 5))
    restored = to_canonical(
        CaseGeometry.of(source.grid, crop=crop).restore_label(canonical.array[crop_slices(crop)])
    ).array
    np.testing.assert_array_equal(restored[crop_slices(crop)], canonical.array[crop_slices(crop)])
    assert restored.sum() == canonical.array[crop_slices(crop)].sum()


@AFFINES
def test_an_upsampled_label_comes_back_exactly(affine, rng):
    source = Volume(rng.integers(0, 4, (5, 6, 7), dtype=np.uint8), affine)
    canonical = to_canonical(source).array
    d, h, w = canonical.shape
    geometry = CaseGeometry.of(source.grid, prepared_shape=(3 * d, h, 5 * w))
    tripled = np.repeat(np.repeat(canonical, 3, axis=0), 5, axis=2)
    np.testing.assert_array_equal(geometry.restore_label(tripled).array, source.array)


@AFFINES
def test_prepared_voxels_lie_where_the_prepared_grid_says(affine):
    # World coordinates are linear, so linear resampling must reproduce them away from the edges.
    indices = np.stack([*np.indices((8, 9, 10)), np.ones((8, 9, 10))], axis=-1)
    source = Volume((indices @ affine.T)[..., :3].astype(np.float32), affine)
    crop = ((1, 7), (2, 8), (1, 7))
    geometry = CaseGeometry.of(source.grid, crop=crop, prepared_shape=(4, 9, 6))
    prepared = resample_image(to_canonical(source).array[crop_slices(crop)], (4, 9, 6), order=1)
    grid = geometry.prepared_grid()
    for index in np.ndindex(2, 7, 4):
        inner = np.array(index) + 1
        np.testing.assert_allclose(prepared[tuple(inner)], (grid.affine @ [*inner, 1])[:3], atol=1e-4)


def test_the_prepared_spacing_is_the_old_one_times_the_ratio_of_sizes():
    geometry = CaseGeometry.of(Grid((10, 20, 30), np.diag([3.0, 2.0, 1.0, 1.0])), prepared_shape=(60, 10, 10))
    # The source runs R, A, S: canonical axes S, P, L have sizes 30, 20, 10 and spacings 1, 2, 3.
    assert geometry.canonical_shape == (30, 20, 10)
    assert geometry.prepared_grid().spacing_mm == pytest.approx((0.5, 4.0, 3.0))


@AFFINES
def test_probabilities_come_back_and_are_background_outside(affine, rng):
    source = Grid((5, 6, 7), affine)
    canonical = CaseGeometry.of(source).canonical_shape
    crop = tuple((1, size - 1) for size in canonical)
    geometry = CaseGeometry.of(source, crop=crop)
    inside = rng.dirichlet([1, 1, 1], geometry.crop_shape).astype(np.float32)
    restored = geometry.restore_probabilities(inside)
    assert restored.shape == (5, 6, 7, 3)
    back = to_canonical(Volume(restored, affine)).array
    np.testing.assert_array_equal(back[crop_slices(crop)], inside)
    np.testing.assert_array_equal(back[0, 0, 0], [1, 0, 0])


def test_resampled_probabilities_still_sum_to_one(rng):
    geometry = CaseGeometry.of(Grid((5, 6, 7), FLIPPED), prepared_shape=(3, 11, 4))
    canonical = rng.dirichlet([1, 1, 1], geometry.prepared_shape).astype(np.float32)
    np.testing.assert_allclose(geometry.restore_probabilities(canonical).sum(axis=-1), 1, atol=1e-6)


def test_one_class_is_zero_outside_the_crop():
    geometry = CaseGeometry.of(Grid((2, 2, 2), FLIPPED), crop=((0, 1), (0, 1), (0, 1)))
    assert geometry.restore_probabilities(np.ones((1, 1, 1, 1))).sum() == 1


def test_it_survives_json(rng):
    geometry = CaseGeometry.of(Grid((5, 6, 7), OBLIQUE / 3), crop=((0, 3), (1, 5), (2, 4)), prepared_shape=(9, 9, 9))
    back = CaseGeometry.from_dict(json.loads(json.dumps(geometry.to_dict())))
    label = rng.integers(0, 3, (9, 9, 9))
    np.testing.assert_array_equal(back.restore_label(label).array, geometry.restore_label(label).array)
    np.testing.assert_array_equal(back.source.affine, geometry.source.affine)


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2, 2\) is expected"):
        CaseGeometry.of(Grid((2, 2, 2), FLIPPED)).restore_label(np.zeros((2, 2, 3), np.uint8))


def test_a_crop_outside_the_volume_is_refused():
    with pytest.raises(ValueError, match="does not lie"):
        CaseGeometry.of(Grid((2, 2, 2), FLIPPED), crop=((0, 3), (0, 1), (0, 1)))
