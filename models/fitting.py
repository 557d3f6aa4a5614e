"""Which settings a weights file wants: read off the names and shapes of its arrays.

    advice(network, shapes) -> "type MODEL.PRESET=acdc OUTPUT.CLASSES=4.", or "" where nothing is known

Names are those of an original's state dict or of `models.keras_files.read_weights`.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras

Shapes = Mapping[str, tuple[int, ...]]
PATCHES: Mapping[str, tuple[int, ...]] = {
    "synapse": (64, 128, 128),
    "acdc": (16, 160, 160),
    "lung": (32, 192, 192),
    "brats": (128, 128, 128),
}
"""Published patch of each preset of UNETR++."""


def advice(network: keras.Model, shapes: Shapes) -> str:
    """The settings with which a file would fit.

    Args:
        network: What it does not fit.
        shapes: Name to shape of the file's arrays.

    Returns:
        One sentence that names what the file is and what to type, or an empty text.
    """
    if network.name == "unetr_plusplus":
        return _unetr_plusplus(network, shapes)
    wanted = _classes(network, shapes)
    return (
        "" if wanted is None else f"It has {wanted} outputs: type OUTPUT.CLASSES={wanted}, or DATASET.LABELS={{...}}."
    )


def shapes_of(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name to shape."""
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _classes(network: keras.Model, shapes: Shapes) -> int | None:
    """Outputs of the file's first head, where its layer is there and has another number of them."""
    head = network.outputs[0]._keras_history.operation.name
    stored = shapes.get(f"{head}/0")
    return stored[-1] if stored is not None and stored[-1] != network.outputs[0].shape[-1] else None


def _unetr_plusplus(network: keras.Model, shapes: Shapes) -> str:
    theirs, mine = _described(shapes), _described(_own_shapes(network))
    if theirs is None or mine is None:
        return ""
    size = tuple(network.inputs[0].shape[1:-1])
    typed, extra = list[str](), ""
    if (theirs["stem"], theirs["design"]) != (mine["stem"], mine["design"]):
        typed.append(f"MODEL.PRESET={_preset(theirs)}")
    for key, name in (("classes", "OUTPUT.CLASSES"), ("channels", "INPUT.CHANNELS")):
        if theirs[key] != mine[key]:
            typed.append(f"{name}={theirs[key]}")
    if theirs["tokens"] != mine["tokens"]:
        patch = _patch(theirs)
        if patch is None:
            blocks = "x".join(map(str, theirs["stem"]))
            extra = f" Its patch has {theirs['tokens']} blocks of {blocks} voxels: set INPUT.PATCH to it."
        else:
            typed.append(f"INPUT.PATCH={_listed(patch)}")
            extra = f" To use it at {_listed(size)} type IMPORT.RESIZE_FROM={_listed(patch)}."
    found = f"It is a UNETR++ of preset {_preset(theirs)}, {theirs['classes']} classes, {theirs['channels']} channels"
    return f"{found}: type {' '.join(typed)}.{extra}" if typed else extra.strip()


def _described(shapes: Shapes) -> dict[str, Any] | None:
    """Stem, design, classes, channels and tokens of a UNETR++, of either naming; None for another network."""
    released, ours = "unetr_pp_encoder.downsample_layers.0.0.conv.weight", "encoder0_down_conv/0"
    try:
        if released in shapes:
            design = (any(key.endswith(".EF") for key in shapes), any(".conv52." in key for key in shapes))
            facts = {"stem": shapes[released][2:], "channels": shapes[released][1]}
            facts |= {"classes": shapes["out1.conv.conv.bias"][0]}
            return facts | {"tokens": shapes["unetr_pp_encoder.stages.0.0.pos_embed"][1], "design": design}
        bias = "encoder0_block0_attention/attention/project_keys/1"
        design = (bias not in shapes, any("_conv52_" in key for key in shapes))
        facts = {"stem": shapes[ours][:-2], "channels": shapes[ours][-2], "classes": shapes["logits1/1"][0]}
        return facts | {"tokens": shapes["encoder0_block0_attention/0"][1], "design": design}
    except (KeyError, IndexError):
        return None


def _own_shapes(network: keras.Model) -> Shapes:
    first: Any = network.get_layer("encoder0_block0_attention")
    stem: Any = network.get_layer("encoder0_down_conv")
    shapes = {
        "encoder0_down_conv/0": tuple(stem.kernel.shape),
        "logits1/1": (int(network.outputs[0].shape[-1]),),
        "encoder0_block0_attention/0": tuple(first.positions.shape),
    }
    if first.attention.projection != "matrix":
        shapes["encoder0_block0_attention/attention/project_keys/1"] = (first.attention.tokens,)
    names = [layer.name for layer in network.layers if "_conv52_" in layer.name]
    return shapes | dict.fromkeys(names, ())


def _preset(facts: Mapping[str, Any]) -> str:
    matrix, second = facts["design"]
    if matrix or not second:
        return "brats" if matrix else "synapse"
    return "lung" if facts["tokens"] == _tokens("lung", facts["stem"]) else "acdc"


def _patch(facts: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The published patch, where the number of tokens is that of it."""
    preset = _preset(facts)
    return PATCHES[preset] if facts["tokens"] == _tokens(preset, facts["stem"]) else None


def _tokens(preset: str, stem: tuple[int, ...]) -> int:
    return math.prod(edge // step for edge, step in zip(PATCHES[preset], stem, strict=False))


def _listed(values: tuple[int, ...]) -> str:
    return str(list(values)).replace(" ", "")
