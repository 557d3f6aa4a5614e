"""Lesions: connected components matched one to one."""

import math

import numpy as np
import pytest

from metrics.lesions import match_lesions

UNIT = (1.0, 1.0, 1.0)


def mask(*boxes, shape=(6, 20, 20)):
    array = np.zeros(shape, bool)
    for d, h, w in boxes:
        array[slice(*d), slice(*h), slice(*w)] = True
    return array


def test_found_missed_and_invented():
    # Lesion 1 (16 voxels) half covered by 8 voxels: Dice 16/24, IoU 1/2. Lesion 2 missed; one component invented.
    reference = mask([(1, 2), (2, 6), (2, 6)], [(3, 4), (10, 12), (10, 12)])
    prediction = mask([(1, 2), (2, 6), (2, 4)], [(5, 6), (18, 20), (18, 20)])
    found = match_lesions(reference, prediction, spacing_mm=(2.0, 1.0, 1.0))
    assert [lesion.dice for lesion in found.lesions] == pytest.approx([16 / 24, 0])
    assert found.lesions[0].volume_ml == pytest.approx(16 * 2 / 1000)
    scores = found.scores((0.0, 0.5, 0.6))
    assert (scores["lesions_reference"], scores["lesions_prediction"]) == (2, 2)
    assert scores["lesion_dice"] == pytest.approx(1 / 3)
    for threshold, value in (("0", 0.5), ("0.5", 0.5), ("0.6", 0.0)):
        assert [scores[f"lesion_{kind}_iou_{threshold}"] for kind in ("precision", "recall", "f1")] == [value] * 3


def test_two_lesions_predicted_as_one_are_one_found_and_one_missed():
    reference = mask([(1, 2), (2, 6), (2, 6)], [(1, 2), (2, 6), (7, 10)])
    prediction = mask([(1, 2), (2, 6), (2, 10)])
    scores = match_lesions(reference, prediction, spacing_mm=UNIT).scores((0.0,))
    assert scores["lesion_recall_iou_0"] == 0.5
    assert scores["lesion_precision_iou_0"] == 1.0


def test_one_lesion_predicted_in_two_parts_has_one_match():
    reference = mask([(1, 2), (2, 6), (2, 10)])
    prediction = mask([(1, 2), (2, 6), (2, 6)], [(1, 2), (2, 6), (8, 10)])
    found = match_lesions(reference, prediction, spacing_mm=UNIT)
    assert found.lesions[0].iou == pytest.approx(16 / 32)
    assert found.scores((0.0,))["lesion_precision_iou_0"] == 0.5


def test_touching_corners_are_one_lesion():
    array = np.zeros((3, 3, 3), bool)
    array[0, 0, 0] = array[1, 1, 1] = array[2, 2, 2] = True
    assert len(match_lesions(array, array, spacing_mm=UNIT).lesions) == 1


def test_small_components_can_be_dropped():
    array = mask([(1, 2), (2, 6), (2, 6)], [(4, 5), (10, 11), (10, 11)])
    found = match_lesions(array, array, spacing_mm=UNIT, smallest_ml=0.002)
    assert (len(found.lesions), found.predicted) == (1, 1)
    kept = match_lesions(array, array, spacing_mm=UNIT, smallest_ml=0.016)
    assert len(kept.lesions) == 1


@pytest.mark.parametrize("swap", [False, True])
def test_nothing_on_one_side_or_on_both(swap):
    pair = [mask([(1, 2), (2, 6), (2, 6)]), mask()]
    scores = match_lesions(*(pair[::-1] if swap else pair), spacing_mm=UNIT).scores((0.0,))
    assert scores["lesion_f1_iou_0"] == 0.0
    assert math.isnan(scores["lesion_recall_iou_0" if swap else "lesion_precision_iou_0"])
    nothing = match_lesions(mask(), mask(), spacing_mm=UNIT).scores((0.0,))
    assert math.isnan(nothing["lesion_f1_iou_0"])
    assert math.isnan(nothing["lesion_dice"])


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="do not fit together"):
        match_lesions(mask(), mask(shape=(6, 20, 21)), spacing_mm=UNIT)
