"""Pretrained weights of encoders: from ImageNet or from a file, for any number of input channels."""

import importlib
import pathlib
from typing import Any

import keras
import numpy as np

from models.basic_resnet import WEIGHTS_URL, load_torchvision
from models.torch_files import SUFFIXES, read_tensors


def build_encoder(application: str, *, input_tensor: keras.KerasTensor) -> keras.Model:
    """A classification network without its classifier, with random weights, built on a tensor.

    Args:
        application: A function of `keras.applications`, or `"module:function"`.
        input_tensor: `(b, h, w, c)`.
    """
    if ":" in application:
        module, function = application.split(":")
        return getattr(importlib.import_module(module), function)(input_tensor=input_tensor)
    options = {"include_preprocessing": False} if application.startswith("ConvNeXt") else {}
    build = getattr(keras.applications, application)
    return build(include_top=False, weights=None, input_tensor=input_tensor, **options)


def pretrained(application: str, *, name: str, weights: str) -> keras.Model:
    """The same network on three channels, with its weights.

    Args:
        application: As in `build_encoder`.
        name: What the user calls it, for messages.
        weights: `"imagenet"`, or a file: Keras weights without the classifier, or torchvision's of ResNet-18 and -34.

    Raises:
        ValueError: The file is missing or of another network, or nothing can be downloaded; one line.
    """
    if weights != "imagenet":
        if not pathlib.Path(weights).is_file():
            raise ValueError(
                f"MODEL.BACKBONE.WEIGHTS={weights} is no file. Give null, imagenet, or a weights file of {name}."
            )
        network = build_encoder(application, input_tensor=keras.Input((None, None, 3)))
        try:
            _load_file(network, pathlib.Path(weights))
        except (ValueError, OSError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"MODEL.BACKBONE.WEIGHTS={weights} does not fit {name}: {reason}") from error
        return network
    try:
        return _download(application, name)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        if "fetch failure" not in str(error):
            raise
        raise ValueError(
            f"The ImageNet weights of {name} could not be downloaded, and ~/.keras/models has no copy. Connect once, "
            "give a weights file as MODEL.BACKBONE.WEIGHTS=<path>, or set MODEL.BACKBONE.WEIGHTS=null."
        ) from error


def adapt_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies weights between two builds of one network that may differ in the number of input channels.

    Where a kernel sees another number of channels, every channel gets the mean of the source's kernels times 3 / c: c
    equal channels answer as three equal ones did.

    Args:
        source: On three channels.
        target: On any number.
    """
    pairs = zip(_weighted(source), _weighted(target), strict=True)
    for given, taken in pairs:
        for theirs, ours in zip(given.weights, taken.weights, strict=True):
            ours.assign(_fitted(keras.ops.convert_to_numpy(theirs), tuple(ours.shape)))


def _fitted(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if value.shape == shape:
        return value
    axis = next(place for place, (old, new) in enumerate(zip(value.shape, shape, strict=True)) if old != new)
    mean = np.repeat(value.mean(axis, keepdims=True), shape[axis], axis)
    # The other values of another size are the channel means and deviations of a normalisation: not to be scaled.
    return mean * (value.shape[axis] / shape[axis]) if value.ndim == 4 and axis == 2 else mean


def _weighted(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


def _download(application: str, name: str) -> keras.Model:
    if ":" not in application:
        options = {"include_preprocessing": False} if application.startswith("ConvNeXt") else {}
        build = getattr(keras.applications, application)
        return build(include_top=False, weights="imagenet", input_shape=(None, None, 3), **options)
    network = build_encoder(application, input_tensor=keras.Input((None, None, 3)))
    path = keras.utils.get_file(f"{name}.tv_in1k.safetensors", WEIGHTS_URL.format(name=name), cache_subdir="models")
    load_torchvision(network, read_tensors(pathlib.Path(path)))
    return network


def _load_file(network: keras.Model, path: pathlib.Path) -> None:
    if path.suffix.lower() in SUFFIXES:
        if not network.name.startswith(("resnet18", "resnet34")):
            raise ValueError("PyTorch weights are for resnet18 and resnet34; give Keras weights (.h5)")
        load_torchvision(network, read_tensors(path))
    else:
        network.load_weights(path)
