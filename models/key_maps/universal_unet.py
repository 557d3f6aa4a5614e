"""3D U²-Net: keys of the released network. Adapters of the series and parallel modes follow its naming by analogy."""

import re

import keras

from models.state_dicts import Entry, conv_entries, norm_entries
from models.universal_unet import OF_DOMAIN, domain_names


def entries(model: keras.Model) -> list[Entry]:
    """Every tensor of the original and the variable that takes it."""
    layers = {layer.name: layer for layer in model.layers}
    names = domain_names(model)
    depth = sum(re.fullmatch(rf"{names[0]}{OF_DOMAIN}down_block\d+_add", name) is not None for name in layers)
    reader = _Reader(layers, names)
    for t, domain in enumerate(names):
        reader.conv(f"in_tr_list.{t}.op1.0", f"{domain}{OF_DOMAIN}input_conv")
        reader.norm(f"in_tr_list.{t}.op1.1.0", f"{domain}{OF_DOMAIN}input_norm")
        reader.conv(f"out_tr_list.{t}.conv1", f"{domain}{OF_DOMAIN}output")
        for position, level in enumerate(level for level in (2, 1) if level < depth - 1):
            reader.conv(f"dSupers.{position}.{t}.op1.0", f"{domain}{OF_DOMAIN}side{level}_conv")
            reader.norm(f"dSupers.{position}.{t}.op1.1.0", f"{domain}{OF_DOMAIN}side{level}_norm")
    for level in range(depth):
        reader.unit(f"down_blocks.{level}.op1", f"down_block{level}_op1")
        reader.unit(f"down_blocks.{level}.op2", f"down_block{level}_op2")
    for level in range(depth - 1):
        reader.conv(f"down_samps.{level}.op1.conv", f"down_sample{level}_conv")
        reader.norms(f"down_samps.{level}.op1.op", f"down_sample{level}_norm")
        reader.unit(f"up_samps.{level}.op", f"up_sample{level}")
        reader.unit(f"up_blocks.{level}.op1", f"up_block{level}_op1")
        reader.unit(f"up_blocks.{level}.op2", f"up_block{level}_op2")
    return reader.found


class _Reader:
    """Collects the entries of a network's layers."""

    def __init__(self, layers: dict[str, keras.layers.Layer], names: list[str]):
        self.layers, self.names = layers, names
        self.found: list[Entry] = []

    def conv(self, key: str, name: str) -> None:
        """One convolution, depthwise ones included: their kernel is `(k, k, k, 1, c)`."""
        layer = self.layers[name]
        if hasattr(layer, "use_bias"):
            self.found += conv_entries(key, layer)
        else:
            self.found += [Entry(f"{key}.weight", layer.kernel, "conv"), Entry(f"{key}.bias", layer.bias, "vector")]

    def norm(self, key: str, name: str) -> None:
        """One normalisation."""
        self.found += norm_entries(key, self.layers[name])

    def norms(self, key: str, name: str) -> None:
        """One normalisation per domain."""
        for t, domain in enumerate(self.names):
            self.norm(f"{key}.{t}", f"{domain}{OF_DOMAIN}{name}")

    def unit(self, key: str, name: str) -> None:
        """A unit: what it shares, its adapters, its norms."""
        if f"{name}_pointwise" in self.layers:
            self.conv(f"{key}.pwise.conv1", f"{name}_pointwise")
        else:
            self.conv(f"{key}.conv", f"{name}_conv")
        for t, domain in enumerate(self.names):
            own = f"{domain}{OF_DOMAIN}{name}"
            for kind in ("depthwise", "adapter"):
                if f"{own}_{kind}" in self.layers:
                    self.conv(f"{key}.adapOps.{t}.conv1", f"{own}_{kind}")
                if f"{own}_{kind}_norm" in self.layers:
                    self.norm(f"{key}.adapOps.{t}.op1.0", f"{own}_{kind}_norm")
        self.norms(f"{key}.op", f"{name}_norm")
