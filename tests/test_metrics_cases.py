"""Scores of a case: worked by hand, at any spacing, with every policy for empty masks."""

import math
import subprocess
import sys

import numpy as np
import pytest

from metrics.cases import case_metrics, label_values, nsd_name
from metrics.empty import EMPTY_POLICIES, check_policy
from metrics.overlap import boundary_iou, count, count_classes, mask_box

LABELS = {0: "background", 1: "liver", 2: "tumour"}


def volumes():
    """Liver: reference 4 x 10 x 10 = 400 voxels, prediction shifted by one slice; no tumour."""
    reference, prediction = np.zeros((2, 12, 20, 20), np.uint8)
    reference[3:7, 5:15, 5:15] = 1
    prediction[4:8, 5:15, 5:15] = 1
    return reference, prediction


def test_worked_by_hand():
    # Common 300, both 400: Dice 3/4, IoU 300/500. One voxel is 5 mm^3 = 0.005 ml.
    scores = case_metrics(*volumes(), spacing_mm=(5, 1, 1), labels=LABELS, tolerance_mm=(1, 5))["liver"]
    assert scores["dice"] == pytest.approx(0.75, abs=1e-12)
    assert scores["iou"] == pytest.approx(0.6, abs=1e-12)
    assert scores["precision"] == scores["recall"] == 0.75
    assert scores["specificity"] == pytest.approx(1 - 100 / (4800 - 400))
    assert scores["volume_reference_ml"] == pytest.approx(2.0)
    assert scores["relative_volume_difference"] == 0.0
    assert scores["hd"] == pytest.approx(5.0)
    assert scores["nsd_5mm"] == 1.0
    assert 0 < scores["nsd_1mm"] < 1


def test_boundaries_worked_by_hand():
    # Squares of 4 x 4 have 12 boundary pixels; shifted by one column: common 2 * 3, together 12 + 12 - 6 = 18.
    first = np.zeros((8, 8), bool)
    first[2:6, 2:6] = True
    assert boundary_iou(first, first) == 1.0
    assert boundary_iou(first, np.roll(first, 1, 1)) == pytest.approx(6 / 18)


def test_boundaries_reach_the_edge_of_a_crop():
    first = np.zeros((10, 10), bool)
    first[2:8, 2:8] = True
    second = first.copy()
    second[2:4] = False
    crop = (slice(2, 8), slice(2, 8))
    assert boundary_iou(first[crop], second[crop]) == boundary_iou(first, second) < 1


def test_background_is_no_class():
    assert list(case_metrics(*volumes(), spacing_mm=(1, 1, 1), labels=LABELS)) == ["liver", "tumour"]


def test_dice_counts_no_background():
    reference, prediction = np.zeros((2, 4, 30, 30), np.uint8)
    reference[0, 0, 0] = 1
    assert case_metrics(reference, prediction, spacing_mm=(1, 1, 1), labels={1: "lesion"})["lesion"]["dice"] == 0.0


def test_ignored_voxels_are_of_no_class_whatever_is_predicted_there():
    reference, prediction = volumes()
    clean = case_metrics(reference, prediction, spacing_mm=(5, 1, 1), labels=LABELS)["liver"]
    reference[0], wild = 255, prediction.copy()
    wild[0] = 1
    marked = case_metrics(reference, wild, spacing_mm=(5, 1, 1), labels=LABELS)["liver"]
    assert marked.pop("specificity") == pytest.approx(1 - 100 / (4400 - 400))
    clean.pop("specificity")
    assert marked == clean


def test_axes_belong_to_their_spacing():
    # The prediction is one voxel further along one axis only.
    for axis, spacing in enumerate((7.0, 3.0, 0.5)):
        reference = np.zeros((16, 16, 16), np.uint8)
        reference[4:12, 4:12, 4:12] = 1
        prediction = np.roll(reference, 1, axis)
        scores = case_metrics(reference, prediction, spacing_mm=(7.0, 3.0, 0.5), labels={1: "box"})["box"]
        assert scores["hd"] == pytest.approx(spacing)


def test_the_crop_changes_nothing():
    reference, prediction = volumes()
    small = case_metrics(reference, prediction, spacing_mm=(5, 1, 1), labels=LABELS)["liver"]
    padded = [np.pad(x, 9) for x in (reference, prediction)]
    large = case_metrics(*padded, spacing_mm=(5, 1, 1), labels=LABELS)["liver"]
    small.pop("specificity"), large.pop("specificity")
    assert large == pytest.approx(small)


def test_regions_overlap():
    reference, prediction = np.zeros((2, 4, 8, 8), np.uint8)
    reference[1, 2, :4] = [1, 2, 4, 0]
    prediction[1, 2, :4] = [2, 2, 4, 1]
    regions = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}
    scores = case_metrics(reference, prediction, spacing_mm=(1, 1, 1), labels=regions)
    # Whole 3, 4, common 3. Core 2 and 2, common 1. Enhancing 1 and 1.
    assert [scores[name]["dice"] for name in regions] == pytest.approx([6 / 7, 2 / 4, 1.0])


def test_one_slice_is_measured_in_the_plane():
    # A contour in one slice: as a volume its two flat sides would always agree.
    reference = np.zeros((1, 40, 40), np.uint8)
    reference[0, 10:30, 10:30] = 1
    prediction = np.roll(reference, 4, 2)
    scores = case_metrics(reference, prediction, spacing_mm=(5, 1, 0.5), labels={1: "square"})["square"]
    flat = case_metrics(reference[0], prediction[0], spacing_mm=(1, 0.5), labels={1: "square"})["square"]
    assert scores["hd"] == flat["hd"] == pytest.approx(2.0)
    assert scores["nsd_1mm"] == flat["nsd_1mm"] < 0.8


