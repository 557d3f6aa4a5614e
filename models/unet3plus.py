"""UNet 3+: every decoder level sees every encoder level and all deeper decoder levels.

Huang et al., "UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation", ICASSP 2020,
https://arxiv.org/abs/2004.08790; the authors' code is ZJUGiveLab/UNet-Version, whose weights load
(`models.state_dicts`). Departures: logits instead of probabilities; batch normalisation starts at scale 1 instead of
N(1, 0.02); classification guidance as in `models.guidance`; any number of levels, 2D or 3D, exchangeable encoders.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from models.blocks import MAX_POOL, Axes, check_size, per_axis, spatial_rank
from models.conv_units import ConvNormReLU, LogitsConv
from models.encoders import encoder_taps, find_encoder
from models.guidance import ClassificationGate, class_logits
from models.upsampling import LinearUpsample

Unit = Callable[..., ConvNormReLU]


def unet3plus(
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (64, 128, 256, 512, 1024),
    strides: Sequence[Axes] | None = None,
    deep_supervision: bool = False,
    classification_guided: bool = False,
    backbone: str | None = None,
    backbone_weights: str | None = None,
    norm_epsilon: float = 1e-5,
    gate_threshold: float = 0.5,
    gate_training: Literal["soft", "hard", "none"] = "soft",
    gate_detached: bool = True,
    decoder_upsampling: Literal["auto", "rewritten", "direct"] = "auto",
    convolution: Literal["auto", "winograd", "direct"] = "auto",
) -> keras.Model:
    """Builds UNet 3+.

    Args:
        input_shape: `(*s, channels)`; sizes `None`, or multiples of 16 (32 with a ResNet).
        num_classes: Output channels.
        filters: Encoder channels, finest first. Each decoder branch has `filters[0]`. With a backbone only that counts.
        strides: Per level and axis, the first 1; by default 2 everywhere else. For flat 3D patches, `[1, 2, 2]`.
        deep_supervision: Whether the deeper levels answer too.
        classification_guided: Whether a decision per image gates the segmentation.
        backbone: Encoder from `models.encoders`; `None` and `"unet3plus"` are the paper's ten convolutions. A ResNet
            halves before its first features: the decoder runs at half resolution and its logits are doubled.
        backbone_weights: `"imagenet"` or a file, for a backbone of `keras.applications`; inputs in [0, 1].
        norm_epsilon: Of the batch normalisations; 1e-3 for weights from the TensorFlow predecessor.
        gate_threshold: Least probability of any foreground that opens the gate at inference.
        gate_training: What gates while training; see `ClassificationGate`.
        gate_detached: Whether the segmentation loss leaves the classifier alone.
        decoder_upsampling: How upsampled branches are computed; see `ConvNormReLU`. Weights do not depend on it.
        convolution: How wide convolutions are computed; see `ConvNormReLU`. Weights do not depend on it.

    Returns:
        Logits `(b, *s, num_classes)`; with deep supervision a list, finest first, all at full resolution; with
        classification guidance the last output is the class logits `(b, 2)`.

    Raises:
        ValueError: The size does not fit, or the options contradict each other.
    """
    inputs = keras.Input(input_shape, name="image")
    unit = functools.partial(ConvNormReLU, epsilon=norm_epsilon, upsampling=decoder_upsampling, convolution=convolution)
    if backbone in (None, "unet3plus"):
        if backbone_weights is not None:
            raise ValueError(
                "The paper's encoder has no published weights: set MODEL.BACKBONE.TYPE=vgg19, or leave them out."
            )
        steps = _steps(strides, levels=len(filters), rank=len(input_shape) - 1)
        check_size(input_shape, _factors(steps), model="unet3plus", cure="remove a level from MODEL.FILTERS")
        encoded, first_stride = _encoder(inputs, filters, steps, unit), 1
    else:
        if strides is not None:
            raise ValueError(f"MODEL.STRIDES does not apply to MODEL.BACKBONE.TYPE={backbone}: leave one of them out.")
        encoder = find_encoder(backbone)
        check_size(input_shape, encoder.multiple, model=backbone, cure="another MODEL.BACKBONE.TYPE")
        encoded = encoder_taps(inputs, name=backbone, weights=backbone_weights)
        first_stride = encoder.first_stride
        steps = _steps(None, levels=len(encoded), rank=2)
    decoded = _decoder(encoded, steps, filters[0], unit)
    outputs = [
        _logits(x, num_classes, [first_stride * n for n in _factors(steps[:level])], level)
        for level, x in enumerate(decoded if deep_supervision else decoded[:1], start=1)
    ]
    if classification_guided:
        decision = class_logits(encoded[-1])
        gate: dict[str, Any] = {"threshold": gate_threshold, "training_gate": gate_training, "detached": gate_detached}
        outputs = [
            ClassificationGate(**gate, name=f"gate{level}")(x, decision) for level, x in enumerate(outputs, start=1)
        ]
        outputs.append(decision)
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name="unet3plus")


def _encoder(
    x: keras.KerasTensor, filters: Sequence[int], steps: Sequence[tuple[int, ...]], unit: Unit
) -> list[keras.KerasTensor]:
    """The paper's encoder: two convolutions per level, maximum between them."""
    features: list[keras.KerasTensor] = []
    for level, (width, step) in enumerate(zip(filters, steps, strict=True), start=1):
        name = f"encoder{level}"
        if level > 1:
            x = MAX_POOL[spatial_rank(x)](step, name=f"{name}_pool")(x)
        for part in (1, 2):
            x = unit(width, name=f"{name}_conv{part}")(x)
        features.append(x)
    return features


