"""Losses worked by hand."""

import keras
import numpy as np
import pytest

from losses import build_loss

LN2 = float(np.log(2))


def case(labels, logits):
    """One image, one row: labels of the voxels and their logits."""
    logits = np.asarray(logits, "float32")
    return np.asarray(labels)[None, None, :, None], logits.reshape(1, 1, len(labels), -1)


def value(name, labels, logits, **options):
    return float(build_loss(name, **options)(*case(labels, logits)))


def logit(p):
    return float(np.log(p / (1 - p)))


def test_soft_dice():
    # Foreground probabilities 1/2, 1/2; reference 1, 0: dice = (2 * 0.5) / (1 + 1) = 1/2.
    assert value("soft_dice", [1, 0], [[0, 0], [0, 0]], smooth=0.0) == pytest.approx(0.5)


def test_soft_dice_counts_no_background():
    # 99 background voxels right, the one foreground voxel missed: foreground Dice 0, pixel accuracy 0.99.
    labels, logits = [1] + [0] * 99, [[30.0, -30.0]] * 100
    assert value("soft_dice", labels, logits) == pytest.approx(1.0, abs=1e-4)
    assert value("soft_dice", labels, logits, include_background=True) == pytest.approx(0.5, abs=0.01)


def test_batch_dice_pools_the_images():
    # Image 1: p 1/2, g 1. Image 2: p 1/2, g 0. Pooled 2 * 0.5 / (1 + 1) = 1/2; apart (2/3 + 0) / 2 = 1/3.
    label, logits = np.array([1, 0]).reshape(2, 1, 1, 1), np.zeros((2, 1, 1, 1), "float32")
    loss = [build_loss("soft_dice", smooth=0.0, batch_dice=pooled)(label, logits) for pooled in (True, False)]
    assert [float(x) for x in loss] == pytest.approx([1 - 1 / 2, 1 - 1 / 3])


def test_squared_dice():
    # Both classes alike: p = 1/2, 1/2; g = 1, 0: (2 * 0.5 + 1) / (0.5 + 1 + 1) = 0.8.
    assert value("squared_dice", [1, 0], [[0, 0], [0, 0]]) == pytest.approx(0.2)


def test_tversky():
    # p = 3/4 at a reference voxel, 1/4 beside it: hit 0.75, excess 0.25, miss 0.25.
    logits = [logit(0.75), logit(0.25)]
    assert value("tversky", [1, 0], logits, smooth=0.0) == pytest.approx(1 - 0.75 / (0.75 + 0.3 * 0.25 + 0.7 * 0.25))
    assert value("tversky", [1, 0], logits, smooth=0.0, gamma=0.5) == pytest.approx(0.25**0.5)


def test_tversky_with_halves_is_dice():
    logits = [logit(0.6), logit(0.3), logit(0.8)]
    halves = value("tversky", [1, 0, 1], logits, false_positive_weight=0.5, false_negative_weight=0.5, smooth=0.0)
    assert halves == pytest.approx(value("soft_dice", [1, 0, 1], logits, smooth=0.0))


def test_iou():
    # I = 0.75, U = 0.75 + 0.25 + 1 - 0.75 = 1.25: 1 - 1.75 / 2.25.
    assert value("iou", [1, 0], [logit(0.75), logit(0.25)]) == pytest.approx(1 - 1.75 / 2.25)


def test_iou_skips_images_without_the_class():
    label = np.array([[1, 0], [0, 0]]).reshape(2, 1, 2, 1)
    logits = np.array([[logit(0.75), logit(0.25)], [5.0, 5.0]], "float32").reshape(2, 1, 2, 1)
    assert float(build_loss("iou")(label, logits)) == pytest.approx(1 - 1.75 / 2.25)
    assert float(build_loss("iou", empty="keep")(label, logits)) > 0.4


def test_iou_counts_no_background():
    assert value("iou", [1] + [0] * 99, [[30.0, -30.0]] * 100, smooth=0.0) == pytest.approx(1.0)


def test_cross_entropy():
    # -log softmax: the reference class has 1/2 and 1/4.
    labels, logits = [0, 1], [[0, 0], [logit(0.75), 0]]
    assert value("cross_entropy", labels, logits) == pytest.approx((LN2 + np.log(4)) / 2)


def test_class_weights_are_normalised():
    # (1 * log 2 + 3 * log 4) / (1 + 3)
    labels, logits = [0, 1], [[0, 0], [logit(0.75), 0]]
    expected = (LN2 + 3 * np.log(4)) / 4
    assert value("cross_entropy", labels, logits, class_weights=[1, 3]) == pytest.approx(expected)
    single = [0.0, logit(0.25)]
    assert value("cross_entropy", labels, single, class_weights=[1, 3]) == pytest.approx(expected)


def test_label_smoothing():
    # Target (0.9, 0.1) + ... : 0.8 * -log p_t + 0.2 * mean of both, p = (3/4, 1/4), reference 0.
    expected = -0.8 * np.log(0.75) - 0.2 * (np.log(0.75) + np.log(0.25)) / 2
    assert value("cross_entropy", [0], [[logit(0.75), 0]], label_smoothing=0.2) == pytest.approx(expected)
    assert value("cross_entropy", [1], [[logit(0.75)]], label_smoothing=0.2) == pytest.approx(expected)


def test_focal_is_lins_formula():
    # Foreground at p = 3/4: 1/4 * (1/4)^2 * log(4/3). Background at p = 1/4 foreground: 3/4 * (1/4)^2 * log(4/3).
    expected = 0.25 * 0.0625 * np.log(4 / 3), 0.75 * 0.0625 * np.log(4 / 3)
    assert value("focal", [1], [[logit(0.75)]]) == pytest.approx(expected[0])
    assert value("focal", [0], [[logit(0.25)]]) == pytest.approx(expected[1])
    assert value("focal", [0, 1], [[0, logit(0.25)], [0, logit(0.75)]]) == pytest.approx(sum(expected) / 2)


