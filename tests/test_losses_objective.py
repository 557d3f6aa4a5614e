"""The objective: weights of supervised outputs, labels at their resolutions, class logits."""

import keras
import numpy as np
import pytest

from losses import build_loss
from losses.objective import Objective, decreasing_weights, resize_labels

LN2 = float(np.log(2))


def zeros(*shape):
    return np.zeros(shape, "float32")


def random_outputs(rng, sizes, channels=2):
    return [rng.normal(size=(2, *size, channels)).astype("float32") for size in sizes]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [1]),
        (2, [1, 0]),
        (3, [2 / 3, 1 / 3, 0]),
        (5, [8 / 15, 4 / 15, 2 / 15, 1 / 15, 0]),
    ],
)
def test_weights_of_decreasing_resolutions_are_nnunets(count, expected):
    assert decreasing_weights(count) == pytest.approx(expected)


def test_outputs_at_full_resolution_weigh_the_same(rng):
    label, outputs = rng.integers(0, 2, (2, 8, 8, 1)), random_outputs(rng, [(8, 8)] * 4)
    loss = build_loss("dice_ce")
    expected = np.mean([float(loss(label, x)) for x in outputs])
    assert float(Objective(loss)(label, outputs)) == pytest.approx(expected, rel=1e-5)


def test_outputs_of_decreasing_resolution(rng):
    label, outputs = rng.integers(0, 2, (2, 8, 16, 1)), random_outputs(rng, [(8, 16), (4, 8), (2, 4)])
    loss = build_loss("dice_ce")
    # Nearest-exact: factor 2 takes voxels 1, 3, 5, ...
    expected = 2 / 3 * float(loss(label, outputs[0])) + 1 / 3 * float(loss(label[:, 1::2, 1::2], outputs[1]))
    assert float(Objective(loss)(label, outputs)) == pytest.approx(expected, rel=1e-5)


def test_a_single_output_is_just_the_loss(rng):
    label, (logits,) = rng.integers(0, 2, (2, 8, 8, 1)), random_outputs(rng, [(8, 8)])
    loss = build_loss("soft_dice")
    for outputs in (logits, [logits]):
        assert float(Objective(loss)(label, outputs)) == pytest.approx(float(loss(label, logits)))


def test_given_weights_are_used_as_given_and_zero_skips(rng):
    label, outputs = rng.integers(0, 2, (2, 8, 8, 1)), random_outputs(rng, [(8, 8)] * 2)
    loss = build_loss("soft_dice")
    outputs[0][:] = np.nan
    value = float(Objective(loss, output_weights=[0, 3])(label, outputs))
    assert value == pytest.approx(3 * float(loss(label, outputs[1])), rel=1e-5)


@pytest.mark.parametrize(("factor", "taken"), [(2, [1, 3, 5, 7]), (4, [2, 6]), (8, [4])])
def test_labels_are_taken_nearest_exact(factor, taken):
    label = np.arange(8).reshape(1, 8, 1, 1)
    assert np.asarray(resize_labels(label, zeros(1, 8 // factor, 1, 2)))[0, :, 0, 0].tolist() == taken


def test_axes_are_not_swapped_and_may_differ():
    label = np.arange(4 * 6 * 2).reshape(1, 4, 6, 2, 1)
    resized = np.asarray(resize_labels(label, zeros(1, 2, 6, 2, 1)))
    assert (resized == label[:, 1::2]).all()


def test_an_output_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="axis 1 has 10 voxels, no multiple of 4"):
        resize_labels(np.zeros((1, 10, 10, 1)), zeros(1, 4, 5, 2))


def test_unknown_sizes_are_resized_too():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("symbolic sizes are TensorFlow's")
    spec = tf.TensorSpec((None, None, None, 1), tf.float32)
    step = tf.function(resize_labels, input_signature=[spec, spec])
    label = np.arange(8 * 4).reshape(1, 8, 4, 1).astype("float32")
    assert (step(label, zeros(1, 4, 4, 1)).numpy() == label[:, 1::2]).all()


def test_class_logits_are_judged_by_the_presence_of_foreground():
    # Image 1 holds foreground, image 2 does not. Logits (0, 0): log 2 each; (-9, 9) for both: right, then wrong.
    label = np.zeros((2, 4, 4, 1), int)
    label[0, 1, 1] = 2
    maps = zeros(2, 4, 4, 3)
    objective = Objective(build_loss("soft_dice"), classification_weight=2.0)
    assert float(objective.terms(label, [maps, zeros(2, 2)])["classification"]) == pytest.approx(2 * LN2)
    sure = np.array([[-9, 9], [-9, 9]], "float32")
    right, wrong = np.log1p(np.exp(-9)), np.log1p(np.exp(9))
    assert float(objective.terms(label, [maps, sure])["classification"]) == pytest.approx(right + wrong, rel=1e-5)


def test_ignored_voxels_are_no_foreground_and_an_ignored_image_does_not_count():
    label = np.zeros((2, 4, 4, 1), int)
    label[0, 0, 0], label[1] = 255, 255
    absent = np.array([[9, -9], [-9, 9]], "float32")
    terms = Objective(build_loss("soft_dice")).terms(label, [zeros(2, 4, 4, 1), absent])
    assert float(terms["classification"]) == pytest.approx(np.log1p(np.exp(-9)), rel=1e-4)


def test_terms_are_named_and_add_up(rng):
    label, outputs = rng.integers(0, 2, (2, 16, 16, 1)), random_outputs(rng, [(16, 16)] * 2, channels=1)
    outputs.append(rng.normal(size=(2, 2)).astype("float32"))
    objective = Objective(build_loss("unet3plus_hybrid"))
    terms = {name: float(x) for name, x in objective.terms(label, outputs).items()}
    assert list(terms) == ["segmentation", "focal", "ms_ssim", "iou", "classification"]
    assert terms["segmentation"] == pytest.approx(terms["focal"] + terms["ms_ssim"] + terms["iou"])
    total = float(objective(label, outputs))
    assert total == pytest.approx(terms["segmentation"] + terms["classification"])


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_weights_that_cannot_be(weights):
    with pytest.raises(ValueError, match="at least 0, not all 0"):
        Objective(build_loss("soft_dice"), output_weights=weights)


def test_another_number_of_weights_than_outputs():
    with pytest.raises(ValueError, match="2 output weights are given for 1 segmentation outputs"):
        Objective(build_loss("soft_dice"), output_weights=[1, 1])(np.zeros((1, 4, 4, 1)), zeros(1, 4, 4, 1))


def test_class_logits_alone_are_no_segmentation():
    with pytest.raises(ValueError, match="no segmentation output"):
        Objective(build_loss("soft_dice"))(np.zeros((1, 4, 4, 1)), [zeros(1, 2)])


def test_it_compiles_with_xla_and_stays_float32_on_half_outputs(rng):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA through tf.function needs the TensorFlow backend")
    label = rng.integers(0, 2, (2, 16, 16, 1)).astype("uint8")
    outputs = [x.astype("float16") for x in random_outputs(rng, [(16, 16), (8, 8), (4, 4)])]
    outputs.append(rng.normal(size=(2, 2)).astype("float16"))
    objective = Objective(build_loss("dice_ce"))
    value = tf.function(objective, jit_compile=True)(label, [tf.constant(x) for x in outputs])
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(float(objective(label, outputs)), rel=1e-5)
