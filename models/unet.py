"""The U-Net of nnU-Net, 2D and 3D, and the classic 2D U-Net that the UNet++ papers compare with.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
Methods 2021, https://doi.org/10.1038/s41592-020-01008-z, as built by nnU-Net 2 (plain encoder): strided convolutions,
instance normalisation, leaky ReLU 0.01, transposed convolutions with bias. `recipe="paper"`: Ronneberger et al.,
https://arxiv.org/abs/1505.04597, in the widths of Zhou et al., https://arxiv.org/abs/1912.05074: 7,759,521 parameters
(filters 35 to 560, the "wide U-Net": 9,282,246).
Departures: none in the first. The second is free in rank, depth, kernels and strides, and has heads at every level
where deep supervision is on.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import keras

from models.backbone import backbone_columns, backbone_stages
from models.blocks import Axes, head
from models.recipes import Recipe, choose_recipe, join, units
from models.stages import Stages, per_stage, plan_stages

NNUNET_FILTERS: Mapping[int, Sequence[int]] = {2: (32, 64, 128, 256, 512, 512), 3: (32, 64, 128, 256, 320, 320)}
PAPER_FILTERS: Mapping[int, Sequence[int]] = {rank: (32, 64, 128, 256, 512) for rank in (2, 3)}


def unet(
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] | None = None,
    kernel_sizes: Sequence[Axes] | None = None,
    strides: Sequence[Axes] | None = None,
    convs_per_stage: int | Sequence[int] = 2,
    decoder_convs_per_stage: int | Sequence[int] = 2,
    deep_supervision: bool = False,
    recipe: Literal["nnunet", "paper"] = "nnunet",
    dropout: float | None = None,
    upsampling: Literal["transposed", "bilinear"] | None = None,
    backbone: str | None = None,
    backbone_weights: str | None = None,
) -> keras.Model:
    """Builds a U-Net.

    Args:
        input_shape: `(*s, c)` with two or three spatial axes; each size `None`, or a multiple of its strides' product.
        num_classes: Channels of an output.
        filters: Channels per stage, finest first. `None`: 32, 64, 128, 256, then 512 (2D) or 320 (3D), six stages;
            recipe paper: 32 to 512, five.
        kernel_sizes: Kernel per stage, one odd number or one per axis; `None`: 3.
        strides: Stride per stage, one number or one per axis, the first 1; `None`: 2.
        convs_per_stage: Convolutions per encoder stage, one number or one per stage.
        decoder_convs_per_stage: Convolutions per decoder level, one number or one per level, lowest level first.
        deep_supervision: Whether every decoder level has an output, each at its own resolution.
        recipe: `nnunet`, or `paper` (max pooling, ReLU, dropout, an L2 penalty in `model.losses`).
        dropout: Of the recipe paper; `None`: 0.5.
        upsampling: `None`: transposed convolutions; over a backbone bilinear.
        backbone: Encoder from `models.encoders` (2D). Decoder levels have convolutions with batch normalisation and
            ReLU; `filters` are theirs, one fewer than levels, by default 16, 32, 64, ...
        backbone_weights: `"imagenet"` or a file; `None` starts from random weights.

    Returns:
        Float32 logits `(b, *s, num_classes)`; with deep supervision and several levels a list,
        finest first.

    Raises:
        ValueError: Options that contradict each other, or a spatial size that does not fit.
    """
    if backbone is None:
        defaults = PAPER_FILTERS if recipe == "paper" else NNUNET_FILTERS
        stages = plan_stages(
            input_shape, filters=filters, kernel_sizes=kernel_sizes, strides=strides, default_filters=defaults
        )
    else:
        stages = backbone_stages(
            backbone, filters=filters, kernel_sizes=kernel_sizes, strides=strides, dropout=dropout,
            recipe=None if recipe == "nnunet" else recipe,
            convs_per_stage=None if convs_per_stage == 2 else convs_per_stage,
        )  # fmt: skip
    chosen = choose_recipe(recipe if backbone is None else "encoder", dropout=dropout, upsampling=upsampling)
    stages.check_size(input_shape, model="unet")
    image = keras.Input(input_shape, name="image")
    if backbone is None:
        skips = encode(image, stages, convs_per_stage=convs_per_stage, recipe=chosen)
    else:
        skips = backbone_columns(image, stages, backbone=backbone, weights=backbone_weights, recipe=chosen)
    levels = decode(skips, stages, convs_per_stage=decoder_convs_per_stage, recipe=chosen)
    return keras.Model(image, heads(levels, num_classes, deep_supervision=deep_supervision), name="unet")


def encode(
    x: keras.KerasTensor, stages: Stages, *, convs_per_stage: int | Sequence[int], recipe: Recipe
) -> list[keras.KerasTensor]:
    """The left side of a U-Net: output of every stage, finest first."""
    counts = per_stage(convs_per_stage, stages.depth + 1, option="MODEL.CONVS_PER_STAGE")
    skips: list[keras.KerasTensor] = []
    for i, count in enumerate(counts):
        width, kernel, step = stages.filters[i], stages.kernels[i], stages.strides[i]
        x = units(x, width, kernel, strides=step, count=count, recipe=recipe, name=f"encoder{i}")
        skips.append(x)
    return skips


def decode(
    skips: Sequence[keras.KerasTensor], stages: Stages, *, convs_per_stage: int | Sequence[int], recipe: Recipe
) -> list[keras.KerasTensor]:
    """The right side of a U-Net.

    Args:
        skips: Output of every encoder stage, finest first.
        stages: Channels and kernel of a decoder level are those of the encoder stage beside it.
        convs_per_stage: Convolutions per decoder level, one number or one per level, lowest level first.
        recipe: What a unit is, and how levels join.

    Returns:
        Features of every decoder level, finest first.
    """
    counts = per_stage(convs_per_stage, stages.depth, option="MODEL.DECODER_CONVS_PER_STAGE")
    x, levels = skips[-1], list[keras.KerasTensor]()
    for i, count in zip(reversed(range(stages.depth)), counts, strict=True):
        x = join([skips[i]], x, stages.filters[i], stages.strides[i + 1], recipe=recipe, name=f"decoder{i}")
        x = units(x, stages.filters[i], stages.kernels[i], count=count, recipe=recipe, name=f"decoder{i}")
        levels.insert(0, x)
    return levels


def heads(
    levels: Sequence[keras.KerasTensor], num_classes: int, *, deep_supervision: bool
) -> keras.KerasTensor | list[keras.KerasTensor]:
    """Logits of the finest decoder level, or with deep supervision of every level, finest first."""
    kept = levels if deep_supervision else levels[:1]
    outputs = [head(x, num_classes, name=f"head{i}") for i, x in enumerate(kept)]
    return outputs if deep_supervision else outputs[0]
