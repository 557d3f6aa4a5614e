"""How coarse a network becomes: what sizes its inputs may have."""

from typing import Any

import keras

_PROBE = 512


def total_strides(model: keras.Model) -> tuple[int, ...]:
    """How far the coarsest features of a network of free input size are apart, in voxels, along each axis.

    Input sizes that are multiples of it fit every skip connection. Features of one voxel are taken for global ones.

    Args:
        model: One input `(b, *s, c)` whose spatial sizes are None.
    """
    image = model.inputs[0]
    rank = len(image.shape) - 2
    tensors: list[Any] = []
    for layer in model.layers:
        found = layer.output
        tensors += [tensor for tensor in (found if isinstance(found, list) else [found])]
    every = keras.Model(model.inputs, [tensor for tensor in tensors if len(tensor.shape) == rank + 2])
    specs = every.compute_output_spec(keras.KerasTensor((1, *[_PROBE] * rank, image.shape[-1])))
    sizes = [spec.shape[1:-1] for spec in specs]
    return tuple(_PROBE // min(size[axis] for size in sizes if size[axis] > 1) for axis in range(rank))
