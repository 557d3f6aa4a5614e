"""What of a picture or volume a network sees at once: its own size, windows of another size, or everything."""

import itertools

import keras
import numpy as np
import pytest

from configs import compose
from configs.facts import plain
from inference.loading import open_segmenters
from inference.segmenter import Application, Segmenter
from models import build_model
from models.strides import total_strides


def application(*typed, rank=2):
    return Application.from_options(plain(compose(list(typed)).INFERENCE), rank=rank, classes=[1])


def uneven(batch):
    """Answers that depend on the place in the window, so that every choice of windows shows."""
    ramp = np.arange(batch.shape[1], dtype=np.float32)[:, None, None]
    return batch * (1 + ramp)


def test_fixed_strides_are_a_uniform_mean_of_shifted_windows(rng):
    image = rng.random((1, 100, 64, 1), np.float32)
    how = application("INFERENCE.STRIDE=42", "INFERENCE.GAUSSIAN=False")
    found = Segmenter(uneven, (64, 64), how).probabilities(image)
    # 64 wide, 42 apart: one window at 0, the next would hang over by 6 and is shifted back to 36.
    total, count = np.zeros((100, 64, 1)), np.zeros((100, 1, 1))
    for start in (0, 36):
        total[start : start + 64] += uneven(image[:, start : start + 64])[0]
        count[start : start + 64] += 1
    np.testing.assert_allclose(found[0], total / count, rtol=1e-5)


@pytest.mark.parametrize(("overlap", "windows"), [(0.0, 4), (0.5, 9), (0.75, 25)])
def test_the_overlap_holds_for_pictures_too(rng, overlap, windows):
    seen = []
    segmenter = Segmenter(
        lambda batch: seen.extend(batch) or batch,
        (16, 16),
        application(f"INFERENCE.OVERLAP={overlap}", "INFERENCE.BATCH_SIZE=1"),
    )
    segmenter.probabilities(rng.random((1, 32, 32, 1), np.float32))
    assert len(seen) == windows


@pytest.mark.parametrize(("shape", "rank"), [((1, 37, 50, 1), 2), ((9, 21, 18, 1), 3)])
def test_the_whole_image_is_one_input_of_a_fitting_size(rng, shape, rank):
    image, seen = rng.random(shape, np.float32), set()
    how = application("INFERENCE.WINDOW=whole", "INFERENCE.BATCH_SIZE=1", rank=rank)
    segmenter = Segmenter(lambda batch: seen.add(batch.shape) or batch, (None,) * rank, how, steps=(8,) * rank)
    np.testing.assert_allclose(segmenter.probabilities(image), image, rtol=1e-6)
    assert seen == {(1, *(-(-size // 8) * 8 for size in shape[3 - rank : 3]), 1)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    keras.utils.set_random_seed(3)
    options = {"filters": [4, 8, 8]}
    network = build_model("unetplusplus", input_shape=(32, 32, 1), num_classes=2, **options)
    weights = tmp_path_factory.mktemp("weights") / "best.weights.h5"
    network.save_weights(weights)
    return ("unetplusplus", options), weights, network


def test_a_network_of_a_patch_sees_whole_pictures(rng, trained):
    model, weights, _ = trained
    image = rng.random((1, 50, 70, 1), np.float32)
    how = application("INFERENCE.WINDOW=whole", "INFERENCE.BATCH_SIZE=1")
    facts = {"weights": [weights], "input_shape": (32, 32, 1), "num_classes": 2}
    (whole,) = open_segmenters(model, application=how, **facts)
    assert whole.steps == (4, 4)
    free = build_model(model[0], input_shape=(None, None, 1), num_classes=2, **model[1])
    free.load_weights(weights)
    padded = np.zeros((1, 52, 72, 1), np.float32)
    padded[:, :50, :70] = image
    expected = keras.ops.softmax(free.predict_on_batch(padded))[:, :50, :70]
    np.testing.assert_allclose(whole.probabilities(image), expected, atol=1e-5)
    # Windows of another size than that of training see as many voxels as they are told to.
    (wide,) = open_segmenters(model, application=application("INFERENCE.WINDOW=[48,64]"), **facts)
    assert wide.probabilities(image).shape == (1, 50, 70, 2)


@pytest.mark.parametrize("typed", ["INFERENCE.WINDOW=[64]", "INFERENCE.STRIDE=0", "INFERENCE.WINDOW=all"])
def test_sizes_that_do_not_fit_are_answered(typed):
    with pytest.raises(ValueError, match=typed.split("=")[0] + ".*type a size, 2 sizes"):
        application(typed)


@pytest.mark.parametrize(
    ("kind", "rank", "options", "step"),
    [
        ("unet", 3, {"filters": [4, 8, 8], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}, (2, 4, 4)),
        ("unet3plus_deepsup_cgm", 2, {"filters": [4, 4, 8, 8]}, (8, 8)),
        ("unetplusplus", 2, {"backbone": "efficientnetb0"}, (32, 32)),
    ],
)
def test_total_strides(kind, rank, options, step):
    network = build_model(kind, input_shape=(*[None] * rank, 3), num_classes=2, **options)
    assert total_strides(network) == step


def test_validation_while_training_keeps_the_size_of_the_network():
    from training.validation import _segmenter

    network = build_model("unet", input_shape=(16, 16, 1), num_classes=2, filters=[4, 8], strides=[[1, 1], [2, 2]])
    segmenter = _segmenter(network, application("INFERENCE.WINDOW=whole"), None)
    assert segmenter.probabilities(np.zeros((1, 20, 20, 1), np.float32)).shape == (1, 20, 20, 2)


def test_every_window_is_asked_once(rng):
    # 3 x 2 windows of 16 with stride 10 in a picture of 36 x 26.
    seen = itertools.count()
    how = application("INFERENCE.STRIDE=10", "INFERENCE.BATCH_SIZE=1")
    Segmenter(lambda batch: next(seen) * 0 + batch, (16, 16), how).probabilities(rng.random((1, 36, 26, 1), np.float32))
    assert next(seen) == 6


def test_no_validation_when_it_is_never_due():
    from commands.training import make_validation

    assert make_validation(compose(["VALIDATION.EVERY=0"]), None, None, runtime=None) is None
