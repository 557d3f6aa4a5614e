"""What the published U-Nets do differently at the same place: units, pooling, upsampling, concatenation.

`nnunet`: convolution, instance normalisation, leaky ReLU 0.01; strided convolutions (Isensee et al., Nature Methods
2021, https://doi.org/10.1038/s41592-020-01008-z). `paper`: convolution, ReLU, dropout 0.5, weight decay 1e-4, max
pooling (the 2D U-Net and UNet++ of Zhou et al., IEEE TMI 2020, https://arxiv.org/abs/1912.05074). `encoder`:
convolution, batch normalisation, ReLU and bilinear upsampling, the decoder over a pretrained encoder.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras

from models.blocks import (
    CONV,
    MAX_POOL,
    Axes,
    batch_norm,
    conv_norm_act,
    he_normal,
    per_axis,
    same_conv,
    spatial_rank,
    up_conv,
)
from models.upsampling import LinearUpsample

Unit = Callable[..., keras.KerasTensor]


@dataclass(frozen=True)
class Recipe:
    """One way to build the units of a U-Net and what joins them.

    Args:
        unit: `unit(x, filters, kernel, *, strides, name)`: one convolution with its normalisation and activation.
        max_pooling: Whether stages begin with max pooling; otherwise their first unit is strided.
        up_first: Whether the upsampled features stand first in a concatenation, or last.
        up_bias: Whether transposed convolutions have a bias.
        head_bias: Whether heads have a bias.
        bilinear: Whether upsampling is linear interpolation instead of a transposed convolution.
    """

    unit: Unit
    max_pooling: bool = False
    up_first: bool = True
    up_bias: bool = True
    head_bias: bool = True
    bilinear: bool = False


def dropout_unit(
    x: keras.KerasTensor, filters: int, kernel: Axes, *, strides: Axes = 1, name: str, dropout: float = 0.5
) -> keras.KerasTensor:
    """Convolution with an L2 penalty of 1e-4 (in `model.losses`), ReLU, dropout.

    Args:
        x: Features, `(b, *s, c)`.
        filters: Output channels.
        kernel: Odd size, one or per axis.
        strides: 1: these networks go down by max pooling.
        name: Prefix of the layer names.
        dropout: Share of the activations that training drops.

    Returns:
        Features, `(b, *s, filters)`.
    """
    rank = spatial_rank(x)
    conv = CONV[rank](
        filters, per_axis(kernel, rank), per_axis(strides, rank), "same", activation="relu",
        kernel_initializer=he_normal(), kernel_regularizer=keras.regularizers.L2(1e-4), name=f"{name}_conv",
    )  # fmt: skip
    return keras.layers.Dropout(dropout, name=f"{name}_drop")(conv(x))


def batch_norm_unit(
    x: keras.KerasTensor, filters: int, kernel: Axes, *, strides: Axes = 1, name: str
) -> keras.KerasTensor:
    """Convolution without bias, batch normalisation, ReLU; shapes as in `dropout_unit`."""
    x = same_conv(x, filters, kernel, strides=strides, use_bias=False, name=f"{name}_conv")
    return keras.layers.ReLU(name=f"{name}_act")(batch_norm(x, name=f"{name}_norm"))


RECIPES: Mapping[str, Recipe] = {
    "nnunet": Recipe(conv_norm_act),
    "paper": Recipe(dropout_unit, max_pooling=True),
    "encoder": Recipe(batch_norm_unit, bilinear=True),
}


def choose_recipe(
    name: str, *, dropout: float | None = None, upsampling: Literal["transposed", "bilinear"] | None = None
) -> Recipe:
    """A recipe of the table, with another dropout where it has one, and another upsampling.

    Args:
        name: A key of `RECIPES`.
        dropout: Share of the activations that training drops; `None` keeps the recipe's.
        upsampling: `None` keeps the recipe's.

    Raises:
        ValueError: The recipe is unknown or has no dropout, or `dropout` is not in [0, 1).
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown MODEL.RECIPE={name}. Valid: {', '.join(RECIPES)}.")
    recipe = RECIPES[name] if upsampling is None else replace(RECIPES[name], bilinear=upsampling == "bilinear")
    if dropout is None:
        return recipe
    if recipe.unit is not dropout_unit or not 0 <= dropout < 1:
        raise ValueError(
            f"MODEL.DROPOUT={dropout} with MODEL.RECIPE={name}: a share of 0 or more and less than 1, and only the "
            "recipe paper has dropout. Set MODEL.RECIPE=paper, or leave MODEL.DROPOUT out."
        )
    return replace(recipe, unit=functools.partial(dropout_unit, dropout=dropout))


def units(
    x: keras.KerasTensor, filters: int, kernel: Axes, *, strides: Axes = 1, count: int, recipe: Recipe, name: str
) -> keras.KerasTensor:
    """`count` units in a row; going down happens before or in the first.

    Args:
        x: Features, `(b, *s, c)`.
        filters: Output channels of every unit.
        kernel: Odd size, one or per axis.
        strides: How much smaller the output is, one or per axis.
        count: How many units.
        recipe: What a unit is.
        name: Prefix; unit n is `{name}_{n}`.

    Returns:
        Features, `(b, *(s / strides), filters)`.
    """
    rank = spatial_rank(x)
    steps = per_axis(strides, rank)
    if recipe.max_pooling and max(steps) > 1:
        x, steps = MAX_POOL[rank](steps, steps, name=f"{name}_pool")(x), (1,) * rank
    for n in range(count):
        x = recipe.unit(x, filters, kernel, strides=1 if n else steps, name=f"{name}_{n}")
    return x


def join(
    skips: Sequence[keras.KerasTensor],
    below: keras.KerasTensor,
    filters: int,
    strides: Axes,
    *,
    recipe: Recipe,
    name: str,
) -> keras.KerasTensor:
    """Upsamples the features of the level below and concatenates them with those of this level.

    Args:
        skips: Features of this level, `(b, *s, c)` each, in the order of their columns.
        below: Features of the next level, `(b, *(s / strides), c)`.
        filters: Channels of the upsampled features; bilinear upsampling keeps those of `below`.
        strides: Between the two levels, one or per axis.
        recipe: How to upsample, and in which order to concatenate.
        name: The upsampling is `{name}_up`, the concatenation `{name}_concat`.

    Returns:
        Features, `(b, *s, sum of all channels)`.
    """
    if recipe.bilinear:
        up = LinearUpsample(per_axis(strides, spatial_rank(below)), name=f"{name}_up")(below)
    else:
        up = up_conv(below, filters, strides, use_bias=recipe.up_bias, slope=0.01, name=f"{name}_up")
    parts = [up, *skips] if recipe.up_first else [*skips, up]
    return keras.layers.Concatenate(name=f"{name}_concat")(parts)
