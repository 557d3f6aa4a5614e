"""Largest component, holes, islands: small label maps worked by hand."""

import numpy as np
import pytest

from inference.postprocess import PostProcessing, fill_holes, largest_component
from inference.universal import published_cleaning


def test_the_largest_component_of_each_class_is_kept_on_its_own():
    label = np.zeros((1, 4, 12), np.uint8)
    label[0, 1, 0:4] = 1
    label[0, 1, 6] = 1
    label[0, 3, 8:10] = 2
    cleaned = PostProcessing(largest_component=(1,))(label, spacing_mm=(1, 1, 1))
    assert cleaned[0, 1].tolist() == [1, 1, 1, 1] + [0] * 8
    assert (cleaned == 2).sum() == 2


def test_corners_connect():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert largest_component(mask).sum() == 2


def test_an_empty_mask_stays_empty():
    assert not largest_component(np.zeros((2, 2, 2), bool)).any()


def test_holes_become_foreground_but_other_classes_stay():
    label = np.zeros((5, 5, 5), np.uint8)
    label[1:4, 1:4, 1:4] = 1
    label[2, 2, 2] = 0
    assert PostProcessing(fill_holes=(1,))(label, spacing_mm=(1, 1, 1))[2, 2, 2] == 1
    label[2, 2, 2] = 2
    assert PostProcessing(fill_holes=(1,))(label, spacing_mm=(1, 1, 1))[2, 2, 2] == 2


def test_a_volume_of_one_slice_is_filled_in_the_plane():
    ring = np.ones((1, 3, 3), bool)
    ring[0, 1, 1] = False
    assert fill_holes(ring).all()


def test_minimum_volume_is_in_cubic_millimetres():
    # Voxels of 2 x 1 x 1 mm: the island of 2 voxels has 4 mm3, the one of 3 voxels has 6 mm3.
    label = np.zeros((1, 3, 9), np.uint8)
    label[0, 0, 0:2] = 1
    label[0, 2, 4:7] = 1
    assert (PostProcessing(minimum_mm3=5.0)(label, spacing_mm=(2, 1, 1)) == 1).sum() == 3
    assert (PostProcessing(minimum_mm3=4.0)(label, spacing_mm=(2, 1, 1)) == 1).sum() == 5


def test_off_by_default_and_the_input_is_left_alone(rng):
    label = rng.integers(0, 3, (4, 5, 6)).astype(np.uint8)
    before = label.copy()
    np.testing.assert_array_equal(PostProcessing()(label, spacing_mm=(1, 1, 1)), label)
    PostProcessing((1, 2), (1, 2), 3.0)(label, spacing_mm=(1, 1, 1))
    np.testing.assert_array_equal(label, before)


def test_a_negative_volume_is_refused():
    with pytest.raises(ValueError, match="negative"):
        PostProcessing(minimum_mm3=-1)(np.zeros((1, 1, 1), np.uint8), spacing_mm=(1, 1, 1))


def test_gaps_of_a_voxel_are_closed_before_parts_are_counted():
    label = np.zeros((5, 5, 12), np.uint8)
    label[1:4, 1:4, 0:4] = 1  # 36 voxels, a gap, 27 more, and far away an island
    label[1:4, 1:4, 5:8] = 1
    label[2, 2, 11] = 1
    cleaned = PostProcessing(closing=(1,), largest_component=(1,))(label, spacing_mm=(1, 1, 1))
    # The cube without corners does not reach into the corners of the gap: 9 - 4 = 5 voxels are closed.
    assert (cleaned == 1).sum() == 36 + 27 + 5
    assert (PostProcessing(largest_component=(1,))(label, spacing_mm=(1, 1, 1)) == 1).sum() == 36


def test_closing_leaves_other_classes_and_the_border_alone():
    label = np.ones((3, 3, 3), np.uint8)
    label[1, 1, 1] = 2
    np.testing.assert_array_equal(PostProcessing(closing=(1,))(label, spacing_mm=(1, 1, 1)), label)


@pytest.mark.parametrize(("first", "kept"), [(40, 40), (39, 43)])
def test_a_second_part_needs_more_than_a_tenth_of_the_first(first, kept):
    label = np.zeros((1, 3, 40), np.uint8)
    label[0, 0, :first] = 1
    label[0, 2, :4] = 1
    assert (PostProcessing(second_component=(1,))(label, spacing_mm=(1, 1, 1)) == 1).sum() == kept


@pytest.mark.parametrize(
    ("names", "domain", "closing", "one", "two"),
    [
        (["background", "left atrium"], "heart", (1,), (1,), ()),
        (["background", "anterior", "posterior"], "hippocampus", (1, 2), (), (1, 2)),
        (["background", "liver", "cancer"], "liver", (1,), (1,), ()),
        (["background", "spleen"], None, (1,), (1,), ()),
    ],
)
def test_the_published_cleaning_of_each_domain(names, domain, closing, one, two):
    cleaning = published_cleaning(names, domain=domain)
    assert (cleaning.closing, cleaning.largest_component, cleaning.second_component) == (closing, one, two)


@pytest.mark.parametrize(
    ("sets", "left"),
    [
        (((1,),), [1, 1, 0, 0, 0, 2, 0, 3, 3, 2]),
        (((1,), (2,)), [1, 1, 0, 0, 0, 2, 0, 3, 3, 0]),
        (((1, 2, 3),), [0, 0, 0, 0, 0, 0, 0, 3, 3, 2]),
        (((2, 3), (3,)), [1, 1, 0, 1, 0, 0, 0, 3, 3, 2]),
    ],
    ids=("one class", "each class", "all foreground", "overlapping regions"),
)
def test_decided_sets_are_classes_or_regions(sets, left):
    label = np.array([1, 1, 0, 1, 0, 2, 0, 3, 3, 2], np.uint8).reshape(1, 1, -1)
    cleaned = PostProcessing(largest_of=sets)(label, spacing_mm=(1.0, 1.0, 1.0))
    assert cleaned.ravel().tolist() == left
