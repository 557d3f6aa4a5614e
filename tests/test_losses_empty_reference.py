"""The documented value of every loss where the reference holds no foreground."""

import math

import numpy as np
import pytest

from losses import LOSSES, build_loss

# One sigmoid, 16 x 16 = 256 voxels, logit 0 everywhere: p = 1/2, sum p = 128, sum p^2 = 64, -log p = log 2.
LN2 = math.log(2)
FOCAL = 0.75 * 0.25 * LN2
SSIM = 1 - 1e-4 / (0.25 + 1e-4)
VALUES = {
    "cross_entropy": LN2,
    "topk_ce": LN2,
    "focal": FOCAL,
    "soft_dice": 1 - 1e-5 / (128 + 1e-5),
    "squared_dice": 1 - 1 / (64 + 1),
    "tversky": 1 - 1e-5 / (0.3 * 128 + 1e-5),
    "iou": 0.0,
    "ms_ssim": SSIM,
    "lovasz_softmax": 0.5,
    "dice_ce": LN2 - 1e-5 / (128 + 1e-5),
    "squared_dice_ce": 3 * (1 - 1 / 65) + LN2,
    "lovasz_focal": 0.5 + 0.25 * LN2,
    "unet3plus_hybrid": FOCAL + SSIM,
}


def empty(logit, size=16):
    return np.zeros((1, size, size, 1), int), np.full((1, size, size, 1), logit, "float32")


def test_every_loss_is_listed():
    assert set(VALUES) == set(LOSSES)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_value_at_even_odds(name):
    assert float(build_loss(name)(*empty(0.0))) == pytest.approx(VALUES[name], abs=1e-6)


@pytest.mark.parametrize("policy", ["keep", "batch"])
def test_iou_that_keeps_empty_images(policy):
    # 1 - (0 + 1) / (128 + 0 - 0 + 1)
    assert float(build_loss("iou", empty=policy)(*empty(0.0))) == pytest.approx(1 - 1 / 129, abs=1e-6)


def test_soft_dice_of_an_empty_answer_to_an_empty_reference():
    # sum p = 256 e^-30 = 2.4e-11, far below the smoothing 1e-5.
    assert float(build_loss("soft_dice")(*empty(-30.0))) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("probability", "documented"), [(1e-3, 0.0013), (0.01, 0.088), (0.1, 0.46), (0.5, 0.648), (1 - 1e-7, 0.707)]
)
def test_ms_ssim_of_constant_maps_is_bounded(probability, documented):
    label, logits = empty(math.log(probability / (1 - probability)), size=161)
    assert float(build_loss("ms_ssim")(label, logits)) == pytest.approx(documented, rel=0.03)