def test_focal_false_positives_cost():
    assert value("focal", [0], [[5.0]]) > 1.0
    assert value("focal", [0], [[0.0, 5.0]]) > 1.0


def test_focal_with_a_weight_for_each_class():
    # Third class weight 2, p_t = 1/3: 2 * (2/3)^2 * log 3.
    assert value("focal", [2], [[0, 0, 0]], alpha=[1, 1, 2]) == pytest.approx(2 * 4 / 9 * np.log(3))


def test_focal_without_focus_is_cross_entropy():
    logits = [[0.3, -1, 2], [1, 1, 0]]
    expected = value("cross_entropy", [0, 2], logits)
    assert value("focal", [0, 2], logits, alpha=None, gamma=0.0) == pytest.approx(expected)


def test_focal_modulator_can_be_detached():
    # d/dz of (1-p)^2 * (-log p) with the factor constant: -(1-p)^3 at a foreground voxel of one sigmoid.
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("uses a TensorFlow tape")
    label, logits = case([1], [[0.0]])
    slopes = []
    for detach in (True, False):
        z = tf.Variable(logits)
        with tf.GradientTape() as tape:
            loss = build_loss("focal", alpha=None, detach_modulator=detach)(label, z)
        slopes.append(float(tape.gradient(loss, z)[0, 0, 0, 0]))
    assert slopes == pytest.approx([-(0.5**3), -(0.5**3) - 2 * 0.5 * 0.25 * LN2])


def test_topk_takes_the_hardest_tenth():
    # Twenty background voxels, two of them wrong: log(1 + e^3) and log(1 + e^1).
    logits = [[3.0], [1.0], *([[-5.0]] * 18)]
    assert value("topk_ce", [0] * 20, logits) == pytest.approx((np.log1p(np.e**3) + np.log1p(np.e)) / 2)


def test_topk_counts_a_tenth_of_the_voxels_that_count():
    # Ten of twenty ignored: one voxel is taken.
    logits = [[3.0], [1.0], *([[-5.0]] * 18)]
    assert value("topk_ce", [0] * 10 + [255] * 10, logits) == pytest.approx(np.log1p(np.e**3))


def test_lovasz_worked():
    # One sigmoid; g = 1, 1, 0; errors 0.6, 0.2, 0.3. Sorted: 0.6 (g 1), 0.3 (g 0), 0.2 (g 1).
    # J: 1 - 1/2 = 1/2; 1 - 1/3 = 2/3; 1 - 0/3 = 1. Value 0.6/2 + 0.3/6 + 0.2/3.
    logits = [logit(0.4), logit(0.8), logit(0.3)]
    assert value("lovasz_softmax", [1, 1, 0], logits) == pytest.approx(0.3 + 0.05 + 0.2 / 3)


def test_lovasz_of_an_absent_class_is_its_largest_probability():
    assert value("lovasz_softmax", [0, 0, 0], [logit(0.1), logit(0.7), logit(0.4)]) == pytest.approx(0.7)


def test_lovasz_can_leave_absent_classes_out():
    # Two classes, only the background present.
    logits = [[0.0, logit(0.1)], [0.0, logit(0.7)]]
    everything = value("lovasz_softmax", [0, 0], logits)
    present = value("lovasz_softmax", [0, 0], logits, classes="present")
    # Background errors 0.7, 0.1 with J = 1/2, 1: 0.35 + 0.05; the absent class costs 0.7.
    assert present == pytest.approx(0.4)
    assert everything == pytest.approx((0.4 + 0.7) / 2)


def test_lovasz_per_image_is_the_mean_over_images(rng):
    label = rng.integers(0, 3, (2, 5, 4, 1))
    logits = rng.normal(size=(2, 5, 4, 3)).astype("float32")
    loss = build_loss("lovasz_softmax", per_image=True)
    single = [float(loss(label[i : i + 1], logits[i : i + 1])) for i in range(2)]
    assert float(loss(label, logits)) == pytest.approx(np.mean(single))


def test_regions_are_targets_of_their_own(rng):
    # Whole = labels 1 and 2, core = label 2: the same as two single-sigmoid problems.
    label = rng.integers(0, 3, (1, 4, 5, 1))
    logits = rng.normal(size=(1, 4, 5, 2)).astype("float32")
    both = float(build_loss("soft_dice", regions=[[1, 2], [2]])(label, logits))
    apart = [float(build_loss("soft_dice")(label > i, logits[..., i : i + 1])) for i in range(2)]
    assert both == pytest.approx(np.mean(apart), rel=1e-5)


def test_terms_add_up_and_can_be_weighed(rng):
    label, logits = rng.integers(0, 2, (1, 16, 16, 1)), rng.normal(size=(1, 16, 16, 1)).astype("float32")
    loss = build_loss("unet3plus_hybrid")
    terms = {name: float(x) for name, x in loss.terms(label, logits).items()}
    assert list(terms) == ["focal", "ms_ssim", "iou"]
    assert float(loss(label, logits)) == pytest.approx(sum(terms.values()))
    assert terms["iou"] == pytest.approx(float(build_loss("iou")(label, logits)))
    weighed = build_loss("unet3plus_hybrid", weights=[2, 0, 3]).terms(label, logits)
    assert {name: float(x) for name, x in weighed.items()} == pytest.approx(
        {"focal": 2 * terms["focal"], "iou": 3 * terms["iou"]}
    )
