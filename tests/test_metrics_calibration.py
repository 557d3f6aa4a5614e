"""Reliability curve and expected calibration error."""

import math

import numpy as np
import pytest

from metrics.calibration import class_reliability, reliability


def test_worked_by_hand():
    # Two bins over [0, 1]. Confidences 0.6, 0.9 (right, wrong): |1 - 1.5| / 2 voxels.
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1]])
    found = reliability(probabilities, np.array([0, 1]), bins=2)
    assert found.expected_error == pytest.approx(0.25)
    confidence, right = found.curve()
    assert confidence.tolist()[1] == pytest.approx(0.75)
    assert right.tolist()[1] == 0.5
    assert math.isnan(confidence[0])


def test_one_sigmoid_is_judged_by_how_often_it_is_foreground():
    # Ten voxels at 0.3, three of them foreground: calibrated.
    found = reliability(np.full((10, 1), 0.3), np.array([1, 2, 1] + [0] * 7))
    assert found.expected_error == pytest.approx(0.0, abs=1e-12)


def test_certainty_falls_into_the_last_bin():
    found = reliability(np.array([[0.0, 1.0]]), np.array([1]), bins=10)
    assert found.voxels.tolist() == [0] * 9 + [1]


def test_drawn_from_the_probabilities_it_is_calibrated(rng):
    p = rng.random(200_000)
    label = (rng.random(p.size) < p).astype(int)
    assert reliability(p[:, None], label).expected_error < 0.01
    sharpened = np.where(p > 0.5, 0.99, 0.01)
    assert reliability(sharpened[:, None], label).expected_error > 0.2


def test_cases_add_up_and_voxels_can_be_left_out():
    probabilities, label = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]]), np.array([0, 255, 1])
    whole = reliability(probabilities, label)
    parts = reliability(probabilities[:1], label[:1]) + reliability(probabilities[1:], label[1:])
    assert parts.expected_error == pytest.approx(whole.expected_error)
    assert whole.voxels.sum() == 2
    assert reliability(probabilities, label, within=np.array([True, True, False])).voxels.sum() == 1
    assert math.isnan(reliability(probabilities, label, within=np.zeros(3, bool)).expected_error)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="they are \\(\\*s, k\\) and \\(\\*s,\\)"):
        reliability(np.zeros((2, 3, 2)), np.zeros((2, 2), int))


@pytest.mark.parametrize("ignored", [0, 7])
def test_all_classes_at_once_are_what_each_is_alone(rng, ignored):
    odds = rng.gamma(0.2, size=(30, 40, 60, 5)) + 1e-9
    probabilities = (odds / odds.sum(-1, keepdims=True)).astype(np.float32)
    label = rng.integers(0, 6, probabilities.shape[:-1])  # 5 is a class that nobody predicts
    label[:, :ignored] = 255
    classes, decision = class_reliability(probabilities, label)
    alone = [reliability(probabilities[..., [k]], np.where(label == 255, 255, label == k)) for k in range(5)]
    for found, expected in zip([*classes, decision], [*alone, reliability(probabilities, label)], strict=True):
        assert found.voxels.tolist() == expected.voxels.tolist()
        assert found.right.tolist() == expected.right.tolist()
        assert found.confidence == pytest.approx(expected.confidence, abs=1e-6)
