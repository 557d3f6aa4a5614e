"""3D U²-Net: one network for many domains, with depthwise filters per domain and pointwise filters shared.

Source: C. Huang et al., 3D U²-Net: A 3D Universal U-Net for Multi-Domain Medical Image Segmentation, MICCAI 2019,
https://arxiv.org/abs/1909.06012. Departure: the domain is chosen by the network's input, not by a global variable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from models.blocks import check_size, he_normal, per_axis
from models.depthwise import DepthwiseConv3D

MODES = ("separable", "series", "parallel", "shared", "independent")
OF_DOMAIN = "__"
"""Stands between a domain and the rest of a layer's name; shared layers have none."""


def universal_unet(
    *,
    input_shape: tuple[int | None, ...],
    domains: Sequence[Mapping[str, Any]],
    mode: str = "separable",
    base_filters: int = 16,
    strides: Sequence[Sequence[int]] = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
) -> keras.Model:
    """Builds the network of all domains.

    Args:
        input_shape: `(d, h, w)`; channels belong to the domains. Sizes are multiples of the product of the strides.
        domains: Per domain `name`, `channels` and `classes`.
        mode: `separable` (the paper): depthwise filters per domain, pointwise shared. `series`, `parallel`: shared
            filters with pointwise adapters per domain. `shared`: only norms, input and outputs per domain.
            `independent`: `shared` with one domain.
        base_filters: Channels at full resolution; every level doubles them.
        strides: Per level and axis; the first is all ones.

    Returns:
        One input `(b, d, h, w, channels)` and one output of logits `(b, d, h, w, classes)` per domain, in the order of
        `domains`. `domain_model` picks one. The layers `{name}__share_map` and `{name}__para_map` hold what the shared
        and the domain's own part answer at full resolution (separable and parallel modes).

    Raises:
        ValueError: The mode is unknown, two domains have one name, or a size does not fit.
    """
    _check(domains, mode)
    steps = [per_axis(tuple(stride), 3) for stride in strides]
    multiples = [1, 1, 1]
    for step in steps:
        multiples = [multiple * edge for multiple, edge in zip(multiples, step, strict=True)]
    check_size((*input_shape, 1), multiples, model="universal_unet", cure="remove a level from MODEL.STRIDES")
    layers = _Layers(mode)
    inputs, outputs = [], []
    for domain in domains:
        image = keras.Input((*input_shape, int(domain["channels"])), name=str(domain["name"]))
        path = _Path(layers, str(domain["name"]), int(domain["classes"]), base_filters, steps)
        inputs.append(image)
        outputs.append(path.run(image))
    return keras.Model(inputs, outputs, name="universal_unet")


def domain_model(network: keras.Model, name: str) -> keras.Model:
    """The network of one domain; it shares the weights of the whole.

    Args:
        network: From `universal_unet`.
        name: A domain's name.

    Returns:
        `model(image (b, d, h, w, channels))`: logits `(b, d, h, w, classes)`.

    Raises:
        ValueError: The network has no such domain; lists those it has.
    """
    names = domain_names(network)
    if name not in names:
        raise ValueError(
            f"The network has no domain {name!r}; it was built for {', '.join(names)}. Type DOMAIN= one of them."
        )
    index = names.index(name)
    return keras.Model(network.inputs[index], network.outputs[index], name="universal_unet")


def domain_names(network: keras.Model) -> list[str]:
    """Names of the domains, in the order of the inputs."""
    return [item.name for item in network.inputs]


def domain_layers(network: keras.Model, name: str) -> list[keras.layers.Layer]:
    """The layers that belong to one domain alone: adapters, norms, input and outputs."""
    return [layer for layer in network.layers if layer.name.startswith(f"{name}{OF_DOMAIN}")]


