"""Volume, orientation, grids."""

import itertools

import numpy as np
import pytest

from imaging import Grid, ImageError, Volume, axis_codes, non_finite_count, reorient, same_grid, to_canonical

CODES = ["".join(c) for order in itertools.permutations(("RL", "AP", "SI")) for c in itertools.product(*order)]
OBLIQUE = np.array([[0.1, 0.3, -1.9, 7], [0.2, -1.4, -0.2, -3], [2.9, 0.1, 0.2, 11], [0, 0, 0, 1]])


def world(volume: Volume, index: tuple[int, int, int]) -> np.ndarray:
    return (volume.affine @ [*index, 1])[:3]


def test_spacing_is_the_length_of_the_affine_columns():
    affine = np.array([[0, 0, -3, 0], [0, 2, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1.0]])
    assert Volume(np.zeros((2, 3, 4)), affine).spacing_mm == (5, 2, 3)


def test_codes_name_where_each_array_axis_runs():
    # d runs along +z (Superior), h along -y (Posterior), w along -x (Left).
    assert axis_codes(np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])) == "SPL"


def test_codes_of_an_oblique_affine_are_the_nearest_axes():
    assert axis_codes(OBLIQUE) == "SPL"


@pytest.mark.parametrize("codes", CODES)
def test_every_voxel_keeps_its_place_whatever_the_orientation(codes, rng):
    volume = Volume(rng.permutation(24).reshape(2, 3, 4), OBLIQUE)
    moved = reorient(volume, codes)
    assert axis_codes(moved.affine) == codes
    for index in np.ndindex(2, 3, 4):
        new = tuple(int(i) for i in np.argwhere(moved.array == volume.array[index])[0])
        np.testing.assert_allclose(world(moved, new), world(volume, index), atol=1e-12)


@pytest.mark.parametrize("codes", CODES)
def test_reorienting_there_and_back_is_the_identity(codes, rng):
    volume = Volume(rng.normal(size=(2, 3, 4, 2)), OBLIQUE)
    back = reorient(reorient(volume, codes), "SPL")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-12)


def test_canonical_slices_begin_at_the_feet_rows_at_the_front_columns_at_the_patients_right():
    # Stored right to left (+x is Right, so index 0 is the leftmost), front to back reversed, head first.
    array = np.arange(8).reshape(2, 2, 2)
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
    canonical = to_canonical(Volume(array, affine))
    assert canonical.array[0, 0, 0] == array[1, 1, 1]
    assert canonical.array[1, 1, 1] == array[0, 0, 0]


def test_channels_stay_last(rng):
    volume = Volume(rng.normal(size=(2, 3, 4, 5)), OBLIQUE)
    assert reorient(volume, "RAS").array.shape == (4, 3, 2, 5)
    assert (volume.channels, volume.shape) == (5, (2, 3, 4))


def test_unknown_codes_are_refused():
    with pytest.raises(ValueError, match="one letter each"):
        reorient(Volume(np.zeros((1, 1, 1)), np.eye(4)), "RRS")


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 0, 1, 1]), np.eye(3)])
def test_affines_that_place_nothing_are_refused(bad):
    with pytest.raises(ImageError, match="case_7: the affine"):
        Volume(np.zeros((1, 1, 1)), bad, source="case_7")


def test_parallel_axes_are_refused():
    affine = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    with pytest.raises(ImageError, match="singular"):
        Volume(np.zeros((1, 1, 1)), affine)


def test_a_shape_without_three_axes_is_refused():
    with pytest.raises(ImageError, match=r"\(d, h, w\)"):
        Volume(np.zeros((3, 3)), np.eye(4))


def test_same_grid_measures_the_farthest_corner():
    a = Grid((11, 11, 11), np.eye(4))
    turned = np.eye(4)
    turned[0, 1] = 0.0009  # 10 voxels away: 0.009 mm
    assert same_grid(a, Grid((11, 11, 11), turned))
    turned[0, 1] = 0.0011
    assert not same_grid(a, Grid((11, 11, 11), turned))
    assert not same_grid(a, Grid((11, 11, 10), np.eye(4)))


def test_a_grid_survives_json():
    grid = Grid((2, 3, 4), OBLIQUE / 3)
    back = Grid.from_dict(grid.to_dict())
    assert back.shape == grid.shape
    np.testing.assert_array_equal(back.affine, grid.affine)


def test_non_finite_values_are_counted():
    array = np.zeros((2, 2, 2), np.float32)
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    assert non_finite_count(Volume(array, np.eye(4))) == 2
    assert non_finite_count(Volume(np.zeros((1, 1, 1), np.int16), np.eye(4))) == 0


def test_canonical_axes_run_up_back_and_left():
    # World RAS: the marked voxel is the most inferior, most anterior, right-most one, so it becomes voxel (0, 0, 0).
    array = np.zeros((3, 4, 5), np.float32)
    affine = np.diag([-1.0, 2.0, 5.0, 1.0])  # array axes run Left, Anterior, Superior
    array[0, 3, 0] = 1
    canonical = to_canonical(Volume(array, affine))
    assert axis_codes(canonical.affine) == "SPL"
    assert canonical.array[0, 0, 0] == 1
    assert canonical.spacing_mm == (5.0, 2.0, 1.0)
