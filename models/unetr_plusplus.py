"""UNETR++: an encoder and decoder of paired attention and convolutions, one builder for the four published networks.

Source: A. Shaker et al., UNETR++: Delving into Efficient and Accurate 3D Medical Image Segmentation, IEEE TMI 2024,
https://doi.org/10.1109/TMI.2024.3398728; behaviour of the released code (Apache-2.0), which the released weights need.
Departures: any rank (2D networks take the last two axes of a preset's stem), any class count and channel count.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from models.attention import AttentionResidual, PairedAttention, Projection, uniform
from models.blocks import BLOCK_TRANSPOSE, CONV, batch_norm, check_size, per_axis, spatial_rank


@dataclass(frozen=True)
class Design:
    """What the published networks differ in.

    Attributes:
        stem: Stride and kernel of the first convolution, depth first.
        projection: Token projection of the attention: `shared`, `separate` or `matrix`.
        second_residual: Whether a transformer block has a second convolutional block.
        attention_dropout: Rate on the attention maps.
    """

    stem: tuple[int, ...]
    projection: Projection
    second_residual: bool
    attention_dropout: float


PRESETS: Mapping[str, Design] = {
    "synapse": Design((2, 4, 4), "shared", False, 0.15),
    "acdc": Design((1, 4, 4), "separate", True, 0.1),
    "lung": Design((1, 4, 4), "separate", True, 0.1),
    "brats": Design((4, 4, 4), "matrix", False, 0.1),
}


def unetr_plusplus(
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    preset: str = "synapse",
    deep_supervision: bool = True,
    stem: Sequence[int] | None = None,
    projection: str | None = None,
    second_residual: bool | None = None,
    attention_dropout: float | None = None,
    filters: Sequence[int] = (32, 64, 128, 256),
    depths: Sequence[int] = (3, 3, 3, 3),
    heads: int = 4,
    tokens: Sequence[int] = (64, 64, 64, 32),
    base_filters: int = 16,
    dropout: float = 0.1,
    legacy_merge: bool = True,
) -> keras.Model:
    """Builds UNETR++.

    Args:
        input_shape: `(*s, channels)`, sizes fixed: positions and token projections belong to them. Every size is a
            multiple of 8 times the stem's stride. Weights of one size serve another through `resize_weights`.
        num_classes: Output channels.
        preset: `synapse`, `acdc`, `lung` or `brats`: the defaults of the next four options.
        deep_supervision: Two more outputs, at the resolution of the stem and at half of it.
        stem: Stride of the first convolution per axis.
        projection: Token projection: `shared`, `separate` or `matrix`.
        second_residual: A second convolutional block in every transformer block.
        attention_dropout: Rate on the attention maps.
        filters: Channels of the four stages.
        depths: Transformer blocks per encoder stage; decoder stages repeat those of their level.
        heads: Attention heads.
        tokens: Projected tokens per encoder stage; decoder stages take those of their level.
        base_filters: Channels at full resolution.
        dropout: Rate of whole channels before the last convolution of a transformer block.
        legacy_merge: Head order of the released weights; `False` merges as the paper means.

    Returns:
        `model(image (b, *s, channels))`: logits `(b, *s, num_classes)`, with `deep_supervision` a list of three.
        Parameters as published: synapse 42,952,850, acdc 66,796,404, lung 121,174,798, brats 42,647,604.

    Raises:
        ValueError: The preset is unknown, a size is missing or does not fit.
    """
    design = _design(preset, len(input_shape) - 1, stem, projection, second_residual, attention_dropout)
    if None in input_shape:
        raise ValueError(f"unetr_plusplus needs fixed sizes, got {input_shape}. Set INPUT.PATCH, such as [64,128,128].")
    multiples = [8 * stride for stride in design.stem]
    check_size(input_shape, multiples, model="unetr_plusplus", cure="set MODEL.STEM")
    block = _Block(design, heads, dropout, legacy_merge)
    image = keras.Input(input_shape, name="image")
    x, skips = image, []
    for level, (width, depth, count) in enumerate(zip(filters, depths, tokens, strict=True)):
        stride = design.stem if level == 0 else (2,) * len(design.stem)
        x = _down(x, width, stride, name=f"encoder{level}_down")
        x = block.repeat(x, depth, count, encoder=True, name=f"encoder{level}")
        skips.append(x)
    outputs = []
    for level in reversed(range(len(filters) - 1)):
        x = _up(x, filters[level], 2, name=f"decoder{level}_up")
        x = keras.layers.Add(name=f"decoder{level}_add")([x, skips[level]])
        x = block.repeat(x, depths[level], tokens[level], encoder=False, name=f"decoder{level}")
        if deep_supervision and level <= 1:
            outputs.append(_logits(x, num_classes, name=f"logits{level + 2}"))
    shallow = _residual(After(name="shallow_turn")([image, x]), base_filters, _plain_norm, name="shallow")
    x = _up(After(name="final_turn")([x, shallow]), base_filters, design.stem, name="final_up")
    x = keras.layers.Add(name="final_add")([x, shallow])
    x = _residual(x, base_filters, _plain_norm, name="final")
    outputs.append(_logits(x, num_classes, name="logits1"))
    return keras.Model(image, outputs[::-1] if deep_supervision else outputs[-1], name="unetr_plusplus")


def _design(preset: str, rank: int, stem: Sequence[int] | None, *changes: Any) -> Design:
    if preset not in PRESETS:
        raise ValueError(f"MODEL.PRESET={preset} is unknown; type one of {', '.join(PRESETS)}.")
    design = PRESETS[preset]
    names = ("projection", "second_residual", "attention_dropout")
    said = {name: value for name, value in zip(names, changes, strict=True) if value is not None}
    if said.get("projection", "shared") not in ("shared", "separate", "matrix"):
        raise ValueError(f"MODEL.PROJECTION={said['projection']} is unknown; type shared, separate or matrix.")
    return replace(design, stem=design.stem[-rank:] if stem is None else per_axis(tuple(stem), rank), **said)


@keras.saving.register_keras_serializable(package="medical_unets")
class After(keras.layers.Layer):
    """The first of two inputs, once the second is computed: branches in turn, which spares memory.

    TensorFlow computes a branch as soon as its input is there, beside the others, and keeps what is not yet needed. So
    the first, which should be small, gets 0 times a value of the second added.
    """

    def call(self, inputs: Any) -> Any:
        """`(b, *s, c)` and anything of that rank to the first."""
        x, awaited = inputs
        first = (slice(1),) * len(awaited.shape)
        return x + 0 * ops.stop_gradient(awaited[first])


@dataclass(frozen=True)
class _Block:
    """A transformer block: attention over voxels, then convolutions."""

    design: Design
    heads: int
    dropout: float
    legacy_merge: bool

    def repeat(self, x: Any, depth: int, tokens: int, *, encoder: bool, name: str) -> Any:
        for index in range(depth):
            x = self.once(x, tokens, encoder=encoder, name=f"{name}_block{index}")
        return x

    def once(self, x: Any, tokens: int, *, encoder: bool, name: str) -> Any:
        attention = PairedAttention(
            self.heads,
            tokens,
            projection=self.design.projection,
            dropout=self.design.attention_dropout,
            legacy_merge=self.legacy_merge,
            encoder=encoder,
            name="attention",
        )
        x = AttentionResidual(attention, name=f"{name}_attention")(x)
        width, rank = x.shape[-1], spatial_rank(x)
        y = _residual(x, width, batch_norm, name=f"{name}_conv51")
        if self.design.second_residual:
            y = _residual(y, width, batch_norm, name=f"{name}_conv52")
        drop = keras.layers.SpatialDropout3D if rank == 3 else keras.layers.SpatialDropout2D
        y = drop(self.dropout, name=f"{name}_drop")(y)
        y = _conv(y, width, 1, use_bias=True, name=f"{name}_conv8")
        return keras.layers.Add(name=f"{name}_add")([x, y])


def _conv(x: Any, width: int, kernel: int, *, use_bias: bool, name: str, **options: Any) -> Any:
    fan_in = x.shape[-1] * kernel ** spatial_rank(x)
    initial = {"kernel_initializer": uniform(fan_in), "bias_initializer": uniform(fan_in)}
    layer = CONV[spatial_rank(x)](width, kernel, padding="same", use_bias=use_bias, name=name, **initial, **options)
    return layer(x)


def _logits(x: Any, num_classes: int, *, name: str) -> Any:
    return _conv(x, num_classes, 1, use_bias=True, name=name, dtype="float32")


def _residual(x: Any, width: int, norm: Any, *, name: str) -> Any:
    """Two 3-wide convolutions with norms and leaky ReLU 0.01 around a skip, projected where the width changes."""
    y = norm(_conv(x, width, 3, use_bias=False, name=f"{name}_conv1"), name=f"{name}_norm1")
    y = keras.layers.LeakyReLU(negative_slope=0.01, name=f"{name}_act1")(y)
    y = norm(_conv(y, width, 3, use_bias=False, name=f"{name}_conv2"), name=f"{name}_norm2")
    if x.shape[-1] != width:
        x = After(name=f"{name}_skip_turn")([x, y])
        x = norm(_conv(x, width, 1, use_bias=False, name=f"{name}_conv3"), name=f"{name}_norm3")
    y = keras.layers.Add(name=f"{name}_sum")([x, y])
    return keras.layers.LeakyReLU(negative_slope=0.01, name=f"{name}_act2")(y)


def _plain_norm(x: Any, *, name: str) -> Any:
    """Instance normalisation without scale and shift, as at full resolution in the original."""
    return keras.layers.GroupNormalization(groups=x.shape[-1], center=False, scale=False, epsilon=1e-5, name=name)(x)


def _down(x: Any, width: int, stride: Any, *, name: str) -> Any:
    """Strided convolution whose kernel is its stride; group normalisation with the input's width as groups.

    A number of input channels that does not divide the width (the originals have 1 and 4) takes their largest common
    divisor as groups.
    """
    rank, fan_in = spatial_rank(x), x.shape[-1]
    groups = math.gcd(fan_in, width)
    size = per_axis(stride, rank)
    for edge in size:
        fan_in *= edge
    conv = CONV[rank](width, size, size, use_bias=False, kernel_initializer=uniform(fan_in), name=f"{name}_conv")
    norm = keras.layers.GroupNormalization(groups=groups, epsilon=1e-5, name=f"{name}_norm")
    return norm(conv(x))


def _up(x: Any, width: int, stride: Any, *, name: str) -> Any:
    rank = spatial_rank(x)
    size = per_axis(stride, rank)
    fan_in = width
    for edge in size:
        fan_in *= edge
    layer = BLOCK_TRANSPOSE[rank](width, size, size, use_bias=False, kernel_initializer=uniform(fan_in), name=name)
    return layer(x)