def inherit(network: keras.Model, trained: keras.Model) -> list[str]:
    """Copies the weights of every layer that a trained network has under the same name.

    Args:
        network: A network with more domains; its weights are replaced.
        trained: The network before the domains were added.

    Returns:
        Names of the layers that start fresh.

    Raises:
        ValueError: A layer of the same name has other shapes (another mode, width, channel or class count).
    """
    known = {layer.name: layer for layer in trained.layers}
    fresh = []
    for layer in network.layers:
        if not layer.weights:
            continue
        if layer.name not in known:
            fresh.append(layer.name)
            continue
        values = known[layer.name].get_weights()
        if [value.shape for value in values] != [tuple(weight.shape) for weight in layer.weights]:
            raise ValueError(f"Layer {layer.name} differs in shape; give the domain the channels and classes it had.")
        layer.set_weights(values)
    return fresh


def freeze_shared(network: keras.Model, *, new: str, rule: str = "paper") -> None:
    """Leaves only what a new domain may learn trainable.

    Args:
        network: The network with the new domain.
        new: The new domain's name.
        rule: `paper`: everything shared is frozen. `released`: only the pointwise kernels of the encoder's and the
            decoder's blocks are frozen in the original; here their biases are, too. `all`: nothing shared is frozen.
            Other domains are frozen under every rule.

    Raises:
        ValueError: The rule or the domain is unknown.
    """
    if rule not in ("paper", "released", "all"):
        raise ValueError(f"The rule {rule!r} is unknown; type paper, released or all.")
    domain_model(network, new)
    for layer in network.layers:
        owner = layer.name.split(OF_DOMAIN)[0] if OF_DOMAIN in layer.name else None
        blocks = layer.name.startswith(("down_block", "up_block"))
        shared = {"paper": False, "released": not blocks, "all": True}[rule]
        layer.trainable = shared if owner is None else owner == new


def _check(domains: Sequence[Mapping[str, Any]], mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"MODEL.MODE={mode} is unknown; type one of {', '.join(MODES)}.")
    names = [str(domain["name"]) for domain in domains]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(f"Every domain needs a name of its own; got {names}.")
    odd = [name for name in names if not name.isidentifier() or OF_DOMAIN in name]
    if odd:
        raise ValueError(f"The domain name {odd[0]!r} does not fit: type letters, digits and single underscores.")
    if mode == "independent" and len(names) > 1:
        raise ValueError(f"MODEL.MODE=independent is for one domain, got {', '.join(names)}. Type MODEL.MODE=shared.")


@dataclass
class _Layers:
    """Layers by name: a shared one is made once, whatever number of domains runs through it."""

    mode: str
    made: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, make: Callable[[str], Any]) -> Any:
        if name not in self.made:
            self.made[name] = make(name)
        return self.made[name]


