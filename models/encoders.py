"""Classification networks as encoders: one table, used by every network that takes `MODEL.BACKBONE`.

To add one, add a row. `encoder_taps` does the rest: it builds the network inside the graph of the segmentation network,
with the input normalisation that its ImageNet weights expect.
"""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

Normalization = Literal["caffe", "torch", "tf", "none"]


@dataclass(frozen=True)
class Encoder:
    """One row: where the network is, and which of its layers a decoder takes."""

    application: str  # function of keras.applications
    taps: tuple[str, ...]  # layers, finest first; each halves the one before it
    first_stride: int  # of the first tap
    normalization: Normalization  # what the ImageNet weights expect

    @property
    def multiple(self) -> int:
        """What height and width must be a multiple of for every tap to fit the next."""
        return self.first_stride * 2 ** (len(self.taps) - 1)


def _vgg(application: str, last: int) -> Encoder:
    taps = ("block1_conv2", "block2_conv2", *(f"block{k}_conv{last}" for k in (3, 4, 5)))
    return Encoder(application, taps, 1, "caffe")


def _resnet(application: str, blocks: Sequence[int]) -> Encoder:
    taps = ("conv1_relu", *(f"conv{k}_block{n}_out" for k, n in enumerate(blocks, start=2)))
    return Encoder(application, taps, 2, "caffe")


ENCODERS: Mapping[str, Encoder] = {
    "vgg16": _vgg("VGG16", 3),
    "vgg19": _vgg("VGG19", 4),
    "resnet50": _resnet("ResNet50", (3, 4, 6, 3)),
    "resnet101": _resnet("ResNet101", (3, 4, 23, 3)),
}


@keras.saving.register_keras_serializable(package="medical_unets")
class ImageNetNormalization(keras.layers.Layer):
    """What an ImageNet encoder was trained on, computed from intensities in [0, 1].

    Args:
        mode: `caffe`: blue, green, red on 0..255 minus the channel means; `torch`: minus mean, by standard deviation;
            `tf`: scaled to [-1, 1]; `none`: as they are.
        options: Of `keras.layers.Layer`.
    """

    def __init__(self, mode: Normalization = "caffe", **options: Any) -> None:
        super().__init__(**options)
        self.mode = mode

    def call(self, inputs: Any) -> Any:
        """`(b, h, w, 3)` to the same shape; one channel stands for three equal ones."""
        x = ops.concatenate([inputs] * 3, axis=-1) if inputs.shape[-1] == 1 else inputs
        if self.mode == "caffe":
            return ops.flip(x, axis=-1) * 255.0 - ops.array([103.939, 116.779, 123.68], dtype=x.dtype)
        if self.mode == "torch":
            mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
            return (x - ops.array(mean, dtype=x.dtype)) / ops.array(deviation, dtype=x.dtype)
        return x * 2.0 - 1.0 if self.mode == "tf" else x

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Three channels."""
        return (*input_shape[:-1], 3)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "mode": self.mode}


def encoder_taps(x: keras.KerasTensor, *, name: str, weights: str | None = None) -> list[keras.KerasTensor]:
    """Features of a classification network at every resolution.

    Args:
        x: Image, `(b, h, w, c)`; with weights, intensities in [0, 1] and 1 or 3 channels.
        name: A key of `ENCODERS`.
        weights: `None` starts from random weights and leaves the input alone; `"imagenet"`, or the path of a weights
            file of the same network without its classifier, also normalises the input as those weights expect.

    Returns:
        Features `(b, h / stride, w / stride, channels)`, finest first; the strides double from `first_stride`.

    Raises:
        ValueError: The input is not 2D, its channels do not fit the weights, or the weights cannot be had.
    """
    encoder = ENCODERS[name]
    if len(x.shape) != 4:
        raise ValueError(f"{name} is a 2D encoder, but the input has {len(x.shape) - 2} spatial axes. Leave it out.")
    if weights is not None:
        if x.shape[-1] not in (1, 3):
            raise ValueError(
                f"Weights of {name} take 1 or 3 channels, but the input has {x.shape[-1]}. "
                "Set INPUT.CHANNELS=3, or MODEL.BACKBONE.WEIGHTS=null."
            )
        x = ImageNetNormalization(encoder.normalization, name="imagenet_normalization", dtype="float32")(x)
    network = _application(encoder, x, name, weights)
    return [network.get_layer(tap).output for tap in encoder.taps]


def _application(encoder: Encoder, x: keras.KerasTensor, name: str, weights: str | None) -> keras.Model:
    """The network without its classifier, built on `x`, with its weights."""
    build = getattr(keras.applications, encoder.application)
    if weights not in (None, "imagenet"):
        if not pathlib.Path(weights).is_file():
            raise ValueError(
                f"MODEL.BACKBONE.WEIGHTS={weights} is no file. Give null, imagenet, or a weights file of {name}."
            )
        network = build(include_top=False, weights=None, input_tensor=x)
        try:
            network.load_weights(weights)
        except (ValueError, OSError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"MODEL.BACKBONE.WEIGHTS={weights} does not fit {name}: {reason}") from error
        return network
    try:
        return build(include_top=False, weights=weights, input_tensor=x)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        if weights is None or "fetch failure" not in str(error):
            raise
        raise ValueError(
            f"The ImageNet weights of {name} could not be downloaded, and ~/.keras/models has no copy. Connect once, "
            "give a weights file as MODEL.BACKBONE.WEIGHTS=<path>, or set MODEL.BACKBONE.WEIGHTS=null."
        ) from error
