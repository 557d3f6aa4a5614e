"""What several networks are built of: convolutions, normalisations and samplings for any spatial rank.

Signatures (all keep the batch and put channels last):

    spatial_rank(x) -> 2 | 3                              per_axis(value, rank) -> tuple
    CONV[rank], BLOCK_TRANSPOSE[rank], MAX_POOL[rank], AVERAGE_POOL[rank], UPSAMPLING[rank], ZERO_PADDING[rank]
    he_normal(slope=0.0) -> initializer                   a new one for every layer
    same_conv(x, filters, kernel=3, *, strides=1, use_bias=True, slope=0.0, name)
    up_conv(x, filters, strides, *, use_bias=False, slope=0.0, name)
    instance_norm(x, *, name, gamma="ones")               batch_norm(x, *, epsilon=1e-5, name)
    conv_norm_act(x, filters, kernel=3, *, strides=1, use_bias=True, name)      instance norm, leaky ReLU 0.01
    head(x, num_classes, kernel=1, *, use_bias=True, name)                      float32 logits
    check_size(input_shape, multiples, *, model, cure)    ValueError that computes the size that fits
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from models.convolutions import block_transpose

Axes = int | Sequence[int]


class _Blocks:
    """A transposed convolution whose stride is its kernel's size, as one matrix product.

    The layers keep the names of Keras' own, after which weights files list them.
    """

    def call(self: Any, inputs: Any) -> Any:
        """`(b, *s, c)` to `(b, *(s * strides), filters)`."""
        answer = block_transpose(inputs, self.kernel)
        return answer + self.bias if self.use_bias else answer


@keras.saving.register_keras_serializable(package="medical_unets")
class Conv1DTranspose(_Blocks, keras.layers.Conv1DTranspose):
    """`Conv1DTranspose` whose stride is its kernel's size."""


@keras.saving.register_keras_serializable(package="medical_unets")
class Conv2DTranspose(_Blocks, keras.layers.Conv2DTranspose):
    """`Conv2DTranspose` whose stride is its kernel's size."""


@keras.saving.register_keras_serializable(package="medical_unets")
class Conv3DTranspose(_Blocks, keras.layers.Conv3DTranspose):
    """`Conv3DTranspose` whose stride is its kernel's size."""


CONV: Mapping[int, Any] = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
BLOCK_TRANSPOSE: Mapping[int, Any] = {1: Conv1DTranspose, 2: Conv2DTranspose, 3: Conv3DTranspose}
MAX_POOL: Mapping[int, Any] = {1: keras.layers.MaxPooling1D, 2: keras.layers.MaxPooling2D, 3: keras.layers.MaxPooling3D}
AVERAGE_POOL: Mapping[int, Any] = {
    1: keras.layers.AveragePooling1D,
    2: keras.layers.AveragePooling2D,
    3: keras.layers.AveragePooling3D,
}
GLOBAL_MAX_POOL: Mapping[int, Any] = {
    1: keras.layers.GlobalMaxPooling1D,
    2: keras.layers.GlobalMaxPooling2D,
    3: keras.layers.GlobalMaxPooling3D,
}
UPSAMPLING: Mapping[int, Any] = {
    1: keras.layers.UpSampling1D,
    2: keras.layers.UpSampling2D,
    3: keras.layers.UpSampling3D,
}
ZERO_PADDING: Mapping[int, Any] = {
    1: keras.layers.ZeroPadding1D,
    2: keras.layers.ZeroPadding2D,
    3: keras.layers.ZeroPadding3D,
}


def spatial_rank(x: keras.KerasTensor) -> int:
    """Number of spatial axes of features `(b, *s, c)`."""
    return len(x.shape) - 2


def per_axis(value: Axes, rank: int) -> tuple[int, ...]:
    """One number per spatial axis.

    Args:
        value: One number for all axes, or one per axis.
        rank: Number of spatial axes.

    Raises:
        ValueError: `value` has another length.
    """
    axes = (value,) * rank if isinstance(value, int) else tuple(int(n) for n in value)
    if len(axes) != rank:
        raise ValueError(f"{list(axes)} has {len(axes)} numbers, but the input has {rank} spatial axes. Give {rank}.")
    return axes


@keras.saving.register_keras_serializable(package="medical_unets")
class HeNormal(keras.initializers.Initializer):
    """Initial kernels for a leaky ReLU: normal, variance 2 / ((1 + slope^2) fan_in) (He et al., ICCV 2015).

    fan_in is all but the last axis of `(*k, in, out)`, and of `(*k, out, in)` of a transposed convolution, as PyTorch
    counts it. Drawn by NumPy: one seed gives the same weights on every backend, and JAX compiles nothing (its own
    generator costs a second per kernel shape).

    Args:
        slope: Negative slope of the activation that follows; 0 is the ReLU.
        seed: `None` draws one from Python's generator, which `keras.utils.set_random_seed` seeds.
    """

    def __init__(self, slope: float = 0.0, seed: int | None = None) -> None:
        self.slope = slope
        self.seed = random.randint(1, 2**31 - 1) if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None, **_: Any) -> Any:
        """A kernel of this shape; the same one at every call."""
        deviation = math.sqrt(2.0 / ((1.0 + self.slope**2) * math.prod(shape[:-1])))
        draw = np.random.default_rng(self.seed).standard_normal(tuple(shape), np.float32)
        return keras.ops.convert_to_tensor(draw * np.float32(deviation), dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"slope": self.slope, "seed": self.seed}


def he_normal(slope: float = 0.0) -> keras.initializers.Initializer:
    """A new initializer with a seed of its own: one shared instance would start equal layers with equal kernels."""
    return HeNormal(slope)


