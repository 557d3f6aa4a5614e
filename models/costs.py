"""What a network costs before it runs: multiply-adds of one forward pass."""

import math
from collections.abc import Sequence
from typing import Any

import keras


def multiply_adds(model: keras.Model, spatial_shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and dense layers for one sample.

    Normalisations, activations, poolings and bilinear resizing are not counted: they are memory traffic.

    Args:
        model: One input `(b, *s, c)`; convolutions of any kind have a `kernel`.
        spatial_shape: Size `s` of the sample.

    Returns:
        Multiply-adds, twice as many floating-point operations.
    """
    shape = (*spatial_shape, model.inputs[0].shape[-1])
    total = 0
    sized: Any = keras.models.clone_model(model, input_tensors=keras.Input(shape))
    for layer in sized.layers:
        if not hasattr(layer, "kernel"):
            continue
        # A transposed convolution spends its kernel at every input position, all others at every output position.
        transposed = type(layer).__name__.endswith("Transpose")
        positions = math.prod((layer.input if transposed else layer.output).shape[1:-1])
        total += positions * math.prod(layer.kernel.shape)
    return total