@dataclass(frozen=True)
class _Path:
    """One domain's way through the network."""

    layers: _Layers
    domain: str
    classes: int
    base: int
    strides: Sequence[tuple[int, ...]]

    def run(self, image: Any) -> Any:
        x = self._act(self._norm(self._conv(image, self.base, 3, self._own("input_conv")), "input_norm"), "input")
        skips = []
        for level, stride in enumerate([*self.strides[1:], None]):
            x = self._down_block(x, level)
            if stride is not None:
                skips.append(x)
                x = self._downsample(x, level, stride)
        logits = None
        for level in reversed(range(len(skips))):
            x = self._up_block(x, skips[level], level)
            if 0 < level < 3:
                side = self._side(x, level)
                logits = side if logits is None else keras.layers.Add(name=self._own(f"sum{level}"))([side, logits])
                logits = self._nearest(logits, self.strides[level], f"side{level}")
        answer = self._conv(x, self.classes, 1, self._own("output"), dtype="float32")
        return (
            answer if logits is None else keras.layers.Add(name=self._own("logits"), dtype="float32")([answer, logits])
        )

    def _down_block(self, x: Any, level: int) -> Any:
        width = x.shape[-1]
        y = self._act(self._unit(x, width, f"down_block{level}_op1"), f"down_block{level}_op1")
        y = self._unit(y, width, f"down_block{level}_op2")
        y = keras.layers.Add(name=self._own(f"down_block{level}_add"))([x, y])
        return self._act(y, f"down_block{level}_out")

    def _downsample(self, x: Any, level: int, stride: Sequence[int]) -> Any:
        """The original pads strided axes on the far side only, others on both."""
        margins = tuple((0, 1) if step == 2 else (1, 1) for step in stride)
        name = f"down_sample{level}"
        x = keras.layers.ZeroPadding3D(margins, name=self._own(f"{name}_pad"))(x)
        x = self._conv(x, 2 * x.shape[-1], 3, f"{name}_conv", strides=tuple(stride), padding="valid")
        return self._act(self._norm(x, f"{name}_norm"), name)

    def _up_block(self, x: Any, skip: Any, level: int) -> Any:
        width = skip.shape[-1]
        x = self._nearest(x, self.strides[level + 1], f"up_sample{level}")
        x = self._act(self._unit(x, width, f"up_sample{level}"), f"up_sample{level}")
        x = keras.layers.Concatenate(name=self._own(f"up_block{level}_concat"))([x, skip])
        x = self._act(self._unit(x, width, f"up_block{level}_op1"), f"up_block{level}_op1")
        return self._act(self._unit(x, width, f"up_block{level}_op2", kernel=1), f"up_block{level}_op2")

    def _side(self, x: Any, level: int) -> Any:
        y = self._conv(x, self.classes, 1, self._own(f"side{level}_conv"))
        return self._act(self._norm(y, f"side{level}_norm"), f"side{level}")

    def _unit(self, x: Any, width: int, name: str, *, kernel: int = 3) -> Any:
        """Convolution and norm of one stride-1 unit, as the mode says; the activation follows outside."""
        mode = self.layers.mode
        if mode == "separable":
            own = self._own(f"{name}_depthwise")
            y = self.layers.get(own, lambda own: DepthwiseConv3D(3, name=own))(x)  # 3 wide also where the unit asks 1
            y = self._act(self._norm(y, f"{name}_depthwise_norm"), f"{name}_depthwise")
            shared = self._conv(self._map(y, name, "para_map"), width, 1, f"{name}_pointwise")
            return self._norm(self._map(shared, name, "share_map"), f"{name}_norm")
        y = self._conv(x, width, kernel, f"{name}_conv")
        if mode == "series":
            z = self._norm(y, f"{name}_adapter_norm")
            z = self._conv(z, width, 1, self._own(f"{name}_adapter"))
            y = keras.layers.Add(name=self._own(f"{name}_add"))([y, z])
        elif mode == "parallel":
            z = self._map(self._conv(x, width, 1, self._own(f"{name}_adapter")), name, "para_map")
            y = self._map(y, name, "share_map")
            y = keras.layers.Add(name=self._own(f"{name}_add"))([y, z])
        return self._norm(y, f"{name}_norm")

    def _map(self, x: Any, unit: str, name: str) -> Any:
        return keras.layers.Identity(name=self._own(name))(x) if unit == "up_sample0" else x

    def _conv(self, x: Any, width: int, kernel: int, name: str, **options: Any) -> Any:
        chosen = {"padding": "same", "kernel_initializer": he_normal()} | options
        return self.layers.get(name, lambda name: keras.layers.Conv3D(width, kernel, name=name, **chosen))(x)

    def _norm(self, x: Any, name: str) -> Any:
        layer = keras.layers.GroupNormalization(groups=x.shape[-1], epsilon=1e-5, name=self._own(name))
        return self.layers.get(layer.name, lambda _: layer)(x)

    def _act(self, x: Any, name: str) -> Any:
        return keras.layers.LeakyReLU(negative_slope=0.01, name=self._own(f"{name}_act"))(x)

    def _nearest(self, x: Any, stride: Sequence[int], name: str) -> Any:
        return keras.layers.UpSampling3D(tuple(stride), name=self._own(f"{name}_up"))(x)

    def _own(self, name: str) -> str:
        return f"{self.domain}{OF_DOMAIN}{name}"
