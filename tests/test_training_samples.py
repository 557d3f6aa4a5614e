"""Validation samples as pictures in TensorBoard: telling ones, the same each time, with the validation's weights."""

import numpy as np
import pytest
from generators_helpers import write_collection
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_stand_ins import Batches

from data_generators.patches import PatchSource
from data_generators.sources import SliceSource
from reports.samples import sample_picture
from training.checkpoints import Progress
from training.samples import SamplePictures, read_sample, telling_samples
from training.tensorboard import TensorBoard


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two volumes; the label of the second lies in slices 3 to 5."""
    cases = {}
    for number, slices in enumerate((slice(0, 1), slice(3, 6))):
        label = np.zeros((8, 16, 16), np.uint8)
        label[slices, 4:12, 2:6] = 1
        cases[f"case{number}"] = ((label[..., None] * 0.5 + 0.2).astype(np.float16), label)
    return write_collection(tmp_path_factory.mktemp("work") / "prepared", cases)


class Bright:
    """A network that calls bright what is bright; the stand-in for a training model holds it."""

    def __init__(self, threshold=0.5):
        self.network, self.threshold, self.seen = self, threshold, 0

    def __call__(self, batch):
        self.seen += 1
        inside = (batch[..., batch.shape[-1] // 2] > self.threshold).astype(np.float32)
        return np.stack([1 - inside, inside], axis=-1)


@pytest.fixture
def bright(monkeypatch):
    monkeypatch.setattr("training.samples.Network", lambda network, **_: network)
    return Bright()


def test_the_middle_slice_of_each_case_is_shown(root):
    source = SliceSource(root, slices=1)
    assert [source.name(index) for index in telling_samples(source, 5)] == ["case0_0", "case1_4"]
    assert telling_samples(source, 1) == [0]
    assert telling_samples(Batches(samples=6, batch_size=4), 2) == [0, 1]


def test_patches_are_the_same_every_time_and_hold_foreground(root):
    source = PatchSource(root, patch=(4, 8, 8))
    first, again = (read_sample(source, 1) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1].any()


def test_pictures_are_drawn_beside_validation_and_taken_once(root, bright):
    pictures = SamplePictures(SliceSource(root, slices=1), count=2, draw=sample_picture)
    measured = pictures.beside(lambda _model: {"dice": 0.5})(bright)
    assert measured == {"dice": 0.5}
    taken = pictures.take()
    assert list(taken) == ["case0_0", "case1_4"] and bright.seen == 2
    assert pictures.take() == {}
    # Image, reference, prediction, errors: a right prediction looks like its reference.
    image, reference, prediction, errors = np.split(taken["case1_4"], 4, axis=1)
    np.testing.assert_array_equal(reference, prediction)
    assert (image != reference).any() and (errors != image).any()


def test_a_network_that_fails_ends_nothing(root, caplog, monkeypatch):
    def fails(*_, **__):
        raise ValueError("no such size")

    monkeypatch.setattr("training.samples.Network", fails)
    pictures = SamplePictures(SliceSource(root, slices=1), count=2, draw=sample_picture)
    assert pictures.beside(lambda _model: {"dice": 0.5})(Bright()) == {"dice": 0.5}
    assert "No pictures of validation samples: no such size" in caplog.text
    assert pictures.take() == {}


def test_tensorboard_shows_them(tmp_path):
    waiting = [{"case0_3": np.full((4, 6, 3), 200, np.uint8)}, {}]
    board = TensorBoard(tmp_path, pictures=lambda: waiting.pop(0))
    progress = Progress()
    board.started(progress, 2)
    for _ in range(2):
        progress.epoch += 1
        board.epoch({"loss": 0.5}, progress)
    board.finished()
    events = EventAccumulator(str(tmp_path)).Reload()
    (shown,) = events.Images("samples/case0_3")
    assert (shown.step, shown.width, shown.height) == (1, 6, 4)
    assert len(events.Scalars("train/loss")) == 2


def test_a_volume_shows_its_telling_slice():
    label = np.zeros((5, 8, 8), np.uint8)
    label[3, 2:5, 2:5] = 1
    label[4] = 255
    picture = sample_picture(label[..., None].astype(np.float32), label, np.zeros_like(label), longest=8)
    _, reference, prediction, errors = np.split(picture, 4, axis=1)
    assert picture.shape == (8, 32, 3)
    assert (reference != prediction).any() and (errors != prediction).any()
