"""Scores: only of predictions that lie on the reference, with the policy stated; slice means told for what they are."""

import numpy as np
import pytest

from imaging import Volume
from inference.scoring import (
    Policy,
    ScoringError,
    Slicewise,
    check_prediction,
    class_counts,
    map_label,
    match_predictions,
    pooled_scores,
    slicewise,
)

NAMES = {0: "background", 1: "liver"}
AFFINE = np.array([[0, 0, -1.0, 0], [0, -1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])


def volume(array, affine=AFFINE, **kwargs):
    return Volume(np.asarray(array, np.uint8), affine, source="case.nii.gz", **kwargs)


def test_labels_become_classes():
    table = np.zeros(256, np.uint8)
    table[[1, 2]] = 1
    found = map_label(Volume(np.array([[[0, 1, 2, 3]]]), AFFINE), table)
    assert found.array.ravel().tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("value", [-1, 500])
def test_labels_beyond_a_byte_are_refused_and_not_wrapped(value):
    with pytest.raises(ScoringError, match="0 to 255"):
        map_label(Volume(np.array([[[0, value]]]), AFFINE), np.zeros(256, np.uint8))


def test_a_prediction_on_the_same_grid_passes():
    check_prediction(volume([[[0, 1]]]), volume([[[1, 1]]]), names=NAMES)


@pytest.mark.parametrize(
    ("prediction", "word"),
    [
        (volume([[[0, 1, 1]]]), "shape"),
        (volume([[[0, 1]]], np.diag([1.0, 1, 3, 1])), "elsewhere"),
        (volume([[[0, 3]]]), r"\[3\]"),
    ],
)
def test_another_grid_and_unknown_values_are_refused(prediction, word):
    with pytest.raises(ScoringError, match=word):
        check_prediction(prediction, volume([[[1, 1]]]), names=NAMES)


def test_pictures_have_no_place_to_compare():
    check_prediction(volume([[[0, 1]]], np.eye(4), has_geometry=False), volume([[[1, 1]]]), names=NAMES)


@pytest.mark.parametrize(("empty", "word"), [("nan", "not scored"), ("one", "scores 1"), ("zero", "scores 0")])
def test_policy_unit_and_tools_are_said(empty, word):
    text = " ".join(Policy(NAMES, empty=empty, unit="pixels").notes())
    assert word in text
    assert "Distances in pixels" in text
    assert "scipy" in text


def test_pooled_scores_are_of_all_voxels_together():
    # Image 1: 1 of 1 found. Image 2: 1 of 3 found, 1 too much. Together 2 * 2 / (4 + 3) = 4/7; the mean would be 0.7.
    policy = Policy(NAMES)
    first = class_counts(volume([[[1, 0, 0, 0]]]), volume([[[1, 0, 0, 255]]]), policy)
    second = class_counts(volume([[[1, 1, 0, 0]]]), volume([[[1, 0, 1, 1]]]), policy)
    assert pooled_scores({"p": [first, second]})["p"]["liver"]["dice"] == pytest.approx(4 / 7)


def test_slice_means_are_worked_by_hand():
    # Slice 0: empty and predicted empty, Dice counted as 1. Slice 1: one of two pixels found, Dice 2/3. Slice 2: a
    # stray pixel, Dice 0. Accuracy 1, 3/4, 3/4. The volume's Dice is 2 * 1 / (2 + 2) = 1/2.
    reference = volume([[[0, 0, 0, 0]], [[1, 1, 0, 0]], [[0, 0, 0, 0]]])
    prediction = volume([[[0, 0, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 1]]])
    found = slicewise(prediction, reference)
    assert found.slices == 3
    assert found.dice == pytest.approx(1 + 2 / 3)
    assert found.accuracy == pytest.approx(2.5)
    text = (found + found).sentence()
    assert "6 slices 0.5556" in text
    assert "Neither is a Dice per patient" in text
    assert "no slice" in Slicewise().sentence()


def test_files_are_matched_by_name_and_everything_else_is_listed(tmp_path):
    for name in ("a.nii.gz", "a.labels.json", "b.nii.gz", "b.nrrd", "x.nii.gz", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "evaluation").mkdir()
    matched, problems = match_predictions(tmp_path, ["a", "b", "c"])
    assert matched == {"a": tmp_path / "a.nii.gz"}
    assert sorted(problems) == ["b", "c", "x.nii.gz"]
