"""State dicts of the authors' UNet 3+ (ZJUGiveLab/UNet-Version: UNet_3Plus, UNet_3Plus_DeepSup, _DeepSup_CGM)."""

import keras

from models.state_dicts import Entry, conv_entries, norm_entries


def entries(model: keras.Model) -> list[Entry]:
    """Every tensor of the original, in its order of encoder, decoder, heads, classifier.

    Args:
        model: From `models.unet3plus` with the paper's encoder.

    Raises:
        ValueError: The model has another encoder, for which no weights were published.
    """
    names = {layer.name for layer in model.layers}
    if "encoder1_conv1" not in names:
        raise ValueError("No UNet 3+ with a backbone was published: load its weights with model.load_weights instead.")
    levels = sum(f"encoder{k}_conv1" in names for k in range(1, len(names)))
    found: list[Entry] = []
    for k in range(1, levels + 1):
        for part in (1, 2):
            ours = f"encoder{k}_conv{part}"
            found += _unit(model, ours, f"conv{k}.conv{part}.0", f"conv{k}.conv{part}.1")
    for i in range(levels - 1, 0, -1):
        for k in range(1, levels + 1):
            theirs = f"h{k}_PT_hd{i}" if k < i else f"h{i}_Cat_hd{i}" if k == i else f"hd{k}_UT_hd{i}"
            found += _unit(model, f"decoder{i}_from{k}", f"{theirs}_conv", f"{theirs}_bn")
        found += _unit(model, f"decoder{i}_fuse", f"conv{i}d_1", f"bn{i}d_1")
    heads = [i for i in range(1, levels + 1) if f"head{i}" in names]
    for i in heads:
        found += conv_entries(f"outconv{i}", model.get_layer(f"head{i}"))
    if "class_conv" in names:
        found += conv_entries("cls.1", model.get_layer("class_conv"))
    return found


def _unit(model: keras.Model, ours: str, conv: str, norm: str) -> list[Entry]:
    """A convolution and its batch normalisation."""
    layer = model.get_layer(ours)
    return conv_entries(conv, layer) + norm_entries(norm, layer.norm)
