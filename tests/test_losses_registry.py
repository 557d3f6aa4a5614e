"""Names and options of losses: known without Keras, refused with the cure."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from losses import LOSSES, build_loss, check_options, loss_options


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_builds_from_its_defaults_and_has_the_common_options(name):
    options = loss_options(name)
    assert options["ignore_label"] == 255
    assert options["regions"] is None
    assert build_loss(name, **options).name == name


def test_options_are_known_without_keras(project):
    code = (
        "import sys, losses; losses.check_options('focal', {'gamma': 1.5}); losses.loss_options('iou');"
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow', 'jax')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=project, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focl", {}, "Loss 'focl' is not known. Did you mean 'focal'\\? Valid: .*unet3plus_hybrid"),
        ("focal", {"gama": 2}, "no option 'gama'. Did you mean 'gamma'\\? Valid: alpha, gamma"),
        ("focal", {"gamma": -1}, "gamma=-1 of loss 'focal' must be a number of at least 0; the default is 2.0"),
        ("iou", {"empty": "ignore"}, "empty='ignore' of loss 'iou' must be one of skip, batch, keep"),
        ("ms_ssim", {"small": "pad"}, "must be one of fewer, error"),
        ("lovasz_softmax", {"classes": "some"}, "must be one of all, present"),
        ("topk_ce", {"fraction": 0}, "must be a number above 0 and at most 1"),
        ("cross_entropy", {"label_smoothing": 1.5}, r"must lie in \[0, 1\]"),
        ("soft_dice", {"smooth": "much"}, "must be a number of at least 0"),
    ],
)
def test_mistakes_are_answered_with_the_cure(name, options, message):
    with pytest.raises(ValueError, match=message):
        check_options(name, options)
    with pytest.raises(ValueError, match=message):
        build_loss(name, **options)


def test_no_smoothing_is_allowed():
    check_options("cross_entropy", {"label_smoothing": 0.0})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cross_entropy", {"class_weights": [1, 2]}, "class_weights has 2 values, but 3 are needed"),
        ("focal", {"alpha": [1, 2]}, "alpha has 2 values, but 3 are needed"),
        ("dice_ce", {"weights": [1]}, "must be 2 numbers"),
        ("unet3plus_hybrid", {"weights": [0, 0, 0]}, "not all 0"),
        ("soft_dice", {"regions": [[1], [2]]}, "2 regions are declared, but the network has 3 output channels"),
        ("cross_entropy", {"regions": [[1], [2], [3]], "class_weights": [1, 1, 1]}, "with regions leave them out"),
    ],
)
def test_options_that_do_not_fit_the_network(name, options, message):
    label, logits = np.zeros((1, 16, 16, 1), int), np.zeros((1, 16, 16, 3), "float32")
    with pytest.raises(ValueError, match=message):
        build_loss(name, **options)(label, logits)


def test_a_list_of_alphas_needs_classes():
    with pytest.raises(ValueError, match="sigmoids take one number"):
        build_loss("focal", alpha=[0.5, 0.5])(np.zeros((1, 4, 4, 1), int), np.zeros((1, 4, 4, 1), "float32"))


@pytest.mark.parametrize(
    ("label", "logits", "message"),
    [
        ((1, 8, 8), (1, 8, 8, 2), "labels are \\(b, \\*s, 1\\)"),
        ((1, 8, 8, 2), (1, 8, 8, 2), "labels are \\(b, \\*s, 1\\)"),
        ((1, 8, 8, 1), (1, 4, 4, 2), "differ in batch or space"),
    ],
)
def test_shapes_that_do_not_belong_together(label, logits, message):
    with pytest.raises(ValueError, match=message):
        build_loss("soft_dice")(np.zeros(label, int), np.zeros(logits, "float32"))


def test_a_loss_survives_saving():
    loss = build_loss("unet3plus_hybrid", weights=[1, 2, 3], empty="keep")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.name == "unet3plus_hybrid"
    assert list(again.options["weights"]) == [1, 2, 3]
    label, logits = np.zeros((1, 16, 16, 1), int), np.ones((1, 16, 16, 1), "float32")
    assert float(again(label, logits)) == float(loss(label, logits))
