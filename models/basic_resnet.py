"""ResNet-18 and ResNet-34, which `keras.applications` does not have, without the classifier.

He et al., "Deep residual learning for image recognition", CVPR 2016, https://arxiv.org/abs/1512.03385; shapes, padding
and layer order are torchvision's, so that its weights fit. Layer names follow `keras.applications.ResNet50`.

ImageNet weights: `timm/resnet18.tv_in1k` and `timm/resnet34.tv_in1k` on the Hugging Face hub hold torchvision's weights
as safetensors; any torchvision checkpoint (`resnet34-*.pth`) fits as well.
Departures: none; weights start as He et al., "Delving deep into rectifiers", https://arxiv.org/abs/1502.01852.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from models.blocks import batch_norm, he_normal
from models.state_dicts import Entry, conv_entries, norm_entries

WIDTHS = (64, 128, 256, 512)
WEIGHTS_URL = "https://huggingface.co/timm/{name}.tv_in1k/resolve/main/model.safetensors"


def resnet18(*, input_tensor: keras.KerasTensor) -> keras.Model:
    """Two basic blocks per stage; 11,176,512 parameters on three channels."""
    return basic_resnet(input_tensor, blocks=(2, 2, 2, 2), name="resnet18")


def resnet34(*, input_tensor: keras.KerasTensor) -> keras.Model:
    """Three, four, six and three basic blocks; 21,284,672 parameters on three channels."""
    return basic_resnet(input_tensor, blocks=(3, 4, 6, 3), name="resnet34")


def basic_resnet(image: keras.KerasTensor, *, blocks: Sequence[int], name: str) -> keras.Model:
    """A ResNet of basic blocks.

    Args:
        image: `(b, h, w, c)`.
        blocks: Per stage.
        name: Of the model.

    Returns:
        From the input behind `image` to features `(b, ceil(h / 32), ceil(w / 32), 512)`; `conv1_relu` and
        `conv{stage}_block{n}_out` are its other resolutions.
    """
    x = _conv(image, WIDTHS[0], 7, strides=2, name="conv1")
    x = keras.layers.ReLU(name="conv1_relu")(x)
    # After a ReLU, padding with 0 and padding with minus infinity give the same maximum.
    x = keras.layers.MaxPooling2D(3, 2, name="pool1_pool")(keras.layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for stage, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True), start=2):
        for n in range(1, count + 1):
            x = _block(x, width, strides=2 if n == 1 and stage > 2 else 1, name=f"conv{stage}_block{n}")
    return keras.Model(keras.utils.get_source_inputs(image), x, name=name)


def state_dict_entries(model: keras.Model) -> list[Entry]:
    """torchvision's keys of every variable, from `conv1.weight` to `layer4.1.bn2.running_var`."""
    entries: list[Entry] = []
    for layer in model.layers:
        if not layer.weights or not layer.name.startswith("conv"):
            continue
        module, of = _module(layer.name), norm_entries if layer.name.endswith("_bn") else conv_entries
        entries += of(module, layer)
    return entries


def load_torchvision(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Gives a model torchvision's weights; the classifier `fc` is left out.

    Raises:
        ValueError: A tensor is missing or has another shape.
    """
    for entry in state_dict_entries(model):
        if entry.key not in tensors:
            raise ValueError(f"{entry.key} is missing")
        tensor = np.asarray(tensors[entry.key])
        entry.variable.assign(np.moveaxis(tensor, (0, 1), (-1, -2)) if tensor.ndim == 4 else tensor)


def _block(x: keras.KerasTensor, width: int, *, strides: int, name: str) -> keras.KerasTensor:
    shortcut: Any = x
    if strides > 1 or x.shape[-1] != width:
        shortcut = _conv(x, width, 1, strides=strides, name=f"{name}_0")
    y = keras.layers.ReLU(name=f"{name}_1_relu")(_conv(x, width, 3, strides=strides, name=f"{name}_1"))
    y = _conv(y, width, 3, strides=1, name=f"{name}_2")
    return keras.layers.ReLU(name=f"{name}_out")(keras.layers.Add(name=f"{name}_add")([shortcut, y]))


def _conv(x: keras.KerasTensor, width: int, kernel: int, *, strides: int, name: str) -> keras.KerasTensor:
    """Convolution padded alike on both sides, whatever the stride, and batch normalisation."""
    if kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    conv = keras.layers.Conv2D(
        width, kernel, strides, use_bias=False, kernel_initializer=he_normal(), name=f"{name}_conv"
    )
    return batch_norm(conv(x), name=f"{name}_bn")


def _module(name: str) -> str:
    """torchvision's module of a layer: `conv3_block1_0_bn` is `layer2.0.downsample.1`."""
    if name.startswith("conv1_"):
        return "bn1" if name.endswith("_bn") else "conv1"
    stage, block, part, kind = name.split("_")
    place = f"layer{int(stage.removeprefix('conv')) - 1}.{int(block.removeprefix('block')) - 1}"
    if part == "0":
        return f"{place}.downsample.{int(kind == 'bn')}"
    return f"{place}.{'bn' if kind == 'bn' else 'conv'}{part}"
