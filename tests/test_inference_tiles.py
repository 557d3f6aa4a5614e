"""Window positions and importance against nnU-Net's published rules."""

import numpy as np
import pytest
from scipy import ndimage

from inference.tiles import Windows, importance_map, strided_positions, tile_positions


@pytest.mark.parametrize(
    ("size", "patch", "expected"),
    [
        (110, 64, (0, 23, 46)),
        (65, 64, (0, 1)),
        (64, 64, (0,)),
        (512, 128, (0, 64, 128, 192, 256, 320, 384)),
        (148, 64, (0, 28, 56, 84)),
    ],
)
def test_positions_are_nnunets(size, patch, expected):
    assert tile_positions(size, patch=patch) == expected


def test_a_ct_of_148_519_519_has_256_tiles():
    # ceil(84/32) + 1 = 4 along z, ceil(391/64) + 1 = 8 in plane: 4 * 8 * 8.
    windows = Windows(patch=(64, 128, 128))
    assert sum(1 for _ in windows.tiles((148, 519, 519))) == 256


@pytest.mark.parametrize("size", range(17, 60))
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.75])
def test_windows_leave_no_gap_and_stay_inside(size, overlap):
    covered = np.zeros(size, int)
    for start in tile_positions(size, patch=17, overlap=overlap):
        assert 0 <= start <= size - 17
        covered[start : start + 17] += 1
    assert covered.min() >= 1


def test_strided_positions_shift_the_last_window_back():
    # DRIVE: 565 wide, 64 windows 42 apart: max(565 - 64 + 41, 0) // 42 + 1 = 13 windows, the last at 501.
    positions = strided_positions(565, patch=64, stride=42)
    assert len(positions) == 13
    assert positions[:3] == (0, 42, 84)
    assert positions[-1] == 501


def test_gaussian_map_is_a_filtered_impulse_scaled_to_ten():
    patch = (16, 20, 9)
    impulse = np.zeros(patch)
    impulse[8, 10, 4] = 1
    expected = ndimage.gaussian_filter(impulse, [2.0, 2.5, 1.125], mode="constant", cval=0)
    expected *= 10 / expected.max()
    expected[expected == 0] = expected[expected > 0].min()
    np.testing.assert_allclose(importance_map(patch), expected, rtol=1e-5)


def test_gaussian_map_at_128_cubed_has_no_zero():
    assert importance_map((128, 128, 128)).min() > 0


def test_weight_sums_are_the_accumulated_maps():
    windows, shape = Windows(patch=(6, 8)), (13, 21)
    expected = np.zeros(shape)
    for tile in windows.tiles(shape):
        expected[tile] += importance_map(windows.patch)
    rows, columns = windows.weight_sums(shape)
    np.testing.assert_allclose(np.multiply.outer(rows, columns), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: tile_positions(100, patch=64, overlap=1.0), "INFERENCE.OVERLAP"),
        (lambda: tile_positions(10, patch=64), "pad"),
        (lambda: strided_positions(100, patch=64, stride=65), "gaps"),
        (lambda: Windows(patch=(4, 4), importance="flat"), "gaussian, uniform"),
        (lambda: Windows(patch=(4, 4)).positions((8, 8, 8)), "2 axes"),
        (lambda: Windows(patch=(4, 4), stride=(2,)), "differ"),
    ],
)
def test_impossible_windows_are_refused(make, word):
    with pytest.raises(ValueError, match=word):
        make()
