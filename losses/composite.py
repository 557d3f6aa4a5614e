"""Losses that are sums: each returns its summands by name, weights included."""

from collections.abc import Sequence
from typing import Any

from losses.cross_entropy import cross_entropy
from losses.dice import soft_dice, squared_dice
from losses.encoding import Regions, Tensor
from losses.focal import focal
from losses.iou import iou
from losses.lovasz import lovasz_softmax
from losses.ms_ssim import ms_ssim


def dice_ce(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    weights: Sequence[float] = (1.0, 1.0),
    smooth: float = 1e-5,
    batch_dice: bool = False,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> dict[str, Tensor]:
    """The loss of nnU-Net: cross-entropy minus the mean foreground Dice.

    The Dice term is `-Dice`, as there, so the sum runs from -1 (perfect). Regions: binary cross-entropy, mean over
    voxels and channels, also where voxels are ignored (the original then divides by voxels only). On an empty
    reference: the background's cross-entropy, minus `smooth / (sum p + smooth)`, in practice 0.
    Source: Isensee et al., Nature Methods 2021, https://github.com/MIC-DKFZ/nnUNet.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        weights: Of Dice and of cross-entropy.
        smooth: See `soft_dice`.
        batch_dice: See `soft_dice`.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        `dice` and `cross_entropy`, scalars.
    """
    common: dict[str, Any] = {"ignore_label": ignore_label, "regions": regions}
    dice_weight, ce_weight = _weights(weights, 2)
    dice = soft_dice(y_true, y_pred, smooth=smooth, batch_dice=batch_dice, **common)
    return {
        "dice": dice_weight * (dice - 1.0),
        "cross_entropy": ce_weight * cross_entropy(y_true, y_pred, **common),
    }


def squared_dice_ce(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    weights: Sequence[float] = (3.0, 1.0),
    smooth: float = 1.0,
    exponent: float = 2.0,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> dict[str, Tensor]:
    """Three times `squared_dice` plus cross-entropy: the retinal vessel recipes of mmsegmentation.

    On an empty reference: near 0 for a right answer, both terms. Departure: the cross-entropy is a mean over the
    voxels that count, where the original counts ignored ones as 0.
    Source: https://github.com/open-mmlab/mmsegmentation, configs/unet.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        weights: Of Dice and of cross-entropy.
        smooth: See `squared_dice`.
        exponent: See `squared_dice`.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        `dice` and `cross_entropy`, scalars.
    """
    common: dict[str, Any] = {"ignore_label": ignore_label, "regions": regions}
    dice_weight, ce_weight = _weights(weights, 2)
    return {
        "dice": dice_weight * squared_dice(y_true, y_pred, smooth=smooth, exponent=exponent, **common),
        "cross_entropy": ce_weight * cross_entropy(y_true, y_pred, **common),
    }


def lovasz_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    weights: Sequence[float] = (1.0, 1.0),
    gamma: float = 2.0,
    detach_modulator: bool = True,
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> dict[str, Tensor]:
    """Lovasz-softmax over all classes and the whole batch plus focal loss without class balance.

    On an empty reference: the mean of the largest probabilities of wrong classes and the largest background error,
    plus the background's focal loss; 0 for a certain and right answer.
    Source: the universal U-Net, Huang et al., MICCAI 2019, https://github.com/huangmozhilv/u2net_torch, which lets
    no gradient through the focal factor.

    Args:
        y_true: Labels, `(b, *s, 1)`.
        y_pred: Logits, `(b, *s, k)`.
        weights: Of Lovasz-softmax and of focal.
        gamma: See `focal`.
        detach_modulator: See `focal`.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        `lovasz` and `focal`, scalars.
    """
    common: dict[str, Any] = {"ignore_label": ignore_label, "regions": regions}
    lovasz_weight, focal_weight = _weights(weights, 2)
    modulated = focal(y_true, y_pred, alpha=None, gamma=gamma, detach_modulator=detach_modulator, **common)
    return {
        "lovasz": lovasz_weight * lovasz_softmax(y_true, y_pred, **common),
        "focal": focal_weight * modulated,
    }


def unet3plus_hybrid(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    weights: Sequence[float] = (1.0, 1.0, 1.0),
    alpha: float | Sequence[float] | None = 0.25,
    gamma: float = 2.0,
    empty: str = "skip",
    ignore_label: int = 255,
    regions: Regions | None = None,
) -> dict[str, Tensor]:
    """Focal + MS-SSIM + IoU, for pixels, patches and maps; a term of weight 0 is not computed.

    On an empty reference: focal and MS-SSIM of the false positives, IoU by its policy (0 with `"skip"`).
    Source: UNet 3+, Huang et al., ICASSP 2020, https://arxiv.org/abs/2004.08790, unit weights. Alpha and gamma are
    Lin's, the paper states none. All terms look at the foreground; the public TensorFlow codes score the background
    too and use SSIM at one scale.

    Args:
        y_true: Labels, `(b, *s, 1)`, spatial shape known.
        y_pred: Logits, `(b, *s, k)`.
        weights: Of focal, MS-SSIM and IoU.
        alpha: See `focal`.
        gamma: See `focal`.
        empty: See `iou`.
        ignore_label: Label of voxels that do not count.
        regions: Label values of each sigmoid channel.

    Returns:
        `focal`, `ms_ssim` and `iou`, scalars; those of non-zero weight.
    """
    common: dict[str, Any] = {"ignore_label": ignore_label, "regions": regions}
    terms = {
        "focal": lambda: focal(y_true, y_pred, alpha=alpha, gamma=gamma, **common),
        "ms_ssim": lambda: ms_ssim(y_true, y_pred, **common),
        "iou": lambda: iou(y_true, y_pred, empty=empty, **common),
    }
    pairs = zip(terms.items(), _weights(weights, 3), strict=True)
    return {name: weight * term() for (name, term), weight in pairs if weight != 0}


def _weights(weights: Sequence[float], count: int) -> Sequence[float]:
    if len(weights) != count or not any(weights):
        raise ValueError(f"weights={list(weights)} must be {count} numbers, not all 0, one for each term.")
    return weights