EMPTY = np.zeros((4, 6, 8), np.uint8)
FULL = np.pad(np.ones((2, 2, 2), np.uint8), [(1, 1), (2, 2), (3, 3)])
DIAGONAL = math.hypot(4 * 2, 6, 8)
NAN = math.nan


@pytest.mark.parametrize(
    ("policy", "reference", "prediction", "dice", "hd95", "nsd", "precision", "recall"),
    [
        ("nan", EMPTY, EMPTY, NAN, NAN, NAN, NAN, NAN),
        ("nan", FULL, EMPTY, 0, NAN, 0, NAN, 0),
        ("nan", EMPTY, FULL, 0, NAN, 0, 0, NAN),
        ("one", EMPTY, EMPTY, 1, 0, 1, 1, 1),
        ("one", FULL, EMPTY, 0, DIAGONAL, 0, 0, 0),
        ("one", EMPTY, FULL, 0, DIAGONAL, 0, 0, 0),
        ("zero", EMPTY, EMPTY, 0, DIAGONAL, 0, 0, 0),
        ("zero", FULL, EMPTY, 0, DIAGONAL, 0, 0, 0),
        ("zero", FULL, FULL, 1, 0, 1, 1, 1),
    ],
)
def test_policies_for_empty_masks(policy, reference, prediction, dice, hd95, nsd, precision, recall):
    scores = case_metrics(reference, prediction, spacing_mm=(2, 1, 1), labels={1: "x"}, empty=policy)["x"]
    found = [scores[name] for name in ("dice", "hd95", "nsd_1mm", "precision", "recall")]
    assert found == pytest.approx([dice, hd95, nsd, precision, recall], nan_ok=True)


def test_volume_difference_against_nothing():
    for policy, expected in (("nan", NAN), ("one", 0.0), ("zero", NAN)):
        scores = case_metrics(EMPTY, EMPTY, spacing_mm=(2, 1, 1), labels={1: "x"}, empty=policy)["x"]
        assert scores["relative_volume_difference"] == pytest.approx(expected, nan_ok=True)
        against = case_metrics(EMPTY, FULL, spacing_mm=(2, 1, 1), labels={1: "x"}, empty=policy)["x"]
        assert math.isnan(against["relative_volume_difference"])


def test_an_all_ignored_case_has_no_score():
    scores = case_metrics(np.full((2, 4, 4), 255), np.ones((2, 4, 4), int), spacing_mm=(1, 1, 1), labels={1: "x"})["x"]
    assert math.isnan(scores["dice"])
    assert math.isnan(scores["specificity"])


def test_floats_that_are_whole_numbers_and_masks_are_labels():
    reference, prediction = volumes()
    expected = case_metrics(reference, prediction, spacing_mm=(1, 1, 1), labels={1: "x"})
    assert case_metrics(reference.astype(float), prediction == 1, spacing_mm=(1, 1, 1), labels={1: "x"}) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((12, 20, 21), int)}, "cannot be compared"),
        ({"prediction": np.full((12, 20, 20), 0.5)}, "no whole numbers"),
        ({"spacing_mm": (1, 1)}, "must be 3 positive numbers"),
        ({"spacing_mm": (1, 1, -1)}, "must be 3 positive numbers"),
        ({"empty": "best"}, "use one of nan, one, zero"),
        ({"labels": {0: "background"}}, "No class to score"),
        ({"labels": {1: "a", 2: "a"}}, "have the name 'a'"),
    ],
)
def test_mistakes_are_refused(change, message):
    reference, prediction = volumes()
    arguments = {"prediction": prediction, "spacing_mm": (1, 1, 1), "labels": LABELS} | change
    with pytest.raises(ValueError, match=message):
        case_metrics(reference, arguments.pop("prediction"), **arguments)


def test_names_and_sentences():
    assert [nsd_name(t) for t in (1, 2.0, 2.5)] == ["nsd_1mm", "nsd_2mm", "nsd_2.5mm"]
    assert label_values({"liver": [1, 2], "tumour": 2}) == {"liver": (1, 2), "tumour": (2,)}
    for policy, sentence in EMPTY_POLICIES.items():
        check_policy(policy)
        assert sentence.startswith("Empty masks: ")


def test_scoring_needs_no_keras(project):
    modules = "cases, lesions, challenges, calibration, statistics, provenance"
    code = (
        f"import sys; from metrics import {modules}; sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=project, check=False).returncode == 0


def test_classes_counted_together_are_counted_as_alone(rng):
    reference, prediction = (rng.integers(0, 5, (4, 5, 6)).astype(np.uint8) for _ in range(2))
    reference[0] = 255
    classes = {"one": (1,), "two or three": (2, 3), "absent": (9,)}
    found = count_classes(reference, prediction, classes)
    for name, values in classes.items():
        masks = [np.isin(array[1:], values) for array in (reference, prediction)]
        assert found[name] == count(*masks)


def test_the_box_of_masks_holds_all_of_them():
    first, second = np.zeros((2, 4, 5, 6), bool)
    assert mask_box(first, second) == (slice(0, 0),) * 3
    first[1, 2, 3], second[3, 2, 5] = True, True
    assert mask_box(first, second) == (slice(1, 4), slice(2, 3), slice(3, 6))
