"""The LiTS table and the BraTS regions."""

import math

import numpy as np
import pytest

from metrics.challenges import brats_regions, lits_case, lits_summary

SPACING = (2.0, 1.0, 1.0)


def lits(liver, tumour=None):
    array = np.zeros((10, 16, 16), np.uint8)
    array[2:8, liver[0] : liver[1], 2:12] = 1
    if tumour:
        array[3:5, tumour[0] : tumour[1], 4:8] = 2
    return array


def test_a_case_worked_by_hand():
    # Liver rows 2-10 and 4-12: 8 each, 6 common: Dice 3/4, VOE 1 - 6/10, 2 rows = 2 mm at most.
    case = lits_case(lits((2, 10), (4, 6)), lits((4, 12), (4, 8)), spacing_mm=SPACING)
    liver, tumour = case.scores["liver"], case.scores["tumour"]
    assert (liver["dice"], liver["voe"], liver["rvd"]) == pytest.approx((0.75, 0.4, 0.0))
    assert liver["msd"] == pytest.approx(2.0)
    # Tumour rows 4-6 and 4-8: 16 and 32 voxels.
    assert (tumour["dice"], tumour["rvd"]) == pytest.approx((32 / 48, 1.0))
    assert case.burden == pytest.approx((16 / 480, 32 / 480))


def test_the_summary_pools_and_averages():
    cases = [
        lits_case(lits((2, 10), (4, 6)), lits((2, 10), (4, 6)), spacing_mm=SPACING),
        lits_case(lits((2, 10), (4, 6)), lits((2, 10)), spacing_mm=SPACING),
        lits_case(lits((2, 10)), lits((2, 10)), spacing_mm=SPACING),
    ]
    table = lits_summary(cases)
    # Tumour: case 1 perfect, case 2 missed, case 3 has none. Global: 2 * 16 / (32 + 16).
    assert table["tumour"]["dice_per_case"] == pytest.approx(0.5)
    assert table["tumour"]["dice_global"] == pytest.approx(32 / 48)
    assert table["tumour"]["msd"] == 0.0
    assert table["liver"]["dice_per_case"] == 1.0
    # Burden errors 0, -16/480, 0.
    assert table["tumour burden"]["rmse"] == pytest.approx(16 / 480 / math.sqrt(3))
    assert table["tumour burden"]["max_error"] == pytest.approx(16 / 480)


def test_a_cohort_without_organ_has_no_numbers():
    nothing = np.zeros((2, 4, 4), np.uint8)
    table = lits_summary([lits_case(nothing, nothing, spacing_mm=SPACING)])
    assert all(math.isnan(value) for row in table.values() for value in row.values())


def test_no_case_is_refused():
    with pytest.raises(ValueError, match="No case to summarise"):
        lits_summary([])


def test_brats_regions():
    assert brats_regions() == {"whole tumour": [1, 2, 4], "tumour core": [1, 4], "enhancing tumour": [4]}
    assert brats_regions(enhancing=3)["tumour core"] == [1, 3]