def same_conv(
    x: keras.KerasTensor,
    filters: int,
    kernel: Axes = 3,
    *,
    strides: Axes = 1,
    use_bias: bool = True,
    slope: float = 0.0,
    name: str,
) -> keras.KerasTensor:
    """Convolution with (kernel - 1) // 2 zeros on both sides of every axis.

    Keras' "same" pads only the far side of an even size when the stride is 2: its answer is shifted by one pixel
    against the originals. Here the padding is symmetric, whatever the stride.

    Args:
        x: Features, `(b, *s, c)`.
        filters: Output channels.
        kernel: Odd size, one or per axis.
        strides: One or per axis.
        use_bias: Whether to add a bias.
        slope: Negative slope of the activation that follows, for the initial kernel.
        name: Name of the convolution; the padding is `{name}_pad`.

    Returns:
        Features, `(b, *ceil(s / strides), filters)`.
    """
    rank = spatial_rank(x)
    kernel, strides = per_axis(kernel, rank), per_axis(strides, rank)
    padding = "same"
    if any(s > 1 < k for s, k in zip(strides, kernel, strict=True)):
        margins = tuple(((k - 1) // 2, (k - 1) // 2) for k in kernel)
        x = ZERO_PADDING[rank](margins if rank > 1 else margins[0], name=f"{name}_pad")(x)
        padding = "valid"
    conv = CONV[rank](
        filters, kernel, strides, padding, use_bias=use_bias, kernel_initializer=he_normal(slope), name=name
    )
    return conv(x)


def up_conv(
    x: keras.KerasTensor, filters: int, strides: Axes, *, use_bias: bool = False, slope: float = 0.0, name: str
) -> keras.KerasTensor:
    """Transposed convolution whose kernel is its stride: every input pixel paints one block.

    Args:
        x: Features, `(b, *s, c)`.
        filters: Output channels.
        strides: One or per axis.
        use_bias: Whether to add a bias.
        slope: Negative slope of the activation that follows, for the initial kernel.
        name: Name of the layer.

    Returns:
        Features, `(b, *(s * strides), filters)`.
    """
    rank = spatial_rank(x)
    size = per_axis(strides, rank)
    layer = BLOCK_TRANSPOSE[rank](
        filters, size, size, "valid", use_bias=use_bias, kernel_initializer=he_normal(slope), name=name
    )
    return layer(x)


def instance_norm(x: keras.KerasTensor, *, name: str, epsilon: float = 1e-5, gamma: str = "ones") -> keras.KerasTensor:
    """Instance normalisation with scale and shift; `gamma` initialises the scale; `(b, *s, c)` stays."""
    layer = keras.layers.GroupNormalization(x.shape[-1], epsilon=epsilon, gamma_initializer=gamma, name=name)
    return layer(x)


def batch_norm(x: keras.KerasTensor, *, name: str, epsilon: float = 1e-5, momentum: float = 0.9) -> keras.KerasTensor:
    """Batch normalisation with the originals' epsilon; `momentum` is the share of the old average that stays."""
    return keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)(x)


def conv_norm_act(
    x: keras.KerasTensor, filters: int, kernel: Axes = 3, *, strides: Axes = 1, use_bias: bool = True, name: str
) -> keras.KerasTensor:
    """Convolution, instance normalisation, leaky ReLU 0.01.

    Args:
        x: Features, `(b, *s, c)`.
        filters: Output channels.
        kernel: Odd size, one or per axis.
        strides: One or per axis.
        use_bias: The originals have one, although the normalisation subtracts it again.
        name: Prefix of the layer names `{name}_conv`, `{name}_norm`, `{name}_act`.

    Returns:
        Features, `(b, *ceil(s / strides), filters)`.
    """
    x = same_conv(x, filters, kernel, strides=strides, use_bias=use_bias, slope=0.01, name=f"{name}_conv")
    x = instance_norm(x, name=f"{name}_norm")
    return keras.layers.LeakyReLU(negative_slope=0.01, name=f"{name}_act")(x)


def head(
    x: keras.KerasTensor, num_classes: int, kernel: Axes = 1, *, use_bias: bool = True, name: str
) -> keras.KerasTensor:
    """Last convolution: float32 logits `(b, *s, num_classes)` whatever the precision policy."""
    rank = spatial_rank(x)
    layer = CONV[rank](
        num_classes, per_axis(kernel, rank), 1, "same", use_bias=use_bias, dtype="float32",
        kernel_initializer=he_normal(), name=name,
    )  # fmt: skip
    return layer(x)


def check_size(input_shape: Sequence[int | None], multiples: Axes, *, model: str, cure: str) -> None:
    """Refuses spatial sizes that the network cannot halve often enough.

    Args:
        input_shape: `(*s, channels)`; `None` passes.
        multiples: What every size must be a multiple of, one or per axis.
        model: Name for the message.
        cure: What else the user can do, such as `"remove a stage from MODEL.FILTERS"`.

    Raises:
        ValueError: Names the shape, the rule and the next sizes that fit.
    """
    sizes = tuple(input_shape[:-1])
    steps = per_axis(multiples, len(sizes))
    if all(n is None or (n > 0 and n % m == 0) for n, m in zip(sizes, steps, strict=True)):
        return
    fitting = [n if n is None else max(m, -(-n // m) * m) for n, m in zip(sizes, steps, strict=True)]
    rule = f"a multiple of {steps[0]}" if len(set(steps)) == 1 else f"a multiple of {list(steps)}, axis by axis"
    keys = (
        f"INPUT.HEIGHT={fitting[0]} INPUT.WIDTH={fitting[1]}"
        if len(sizes) == 2
        else f"INPUT.PATCH={str(fitting).replace(' ', '')}"
    )
    raise ValueError(f"Spatial shape {sizes} does not fit {model}: every size must be {rule}. Set {keys}, or {cure}.")
