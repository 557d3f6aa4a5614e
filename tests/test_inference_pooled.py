import numpy as np
import pytest

from imaging import CaseGeometry, Volume
from imaging.volume import picture_affine
from inference.pooled import PooledAnswer
from inference.reading import Loaded
from inference.segmenter import Application, Segmenter
from inference.tasks import Task

REFERENCE = np.array([[[1, 1, 0, 255], [0, 0, 0, 255]]], np.uint8)


def picture(reference=REFERENCE):
    """A picture whose grey value is its probability of vessel: 0.75 on vessels, 0.25 elsewhere, 1 where ignored."""
    volume = Volume(reference, picture_affine(), has_geometry=False)
    grey = np.where(reference == 255, 1.0, np.where(reference > 0, 0.75, 0.25)).astype(np.float32)[..., None]
    geometry = CaseGeometry.of(volume.grid, prepared_shape=reference.shape)
    loaded = Loaded(grey, grey[..., 0], None, geometry)
    return Task("a", "a", lambda: loaded, lambda: volume), loaded


def segmenter(outputs=2, threshold=0.5):
    def network(batch):
        rest = (1.0 - batch) / (outputs - 1)
        return np.concatenate([*[rest] * (outputs - 1), batch], axis=-1)

    return Segmenter(network, (None, None), Application(threshold=threshold))


def test_every_pixel_inside_the_field_of_view_counts_once():
    answer = PooledAnswer(segmenter())
    label = answer(*picture())
    np.testing.assert_array_equal(label.array[0, :, :3], REFERENCE[0, :, :3])
    said = answer.report()
    assert said["pooled"]["dice"] == said["pooled"]["auc"] == 1.0
    assert said["pooled"]["accuracy"] == 1.0
    assert "second_observer" not in said


def test_the_threshold_of_prediction_is_the_threshold_of_the_score():
    answer = PooledAnswer(segmenter(threshold=0.8))
    answer(*picture())
    said = answer.report()
    assert said["pooled"]["sensitivity"] == 0.0
    assert 0.25 <= said["best_threshold"]["threshold"] < 0.75
    assert said["best_threshold"]["dice"] == 1.0


def test_the_second_observer_is_compared_with_the_first():
    # The second observer sees one of the two vessel pixels and one more: Dice 2 * 1 / (2 + 2).
    other = np.array([[[1, 0, 1, 255], [0, 0, 0, 255]]], np.uint8)
    answer = PooledAnswer(segmenter(), lambda name: {"a": other}[name])
    answer(*picture())
    said = answer.report()
    assert said["second_observer"]["dice"] == pytest.approx(0.5)
    assert any("Second observer against the first, 1 images: Dice 0.5000" in line for line in said["sentences"])


def test_more_classes_are_refused():
    with pytest.raises(ValueError, match=r"one foreground class: type EVALUATION\.POOLED=False"):
        PooledAnswer(segmenter(outputs=3))(*picture())
