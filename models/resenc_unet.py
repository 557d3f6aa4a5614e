"""The residual-encoder U-Net of nnU-Net, 2D and 3D.

Isensee et al., "nnU-Net revisited: a call for rigorous validation in 3D medical image segmentation", MICCAI 2024,
https://arxiv.org/abs/2404.09556, as built by nnU-Net 2: ResNet-D blocks on the way down, the plain decoder with one
convolution per level on the way up. Departures: none.
"""

from collections.abc import Sequence

import keras

from models.blocks import AVERAGE_POOL, Axes, conv_norm_act, instance_norm, per_axis, same_conv, spatial_rank
from models.recipes import RECIPES
from models.stages import per_stage, plan_stages
from models.unet import NNUNET_FILTERS, decode, heads

BLOCKS = (1, 3, 4, 6, 6, 6)


def resenc_unet(
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] | None = None,
    kernel_sizes: Sequence[Axes] | None = None,
    strides: Sequence[Axes] | None = None,
    blocks_per_stage: int | Sequence[int] | None = None,
    decoder_convs_per_stage: int | Sequence[int] = 1,
    deep_supervision: bool = False,
) -> keras.Model:
    """Builds a U-Net with a residual encoder.

    Args:
        input_shape: `(*s, c)` with two or three spatial axes; each size `None`, or a multiple of its strides' product.
        num_classes: Channels of an output.
        filters: Channels per stage, finest first. `None`: 32, 64, 128, 256, then 512 (2D) or 320 (3D), six stages.
        kernel_sizes: Kernel per stage, one odd number or one per axis; `None`: 3.
        strides: Stride per stage, one number or one per axis, the first 1; `None`: 2.
        blocks_per_stage: Residual blocks per encoder stage, one number or one per stage; `None`: 1, 3, 4, then 6.
        decoder_convs_per_stage: Convolutions per decoder level, one number or one per level, lowest level first.
        deep_supervision: Whether every decoder level has an output, each at its own resolution.

    Returns:
        Float32 logits `(b, *s, num_classes)`; with deep supervision and several levels a list,
        finest first.

    Raises:
        ValueError: Options that contradict each other, or a spatial size that does not fit.
    """
    stages = plan_stages(
        input_shape, filters=filters, kernel_sizes=kernel_sizes, strides=strides, default_filters=NNUNET_FILTERS
    )
    stages.check_size(input_shape, model="resenc_unet")
    if blocks_per_stage is None:
        blocks_per_stage = [BLOCKS[min(i, len(BLOCKS) - 1)] for i in range(stages.depth + 1)]
    counts = per_stage(blocks_per_stage, stages.depth + 1, option="MODEL.BLOCKS_PER_STAGE")
    image = keras.Input(input_shape, name="image")
    x = conv_norm_act(image, stages.filters[0], stages.kernels[0], name="stem")
    skips: list[keras.KerasTensor] = []
    for i, count in enumerate(counts):
        for n in range(count):
            step = 1 if n else stages.strides[i]
            x = residual_block(x, stages.filters[i], stages.kernels[i], strides=step, name=f"encoder{i}_{n}")
        skips.append(x)
    levels = decode(skips, stages, convs_per_stage=decoder_convs_per_stage, recipe=RECIPES["nnunet"])
    return keras.Model(image, heads(levels, num_classes, deep_supervision=deep_supervision), name="resenc_unet")


def residual_block(
    x: keras.KerasTensor, filters: int, kernel: Axes, *, strides: Axes = 1, name: str
) -> keras.KerasTensor:
    """Two convolutions beside a shortcut that shrinks by average pooling (ResNet-D).

    The scale of the second normalisation starts at 0, so a new block passes its shortcut on.

    Args:
        x: Features, `(b, *s, c)`.
        filters: Output channels.
        kernel: Odd size of both convolutions, one or per axis.
        strides: Of the first convolution and of the shortcut, one or per axis.
        name: Prefix of the layer names.

    Returns:
        Features, `(b, *(s / strides), filters)`.
    """
    rank = spatial_rank(x)
    steps = per_axis(strides, rank)
    y = conv_norm_act(x, filters, kernel, strides=steps, name=f"{name}_conv1")
    y = same_conv(y, filters, kernel, slope=0.01, name=f"{name}_conv2_conv")
    y = instance_norm(y, gamma="zeros", name=f"{name}_conv2_norm")
    if max(steps) > 1:
        x = AVERAGE_POOL[rank](steps, steps, name=f"{name}_skip_pool")(x)
    if x.shape[-1] != filters:
        x = same_conv(x, filters, 1, use_bias=False, slope=0.01, name=f"{name}_skip_conv")
        x = instance_norm(x, name=f"{name}_skip_norm")
    y = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.LeakyReLU(negative_slope=0.01, name=f"{name}_act")(y)
