"""The gallery of augmentation: what is chosen, that a sample stays at its place, what is drawn."""

import cv2
import numpy as np
import pytest
from generators_helpers import write_collection, write_picture

from data_generators.augmentation import build_augmentation
from data_generators.augmentation.examples import augmented_examples
from data_generators.folders import FolderSource
from data_generators.patches import PatchSource
from data_generators.sources import SliceSource
from reports.gallery import draw_gallery
from reports.palette import label_colour

FLIPS = build_augmentation({"FLIP": {"PROBABILITY": 1.0, "AXES": ["width"]}})


@pytest.fixture
def root(tmp_path, rng):
    label = np.zeros((9, 16, 18), np.uint8)
    label[4, 2:9, 3:8] = 1
    image = (rng.random((9, 16, 18, 1)) + label[..., None]).astype(np.float16)
    return write_collection(tmp_path, {"a": (image, label), "b": (image, label)})


def test_slices_with_foreground_are_chosen_and_followed_by_draws(root):
    source = SliceSource(root)
    rows = augmented_examples(source, FLIPS, samples=2, draws=3)
    assert [len(row) for row in rows] == [4, 4]
    for row in rows:
        image, label = row[0]
        assert label.any()
        for drawn, marked in row[1:]:
            np.testing.assert_array_equal(drawn, image[:, ::-1])
            np.testing.assert_array_equal(marked, label[:, ::-1])


def test_patches_stay_at_their_place(root):
    rows = augmented_examples(PatchSource(root, patch=(4, 8, 8)), FLIPS, samples=1, draws=2)
    image, label = rows[0][0]
    assert image.shape == (4, 8, 8, 1) and label.any()
    np.testing.assert_array_equal(rows[0][2][0], image[:, :, ::-1])


@pytest.mark.parametrize(("source", "lines"), [(SliceSource, 1), (lambda root: PatchSource(root, patch=(4, 8, 8)), 2)])
def test_the_picture_has_a_line_for_each_plane_and_outlines_in_colour(root, tmp_path, source, lines):
    path = draw_gallery(augmented_examples(source(root), FLIPS, samples=1), tmp_path / "augmentation.png")
    drawn = cv2.imread(str(path))[..., ::-1]
    assert drawn.shape[1] / drawn.shape[0] == pytest.approx(5 * 1.9 / (lines * 1.9 + 0.5), rel=0.02)
    assert (drawn == label_colour(1)).all(axis=-1).any()


def test_colours_are_shown_as_colours(tmp_path):
    write_picture(tmp_path / "i" / "a.png", np.full((8, 8, 3), [200, 0, 0], np.uint8))
    write_picture(tmp_path / "m" / "a.png", np.zeros((8, 8), np.uint8))
    rows = augmented_examples(FolderSource(tmp_path / "i", tmp_path / "m"), FLIPS)
    drawn = cv2.imread(str(draw_gallery(rows, tmp_path / "gallery.png", colour=True)))[..., ::-1].astype(int)
    assert (drawn[..., 0] - drawn[..., 1] > 100).any()


def test_no_sample_is_answered(tmp_path):
    with pytest.raises(ValueError, match="no sample"):
        draw_gallery([], tmp_path / "gallery.png")
