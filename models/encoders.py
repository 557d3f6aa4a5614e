"""Classification networks as encoders: one table, used by every network that takes `MODEL.BACKBONE`.

To add one, add a row. `encoder_taps` does the rest: it builds the network inside the graph of the segmentation network,
with the input normalisation that its ImageNet weights expect. The networks are those of `keras.applications`, and
ResNet-18 and -34 of `models.basic_resnet`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from models.encoder_weights import adapt_weights, build_encoder, pretrained
from models.signatures import did_you_mean

Normalization = Literal["caffe", "torch", "tf", "efficientnet", "none"]

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Encoder:
    """One row: where the network is, and which of its layers a decoder takes."""

    application: str  # function of keras.applications, or "module:function" of ours
    taps: tuple[
        str, ...
    ]  # layers whose outputs (after `>`: whose inputs) are taken, finest first; each halves the last
    first_stride: int  # of the first tap
    normalization: Normalization  # what the ImageNet weights expect
    unit_scale: float = 1.0  # what intensities in [0, 1] are multiplied by where the network itself divides by it

    @property
    def multiple(self) -> int:
        """What height and width must be a multiple of for every tap to fit the next."""
        return self.first_stride * 2 ** (len(self.taps) - 1)


def _vgg(application: str, last: int) -> Encoder:
    taps = ("block1_conv2", "block2_conv2", *(f"block{k}_conv{last}" for k in (3, 4, 5)))
    return Encoder(application, taps, 1, "caffe")


def _resnet(application: str, blocks: Sequence[int], normalization: Normalization = "caffe") -> Encoder:
    taps = ("conv1_relu", *(f"conv{k}_block{n}_out" for k, n in enumerate(blocks, start=2)))
    return Encoder(application, taps, 2, normalization)


def _densenet(application: str) -> Encoder:
    return Encoder(application, ("conv1_relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu"), 2, "torch")


def _efficientnet(application: str) -> Encoder:
    taps = (*(f"block{k}a_expand_activation" for k in (2, 3, 4, 6)), "top_activation")
    return Encoder(application, taps, 2, "efficientnet", unit_scale=255.0)


def _convnext(application: str, name: str) -> Encoder:
    taps = (*(f">{name}_downsampling_block_{k}" for k in range(3)), "")
    return Encoder(application, taps, 4, "torch")


ENCODERS: Mapping[str, Encoder] = {
    "vgg16": _vgg("VGG16", 3),
    "vgg19": _vgg("VGG19", 4),
    "resnet18": _resnet("models.basic_resnet:resnet18", (2, 2, 2, 2), "torch"),
    "resnet34": _resnet("models.basic_resnet:resnet34", (3, 4, 6, 3), "torch"),
    "resnet50": _resnet("ResNet50", (3, 4, 6, 3)),
    "resnet101": _resnet("ResNet101", (3, 4, 23, 3)),
    "resnet152": _resnet("ResNet152", (3, 8, 36, 3)),
    **{f"densenet{depth}": _densenet(f"DenseNet{depth}") for depth in (121, 169, 201)},
    **{f"efficientnetb{size}": _efficientnet(f"EfficientNetB{size}") for size in range(8)},
    **{
        f"convnext_{size}": _convnext(f"ConvNeXt{size.title()}", f"convnext_{size}")
        for size in ("tiny", "small", "base")
    },
}


def find_encoder(name: str) -> Encoder:
    """Looks an encoder up.

    Raises:
        ValueError: There is none of this name; the message suggests a near one and lists all.
    """
    if name not in ENCODERS:
        hint = did_you_mean(name, ENCODERS)
        raise ValueError(f"Unknown MODEL.BACKBONE.TYPE={name}.{hint} Valid: {', '.join(ENCODERS)}.")
    return ENCODERS[name]


@keras.saving.register_keras_serializable(package="medical_unets")
class ImageNetNormalization(keras.layers.Layer):
    """What an ImageNet encoder was trained on, computed from intensities in [0, 1].

    Args:
        mode: `caffe`: blue, green, red on 0..255 minus the channel means; `torch`: minus mean, by standard deviation;
            `efficientnet`: on 0..255, so that the network's own normalisation makes `torch` of it; `tf`: scaled to
            [-1, 1]; `none`: as they are.
        options: Of `keras.layers.Layer`.
    """

    def __init__(self, mode: Normalization = "caffe", **options: Any) -> None:
        super().__init__(**options)
        self.mode = mode

    def call(self, inputs: Any) -> Any:
        """`(b, h, w, c)` to three channels where c is 1 or 3: one channel stands for three equal ones.

        Any other c is kept, and all channels are normalised by the mean of the three.
        """
        x = ops.concatenate([inputs] * 3, axis=-1) if inputs.shape[-1] == 1 else inputs
        colours = x.shape[-1] == 3
        if self.mode == "caffe":
            x = ops.flip(x, axis=-1) if colours else x
            return x * 255.0 - _per_channel(CAFFE_MEAN, x, colours=colours)
        if self.mode in ("torch", "efficientnet"):
            mean = _per_channel(IMAGENET_MEAN, x, colours=colours)
            deviation = _per_channel(IMAGENET_DEVIATION, x, colours=colours)
            # The published EfficientNets divide by the root of the deviation only, and once more outside the weights.
            root = (x - mean) / ops.sqrt(deviation)
            return (root + mean) * 255.0 if self.mode == "efficientnet" else root / ops.sqrt(deviation)
        return x * 2.0 - 1.0 if self.mode == "tf" else x

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Three channels where there was one."""
        return (*input_shape[:-1], 3 if input_shape[-1] == 1 else input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "mode": self.mode}


def encoder_taps(x: keras.KerasTensor, *, name: str, weights: str | None = None) -> list[keras.KerasTensor]:
    """Features of a classification network at every resolution.

    Args:
        x: Image, `(b, h, w, c)`; with weights, intensities in [0, 1]. Weights are for three channels: one channel
            stands for three equal ones; any other number shares the mean of the first kernels.
        name: A key of `ENCODERS`.
        weights: `None` starts from random weights and leaves the input alone; `"imagenet"`, or the path of a weights
            file of the same network, also normalises the input as those weights expect.

    Returns:
        Features `(b, h / stride, w / stride, channels)`, finest first; the strides double from `first_stride`.

    Raises:
        ValueError: There is no such encoder, the input is not 2D, or the weights cannot be had.
    """
    encoder = find_encoder(name)
    if len(x.shape) != 4:
        raise ValueError(f"{name} is a 2D encoder, but the input has {len(x.shape) - 2} spatial axes. Leave it out.")
    if weights is not None:
        x = ImageNetNormalization(encoder.normalization, name="imagenet_normalization", dtype="float32")(x)
    elif encoder.unit_scale != 1.0:
        x = keras.layers.Rescaling(encoder.unit_scale, name="unit_scale")(x)
    # Weights first: a download that fails should not have cost the time of building.
    source = None if weights is None else pretrained(encoder.application, name=name, weights=weights)
    network = build_encoder(encoder.application, input_tensor=x)
    if source is not None:
        adapt_weights(source, network)
    return [_tap(network, tap) for tap in encoder.taps]


def _tap(network: keras.Model, tap: str) -> keras.KerasTensor:
    if not tap:
        return network.output
    layer = network.get_layer(tap.removeprefix(">"))
    return layer.input if tap.startswith(">") else layer.output


def _per_channel(values: Sequence[float], x: Any, *, colours: bool) -> Any:
    return ops.array(values if colours else sum(values) / len(values), dtype=x.dtype)
