"""Column 0 of a U-Net over a classification network, whatever stride that network begins and ends with."""

from collections.abc import Sequence

import keras

from models.encoders import ENCODERS, encoder_taps, find_encoder
from models.recipes import Recipe, units
from models.stages import Stages

DECODER_FILTERS = (16, 32, 64, 128, 256)


def backbone_stages(backbone: str, *, filters: Sequence[int] | None, **absent: object) -> Stages:
    """Stages of a network over a backbone: one more than decoder levels, strides of 2, kernels of 3.

    Args:
        backbone: A key of `models.encoders.ENCODERS`.
        filters: Channels of the decoder's levels, finest first, one to as many as sizes can be halved; `None`: 16, 32,
            64, ... down to the deepest features of the backbone.
        absent: Options that a backbone decides, by name; each must be `None`.

    Returns:
        Stages whose last width is not used: the deepest features are the backbone's.

    Raises:
        ValueError: The backbone is unknown, or an option contradicts it.
    """
    encoder = find_encoder(backbone)
    given = ", ".join(f"MODEL.{name.upper()}" for name, value in absent.items() if value is not None)
    if given:
        raise ValueError(f"MODEL.BACKBONE.TYPE={backbone} decides {given}. Leave one of them out.")
    deepest = _level(encoder.first_stride) + len(encoder.taps) - 1
    widths = tuple(DECODER_FILTERS[:deepest] if filters is None else filters)
    if not widths or min(widths) < 1:
        raise ValueError(f"MODEL.FILTERS={list(widths)}: over a backbone, one width of 1 or more per decoder level.")
    count = len(widths) + 1
    return Stages((*widths, widths[-1]), ((3, 3),) * count, ((1, 1), *((2, 2),) * (count - 1)))


def backbone_columns(
    image: keras.KerasTensor, stages: Stages, *, backbone: str, weights: str | None, recipe: Recipe
) -> list[keras.KerasTensor]:
    """Features of every level, finest first.

    Levels finer than the first features of the backbone, and levels deeper than its last, get two units of their own,
    so that every backbone carries a decoder that begins at full resolution and has any depth.

    Args:
        image: `(b, h, w, c)`.
        stages: From `backbone_stages`.
        backbone: A key of `models.encoders.ENCODERS`.
        weights: As in `encoder_taps`.
        recipe: What a unit is.

    Returns:
        `stages.depth + 1` features, each at half the resolution of the one before.

    Raises:
        ValueError: As `encoder_taps`.
    """
    finer = _level(ENCODERS[backbone].first_stride)
    taps = encoder_taps(image, name=backbone, weights=weights)
    columns: list[keras.KerasTensor] = []
    for i in range(stages.depth + 1):
        if finer <= i < finer + len(taps):
            columns.append(taps[i - finer])
            continue
        below = columns[-1] if i else image
        width = stages.filters[i] if i < finer else below.shape[-1]
        columns.append(units(below, width, 3, strides=stages.strides[i], count=2, recipe=recipe, name=f"x{i}_0"))
    return columns


def _level(stride: int) -> int:
    return stride.bit_length() - 1
