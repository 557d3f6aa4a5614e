"""UNETR++: keys of the released networks."""

from typing import Any

import keras

from models.state_dicts import Entry, conv_entries, norm_entries


def entries(model: keras.Model) -> list[Entry]:
    """Every tensor of the original and the variable that takes it, in the original's order."""
    names = {layer.name for layer in model.layers}
    stages = sum(name.endswith("_down_conv") for name in names)
    found: list[Entry] = []
    for level in range(stages):
        key = f"unetr_pp_encoder.downsample_layers.{level}"
        found += conv_entries(f"{key}.0.conv", model.get_layer(f"encoder{level}_down_conv"))
        found += norm_entries(f"{key}.1", model.get_layer(f"encoder{level}_down_norm"))
        found += _blocks(model, names, f"encoder{level}", f"unetr_pp_encoder.stages.{level}")
    found += _residual(model, names, "shallow", "encoder1")
    for level in reversed(range(stages - 1)):
        key = f"decoder{level + 3}"
        found += conv_entries(f"{key}.transp_conv.conv", model.get_layer(f"decoder{level}_up"))
        found += _blocks(model, names, f"decoder{level}", f"{key}.decoder_block.0")
    found += conv_entries("decoder2.transp_conv.conv", model.get_layer("final_up"))
    found += _residual(model, names, "final", "decoder2.decoder_block.0")
    for output in (1, 2, 3):
        if f"logits{output}" in names:
            found += conv_entries(f"out{output}.conv.conv", model.get_layer(f"logits{output}"))
    return found


def block_entries(model: keras.Model, names: set[str], name: str, key: str) -> list[Entry]:
    """The tensors of one transformer block: `name` is the prefix of its layers, `key` of the original's."""
    residual: Any = model.get_layer(f"{name}_attention")
    attention = residual.attention
    dot = f"{key}." if key else ""
    found = [
        Entry(f"{dot}gamma", residual.gamma, "vector"),
        Entry(f"{dot}pos_embed", residual.positions, "as_is"),
        *norm_entries(f"{dot}norm", residual.norm),
        Entry(f"{dot}epa_block.temperature", attention.channel_temperature, "as_is"),
        Entry(f"{dot}epa_block.temperature2", attention.spatial_temperature, "as_is"),
        Entry(f"{dot}epa_block.qkvv.weight", attention.mix.kernel, "dense"),
    ]
    if attention.projection == "matrix":
        found.append(Entry(f"{dot}epa_block.EF", attention.project_keys.kernel, "as_is"))
    else:
        for letter, layer in (("E", attention.project_keys), ("F", attention.project_values)):
            found += conv_entries(f"{dot}epa_block.{letter}", layer, "dense")
        found += conv_entries(f"{dot}epa_block.out_proj", attention.spatial_out, "dense")
        found += conv_entries(f"{dot}epa_block.out_proj2", attention.channel_out, "dense")
    found += _residual(model, names, f"{name}_conv51", f"{dot}conv51")
    if f"{name}_conv52_conv1" in names:
        found += _residual(model, names, f"{name}_conv52", f"{dot}conv52")
    return found + conv_entries(f"{dot}conv8.1", model.get_layer(f"{name}_conv8"))


def _blocks(model: keras.Model, names: set[str], name: str, key: str) -> list[Entry]:
    count = sum(item.startswith(f"{name}_block") and item.endswith("_attention") for item in names)
    return [
        entry
        for index in range(count)
        for entry in block_entries(model, names, f"{name}_block{index}", f"{key}.{index}")
    ]


def _residual(model: keras.Model, names: set[str], name: str, key: str) -> list[Entry]:
    found: list[Entry] = []
    for index in (1, 2, 3):
        if f"{name}_conv{index}" not in names:
            continue
        found += conv_entries(f"{key}.conv{index}.conv", model.get_layer(f"{name}_conv{index}"))
        norm: Any = model.get_layer(f"{name}_norm{index}")
        if getattr(norm, "gamma", None) is not None:
            found += norm_entries(f"{key}.norm{index}", norm)
    return found
