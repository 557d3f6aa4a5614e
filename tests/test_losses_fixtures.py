"""Our losses give the values recorded from nnU-Net and from the universal U-Net."""

import numpy as np
import pytest

from losses import build_loss


def channels_last(array):
    return np.moveaxis(array, 1, -1)


@pytest.fixture(scope="module")
def nnunet(shared):
    return np.load(shared / "fixtures" / "losses_nnunet.npz")


@pytest.mark.parametrize(
    ("batch_dice", "label", "recorded"),
    [
        (False, "label", "dice_ce_batch0"),
        (True, "label", "dice_ce_batch1"),
        (False, "label_ignore", "dice_ce_batch0_ignore"),
        (True, "label_ignore", "dice_ce_batch1_ignore"),
    ],
)
def test_dice_ce_is_nnunets(nnunet, batch_dice, label, recorded):
    loss = build_loss("dice_ce", batch_dice=batch_dice)
    value = float(loss(channels_last(nnunet[label]), channels_last(nnunet["logits"])))
    assert value == pytest.approx(float(nnunet[recorded]), abs=2e-6)


def test_dice_ce_over_regions_is_nnunets(nnunet):
    # The recorded regions are free 0/1 maps; a label that counts their bits says the same.
    maps = channels_last(nnunet["regions"]).astype(int)
    label = (maps * [1, 2, 4]).sum(-1, keepdims=True)
    regions = [[v for v in range(8) if v >> bit & 1] for bit in range(3)]
    value = float(build_loss("dice_ce", regions=regions)(label, channels_last(nnunet["logits"])))
    assert value == pytest.approx(float(nnunet["dice_bce_regions"]), abs=2e-6)


def test_lovasz_focal_is_the_universal_unets(shared):
    case = np.load(shared / "fixtures" / "losses_universal_unet.npz")
    label, logits = channels_last(case["label"]), channels_last(case["logits"])
    terms = build_loss("lovasz_focal").terms(label, logits)
    assert float(terms["lovasz"]) == pytest.approx(float(case["lovasz_softmax_all_classes_whole_batch"]), abs=1e-6)
    assert float(terms["focal"]) == pytest.approx(float(case["focal_gamma2"]), abs=1e-6)
    assert float(build_loss("lovasz_focal")(label, logits)) == pytest.approx(float(case["lovasz_plus_focal"]), abs=2e-6)
