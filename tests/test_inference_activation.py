"""Logits to probabilities to labels: one class, many classes, overlapping regions."""

import numpy as np
import pytest

from inference.activation import (
    activation_for,
    labels_from_probabilities,
    probabilities_from_logits,
    region_values,
)

BRATS = [[1, 2, 3], [2, 3], [3]]


def test_one_output_is_a_sigmoid_and_several_are_a_softmax():
    assert activation_for(1) == "sigmoid"
    assert activation_for(2) == "softmax"
    assert activation_for(3, regions=BRATS) == "sigmoid"


def test_regions_must_match_the_outputs():
    with pytest.raises(ValueError, match="3 regions need 3"):
        activation_for(4, regions=BRATS)


def test_large_logits_are_not_saturated_before_the_decision():
    # sigmoid(20) and sigmoid(30) are both 1 in float32; the larger logit must still win.
    probabilities = probabilities_from_logits(np.array([[20.0, 30.0]]), activation="softmax")
    assert labels_from_probabilities(probabilities).tolist() == [1]
    assert np.isfinite(probabilities_from_logits(np.array([[1e4, -1e4]]), activation="softmax")).all()


def test_sigmoid_threshold():
    p = np.array([[0.2], [0.5], [0.51], [0.9]])
    assert labels_from_probabilities(p).tolist() == [0, 0, 1, 1]
    assert labels_from_probabilities(p, threshold=0.15).tolist() == [1, 1, 1, 1]


def test_two_class_threshold_is_on_the_foreground():
    p = np.array([[0.7, 0.3], [0.4, 0.6]])
    assert labels_from_probabilities(p).tolist() == [0, 1]
    assert labels_from_probabilities(p, threshold=0.25).tolist() == [1, 1]


def test_many_classes_take_the_largest_and_ties_the_lower():
    p = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    assert labels_from_probabilities(p).tolist() == [1, 0]


def test_a_threshold_that_would_be_ignored_is_refused():
    with pytest.raises(ValueError, match="exclusive"):
        labels_from_probabilities(np.zeros((1, 3)), threshold=0.4)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -3])
def test_a_threshold_outside_zero_to_one_is_refused(threshold):
    with pytest.raises(ValueError, match=r"INFERENCE\.THRESHOLD"):
        labels_from_probabilities(np.zeros((1, 1)), threshold=threshold)


def test_inner_regions_are_written_over_outer_ones():
    # whole, core, enhancing: outside; whole only; whole + core; all three; enhancing alone.
    p = np.array([[0, 0, 0], [0.9, 0, 0], [0.9, 0.8, 0.1], [0.9, 0.8, 0.7], [0.1, 0.1, 0.7]])
    assert labels_from_probabilities(p, regions=BRATS).tolist() == [0, 1, 2, 3, 3]


def test_region_values_are_those_no_later_region_holds():
    assert region_values(BRATS) == (1, 2, 3)
    assert region_values([[1, 2, 4], [1, 4], [4]]) == (2, 1, 4)


def test_regions_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="outermost"):
        region_values(BRATS[::-1])
