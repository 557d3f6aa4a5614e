"""Labels on images: the right pixels, colours that stay apart, errors named for what they are."""

import itertools

import numpy as np
import pytest

from reports.overlays import (
    centre_of_interest,
    error_codes,
    error_overlay,
    grey_picture,
    largest_slice,
    outlines,
    overlay,
)
from reports.palette import ERROR_COLOURS, LABEL_COLOURS, label_colour


def test_grey_values_follow_the_window():
    picture = grey_picture(np.array([[-200.0, 25.0, 250.0, 900.0]]), window=(-200, 250))
    assert picture[0, :, 0].tolist() == [0, 128, 255, 255]
    assert (picture == picture[..., :1]).all()


@pytest.mark.parametrize("image", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.full((3, 3), 7.0)])
def test_images_without_contrast_are_drawn(image):
    assert grey_picture(image).max() == 0


def test_a_hole_in_the_data_is_black():
    image = np.array([[0.0, np.nan, 1.0, -np.inf]])
    assert grey_picture(image, window=(-1, 1))[0, :, 0].tolist() == [128, 0, 255, 0]


def test_colour_images_keep_their_colours():
    image = np.zeros((2, 2, 3))
    image[..., 1] = 255
    assert grey_picture(image, window=(0, 255))[0, 0].tolist() == [0, 255, 0]


def test_an_overlay_colours_the_label_and_nothing_else():
    picture = np.full((5, 5, 3), 100, np.uint8)
    label = np.zeros((5, 5), np.uint8)
    label[1:4, 1:4] = 1
    drawn = overlay(picture, label, opacity=0.5)
    # Inside: the mean of 100 and the colour; the outline: the colour; outside: untouched.
    assert drawn[2, 2].tolist() == [round((100 + part) / 2) for part in label_colour(1)]
    assert drawn[1, 1].tolist() == list(label_colour(1))
    assert drawn[0, 0].tolist() == [100, 100, 100]
    assert (picture == 100).all()


def test_a_label_of_another_size_is_refused():
    with pytest.raises(ValueError, match="does not lie"):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))


def test_outlines_separate_touching_labels_and_ignore_the_border():
    label = np.array([[1, 1, 2, 2]] * 3)
    assert outlines(label)[1].tolist() == [False, True, True, False]


def test_errors_are_told_apart():
    reference = np.array([0, 1, 1, 1, 0, 255])
    prediction = np.array([0, 1, 0, 2, 1, 1])
    assert error_codes(reference, prediction).tolist() == [0, 1, 2, 4, 3, 0]


def test_error_colours_are_those_of_the_legend():
    codes = np.array([[1, 2, 3, 4]], np.uint8)
    drawn = error_overlay(np.zeros((1, 4, 3), np.uint8), codes, opacity=1.0)
    assert drawn[0].tolist() == [list(colour) for colour in ERROR_COLOURS.values()]


def test_the_slice_with_the_most_foreground_is_shown():
    label = np.zeros((4, 5, 6), np.uint8)
    label[2, 3, 1:5] = 1
    label[1, 3, 4] = 1
    assert largest_slice(label) == 2
    assert centre_of_interest(label) == (2, 3, 4)
    assert largest_slice(np.zeros((9, 2, 2))) == 4


def test_a_small_tumour_is_not_passed_over_for_the_middle_of_an_organ():
    label = np.zeros((9, 20, 20), np.uint8)
    label[1:8, 4:16, 4:16] = 1
    label[4, 3:17, 3:17] = 1
    label[6, 5:7, 8:10] = 2
    label[8] = 255
    assert largest_slice(label) == 6
    assert centre_of_interest(label)[1] in (5, 6) and centre_of_interest(label)[2] in (8, 9)


def test_neighbouring_labels_differ_in_lightness_for_every_reader():
    # Simulated grey values: two labels in a row must differ even without colour.
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in LABEL_COLOURS]
    assert all(abs(a - b) > 3 for a, b in itertools.pairwise(grey))
    assert len({label_colour(value) for value in range(1, 22)}) == 21
