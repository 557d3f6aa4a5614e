"""State dicts of nnU-Net 2: its plain and its residual-encoder U-Net.

Every unit is registered twice there (`.all_modules.`), and the encoder again inside the decoder (`decoder.encoder.`):
those keys are ignored, ours are the first names.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import keras

from models.state_dicts import Entry, conv_entries, norm_entries

# Layer name -> module of the original. {s} counts decoder levels from the lowest, our names from the finest.
_UNIT = r"encoder(?P<i>\d+)_(?P<n>\d+)"
_PATTERNS: Mapping[str, str] = {
    rf"{_UNIT}_(?P<part>conv|norm)": "encoder.stages.{i}.0.convs.{n}.{part}",
    r"stem_(?P<part>conv|norm)": "encoder.stem.convs.0.{part}",
    rf"{_UNIT}_(?P<conv>conv[12])_(?P<part>conv|norm)": "encoder.stages.{i}.blocks.{n}.{conv}.{part}",
    rf"{_UNIT}_skip_(?P<part>conv|norm)": "encoder.stages.{i}.blocks.{n}.skip.{after_pool}.{part}",
    r"decoder(?P<i>\d+)_up": "decoder.transpconvs.{s}",
    r"decoder(?P<i>\d+)_(?P<n>\d+)_(?P<part>conv|norm)": "decoder.stages.{s}.convs.{n}.{part}",
    r"head(?P<i>\d+)": "decoder.seg_layers.{s}",
}


def entries(model: keras.Model) -> list[Entry]:
    """Tensors of nnU-Net 2's `PlainConvUNet` or `ResidualEncoderUNet` and the variables that take them.

    Args:
        model: From `unet` (recipe nnunet) or `resenc_unet`.
    """
    names = {layer.name for layer in model.layers}
    depth = sum(re.fullmatch(r"decoder\d+_up", name) is not None for name in names)
    found: list[Entry] = []
    for layer in model.layers:
        module = _module(layer.name, depth, names)
        if module is not None and layer.weights:
            found += entries_of(layer)(module, layer)
    return found


def entries_of(layer: Any) -> Callable[[str, Any], list[Entry]]:
    """How the variables of a layer are listed: a normalisation has `gamma`, a convolution a kernel."""
    return norm_entries if hasattr(layer, "gamma") else conv_entries


def _module(name: str, depth: int, names: set[str]) -> str | None:
    for pattern, module in _PATTERNS.items():
        match = re.fullmatch(pattern, name)
        if match:
            parts = match.groupdict()
            level = depth - 1 - int(parts.get("i") or 0)
            pooled = name.rsplit("_", 1)[0] + "_pool" in names
            return module.format(**parts, s=level, after_pool=int(pooled))
    return None