def _decoder(
    encoded: Sequence[keras.KerasTensor], steps: Sequence[tuple[int, ...]], width: int, unit: Unit
) -> list[keras.KerasTensor]:
    """All decoder levels, finest first; the deepest is the encoder's."""
    decoded = [encoded[-1]]
    for level in range(len(encoded) - 1, 0, -1):
        branches: list[keras.KerasTensor] = []
        for origin, source in enumerate([*encoded[:level], *decoded], start=1):
            name = f"decoder{level}_from{origin}"
            factors = _factors(steps[min(origin, level) : max(origin, level)])
            shrink = MAX_POOL[spatial_rank(source)](factors, name=f"{name}_pool") if origin < level else _same
            branches.append(unit(width, scale=factors if origin > level else 1, name=name)(shrink(source)))
        x = keras.layers.Concatenate(name=f"decoder{level}_concat")(branches)
        decoded.insert(0, unit(width * len(encoded), name=f"decoder{level}_fuse")(x))
    return decoded


def _logits(x: keras.KerasTensor, num_classes: int, scale: Sequence[int], level: int) -> keras.KerasTensor:
    """Head of a level, at full resolution: convolved first, then upsampled, both in float32."""
    x = LogitsConv(num_classes, name=f"head{level}")(x)
    return LinearUpsample(scale, dtype="float32", name=f"head{level}_up")(x) if max(scale) > 1 else x


def _steps(strides: Sequence[Axes] | None, *, levels: int, rank: int) -> list[tuple[int, ...]]:
    """Stride of every level and axis; the first level has 1."""
    if levels < 2:
        raise ValueError(f"MODEL.FILTERS has {levels} level; unet3plus needs 2 or more, such as [16,32,64].")
    given: Sequence[Axes] = [1] + [2] * (levels - 1) if strides is None else strides
    steps = [per_axis(step, rank) for step in given]
    if len(steps) != levels or max(steps[0]) > 1:
        raise ValueError(
            f"MODEL.STRIDES={[list(step) for step in steps]} does not fit the {levels} levels of MODEL.FILTERS: "
            "give one stride per level, the first 1."
        )
    return steps


def _same(x: keras.KerasTensor) -> keras.KerasTensor:
    return x


def _factors(steps: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Product of strides, axis by axis."""
    return tuple(math.prod(axis) for axis in zip(*steps, strict=True))
