"""UNet++, 2D and 3D, any depth, with deep supervision and pruning.

Zhou et al., "UNet++: redesigning skip connections to exploit multiscale features in image segmentation", IEEE TMI
2020, https://arxiv.org/abs/1912.05074. `recipe="nnunet"` is the network of the authors' 3D experiments, numerically
theirs (their code is licensed for academic use only; this one is written from the papers and from measurements);
`recipe="paper"` is the 2D network of the papers.

Node X(i, j) stands at level i (0 is the finest) and column j; column 0 is the encoder. It sees all nodes to its left
at the same level and the upsampled node X(i + 1, j - 1). Head j reads X(0, j) at full resolution, so the nodes with
i + j <= k and head k are a network of their own: see `models.pruning`.

Departures: free in depth (the authors' code works with five poolings only); heads can be trained together (their
released code trains the shallowest only).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import keras

from models.backbone import backbone_columns, backbone_stages
from models.blocks import Axes, head
from models.recipes import Recipe, choose_recipe, join, units
from models.stages import Stages, plan_stages
from models.unet import PAPER_FILTERS

NNUNET_FILTERS: Mapping[int, Sequence[int]] = {2: (32, 64, 128, 256, 480, 480), 3: (32, 64, 128, 256, 320, 320)}
CONVS_PER_NODE = 2

Nodes = dict[tuple[int, int], keras.KerasTensor]


def unetplusplus(
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] | None = None,
    kernel_sizes: Sequence[Axes] | None = None,
    strides: Sequence[Axes] | None = None,
    deep_supervision: bool = False,
    prune_at: int | str | None = None,
    recipe: Literal["nnunet", "paper"] = "nnunet",
    dropout: float | None = None,
    upsampling: Literal["transposed", "bilinear"] | None = None,
    backbone: str | None = None,
    backbone_weights: str | None = None,
) -> keras.Model:
    """Builds a UNet++.

    Args:
        input_shape: `(*s, c)` with two or three spatial axes; each size `None`, or a multiple of its strides' product.
        num_classes: Channels of an output.
        filters: Channels per level, finest first, two levels or more. `None`: 32, 64, 128, 256, then 480 (2D) or 320
            (3D), six levels; recipe paper: 32 to 512, five.
        kernel_sizes: Kernel per level, one odd number or one per axis; `None`: 3.
        strides: Stride per level, one number or one per axis, the first 1; `None`: 2.
        deep_supervision: Whether every node X(0, j) has a head, or the last only.
        prune_at: `3` or `"L3"` builds the nodes with i + j <= 3 only; `None` all of them.
        recipe: `nnunet`, or `paper` (max pooling, ReLU, dropout, an L2 penalty in `model.losses`).
        dropout: Of the recipe paper; `None`: 0.5.
        upsampling: `None`: transposed convolutions; over a backbone bilinear.
        backbone: Encoder from `models.encoders` (2D) as column 0. The nodes then have convolutions with batch
            normalisation and ReLU; `filters` are theirs, one fewer than levels, by default 16, 32, 64, ...
        backbone_weights: `"imagenet"` or a file; `None` starts from random weights.

    Returns:
        Float32 logits `(b, *s, num_classes)` of the last head; with several heads a list, last head first, every one
        at full resolution.

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
        )  # fmt: skip
    name = recipe if backbone is None else "encoder"
    chosen = choose_recipe(name, dropout=dropout, upsampling=upsampling)
    if name == "nnunet":
        chosen = replace(chosen, up_first=False, up_bias=False, head_bias=False)
    stages = stages.upper(prune_level(prune_at, stages.depth))
    stages.check_size(input_shape, model="unetplusplus")
    image = keras.Input(input_shape, name="image")
    if backbone is None:
        columns = encoder_column(image, stages, recipe=chosen)
    else:
        columns = backbone_columns(image, stages, backbone=backbone, weights=backbone_weights, recipe=chosen)
    # As in nnU-Net 1, whose decoder this is, nodes right of the encoder have the kernel of the level below.
    kernels = stages.kernels[1:] if name == "nnunet" else stages.kernels
    nodes = nested_nodes(columns, stages, kernels=kernels, recipe=chosen)
    outputs = nested_heads(nodes, num_classes, deep_supervision=deep_supervision, recipe=chosen)
    return keras.Model(image, outputs, name="unetplusplus")


def prune_level(prune_at: int | str | None, depth: int) -> int:
    """Number of a level given as `3`, `"3"` or `"L3"`; `None` is the deepest.

    Raises:
        ValueError: There is no such level.
    """
    if prune_at is None:
        return depth
    digits = str(prune_at).upper().removeprefix("L")
    if isinstance(prune_at, bool) or not digits.isdigit() or not 1 <= int(digits) <= depth:
        raise ValueError(f"MODEL.PRUNE_AT={prune_at}: this UNet++ has the levels L1 to L{depth}. Set one of them.")
    return int(digits)


def encoder_column(x: keras.KerasTensor, stages: Stages, *, recipe: Recipe) -> list[keras.KerasTensor]:
    """Column 0: X(i, 0) of every level, finest first."""
    column: list[keras.KerasTensor] = []
    for i, (width, kernel, step) in enumerate(zip(stages.filters, stages.kernels, stages.strides, strict=True)):
        x = units(x, width, kernel, strides=step, count=CONVS_PER_NODE, recipe=recipe, name=f"x{i}_0")
        column.append(x)
    return column


def nested_nodes(
    columns: Sequence[keras.KerasTensor], stages: Stages, *, kernels: Sequence[Sequence[int]], recipe: Recipe
) -> Nodes:
    """All nodes right of the encoder.

    Args:
        columns: Column 0, X(i, 0) of every level, finest first.
        stages: Channels of every level and strides between them.
        kernels: Kernel of the nodes right of the encoder, per level.
        recipe: What a unit is, and how levels join.

    Returns:
        X(i, j) `(b, *s_i, filters_i)` for i + j <= depth, by (i, j).
    """
    nodes: Nodes = {(i, 0): x for i, x in enumerate(columns)}
    for j in range(1, stages.depth + 1):
        for i in range(stages.depth - j + 1):
            name, left = f"x{i}_{j}", [nodes[i, n] for n in range(j)]
            x = join(left, nodes[i + 1, j - 1], stages.filters[i], stages.strides[i + 1], recipe=recipe, name=name)
            nodes[i, j] = units(x, stages.filters[i], kernels[i], count=CONVS_PER_NODE, recipe=recipe, name=name)
    return nodes


def nested_heads(
    nodes: Nodes, num_classes: int, *, deep_supervision: bool, recipe: Recipe
) -> keras.KerasTensor | list[keras.KerasTensor]:
    """Logits of the last node of level 0, or with deep supervision of all its nodes, last first."""
    last = max(j for _, j in nodes)
    levels = range(last, 0, -1) if deep_supervision else [last]
    outputs = [head(nodes[0, j], num_classes, use_bias=recipe.head_bias, name=f"head{j}") for j in levels]
    return outputs if deep_supervision else outputs[0]
