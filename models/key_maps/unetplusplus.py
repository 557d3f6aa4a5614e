"""State dicts of the PyTorch UNet++ (nnU-Net 1): node X(i, j) is `loc{z}.{j - 1}` with z = depth - (i + j)."""

import re

import keras

from models.key_maps.nnunet import entries_of
from models.state_dicts import Entry

_PARTS = {"conv": "conv", "norm": "instnorm"}


def entries(model: keras.Model) -> list[Entry]:
    """Tensors of the original and the variables that take them.

    Args:
        model: From `unetplusplus` (recipe nnunet). A pruned one is the original with fewer poolings.
    """
    columns = [re.fullmatch(r"x(\d+)_0_0_conv", layer.name) for layer in model.layers]
    depth = max((int(match[1]) for match in columns if match), default=0)
    found: list[Entry] = []
    for layer in model.layers:
        module = _module(layer.name, depth)
        if module is not None:
            found += entries_of(layer)(module, layer)
    return found


def _module(name: str, depth: int) -> str | None:
    if match := re.fullmatch(r"head(\d+)", name):
        return f"seg_outputs.{depth - int(match[1])}"
    if match := re.fullmatch(r"x(\d+)_(\d+)_up", name):
        i, j = int(match[1]), int(match[2])
        return f"up{depth - i - j}.{j - 1}"
    match = re.fullmatch(r"x(\d+)_(\d+)_(\d+)_(conv|norm)", name)
    if not match:
        return None
    i, j, n = (int(match[g]) for g in (1, 2, 3))
    if j:
        block = f"loc{depth - i - j}.{j - 1}.{n}.blocks.0"
    else:
        block = f"conv_blocks_context.{i}.{n}.blocks.0" if i == depth else f"conv_blocks_context.{i}.blocks.{n}"
    return f"{block}.{_PARTS[match[4]]}"
