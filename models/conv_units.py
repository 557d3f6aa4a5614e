"""Convolutions that choose how to compute themselves: with normalisation and ReLU, and to logits."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from models.blocks import Axes, he_normal, per_axis
from models.convolutions import narrow_conv
from models.upsampling import upsample_linear, upsample_then_conv
from models.winograd import trainable_winograd_conv, winograd_conv

Upsampling = Literal["auto", "rewritten", "direct"]
Convolution = Literal["auto", "winograd", "direct"]


@keras.saving.register_keras_serializable(package="medical_unets")
class ConvNormReLU(keras.layers.Layer):
    """Linear upsampling where `scale` says so, "same" 3-wide convolution, batch normalisation, ReLU.

    The variables are those of the convolution (`kernel` `(3, .., 3, c, filters)`, `bias`) and of `norm`; checkpoints do
    not see how they are used:

    - At inference the normalisation is folded into kernel and bias: two passes over the features fewer.
    - `upsampling="rewritten"` convolves before it upsamples (`upsample_then_conv`); `"direct"` upsamples first. `auto`
      is `rewritten`: it measured faster at every scale, forward and backward.
    - `convolution="winograd"` takes a quarter of the multiplications (`models.winograd`), forward and backward. `auto`
      chooses it from 64 to 128 channels on, in float32 where there is no GPU.

    Measured with TensorFlow 2.21, float32, batch 1, on two cores of an AMD EPYC with AVX-512; not yet on a GPU.
    Milliseconds of processor time to an output of 320 x 320:

        scale 2, 320 to 64 channels:   direct  365, rewritten 265, in blocks (at inference) 150
        scale 4, 320 to 64 channels:   direct  366, rewritten  85
        scale 8, 320 to 64 channels:   direct  360, rewritten  34
        scale 16, 1024 to 64 channels: direct 1205, rewritten  19
        320 to 320 channels:           direct 1679, winograd  760; both gradients 3629, 1632
        64 to 64 channels:             direct   70, winograd   81; both gradients  139,  172

    Compare the whole of UNet 3+ by `python -m benchmarks train_step --batch 1` with and without
    `--option decoder_upsampling=direct --option convolution=direct`.

    Args:
        filters: Output channels.
        scale: Whole factor of the upsampling, one or per axis; 1 is none.
        epsilon: Of the normalisation.
        momentum: Share of the old average that stays in the running statistics.
        upsampling: `auto`, `rewritten` or `direct`.
        convolution: `auto`, `winograd` or `direct`.
        options: Of `keras.layers.Layer`.
    """

    def __init__(
        self,
        filters: int,
        *,
        scale: Axes = 1,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        upsampling: Upsampling = "auto",
        convolution: Convolution = "auto",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = filters
        self.scale = scale if isinstance(scale, int) else tuple(scale)
        self.epsilon = epsilon
        self.momentum = momentum
        self.upsampling = upsampling
        self.convolution = convolution
        self.use_bias = True
        self.norm = keras.layers.BatchNormalization(
            momentum=momentum, epsilon=epsilon, dtype=self.dtype_policy, name="norm"
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Makes the variables; they stay float32 in `call`, which casts what it has folded."""
        rank = len(input_shape) - 2
        shape = (*(3,) * rank, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=he_normal(), autocast=False, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", autocast=False, name="bias")
        self.norm.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """`(b, *s, c)` to `(b, *(s * scale), filters)`."""
        if training and self.norm.trainable:
            x = self._convolve(inputs, self.kernel, training=True) + ops.cast(self.bias, self.compute_dtype)
            return ops.relu(self.norm(x, training=True))
        norm = self.norm
        slope = norm.gamma * ops.rsqrt(norm.moving_variance + self.epsilon)
        offset = (self.bias - norm.moving_mean) * slope + norm.beta
        x = self._convolve(inputs, self.kernel * slope, training=False)
        return ops.relu(x + ops.cast(offset, self.compute_dtype))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """`(b, *(s * scale), filters)`."""
        scale = per_axis(self.scale, len(input_shape) - 2)
        sizes = (n if n is None else n * s for n, s in zip(input_shape[1:-1], scale, strict=True))
        return (input_shape[0], *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        names = ("filters", "scale", "epsilon", "momentum", "upsampling", "convolution")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _convolve(self, x: Any, kernel: Any, *, training: bool) -> Any:
        kernel = ops.cast(kernel, self.compute_dtype)
        if max(per_axis(self.scale, len(x.shape) - 2)) > 1:
            if self.upsampling != "direct":
                return upsample_then_conv(x, kernel, self.scale, banded=not training)
            x = upsample_linear(x, self.scale)
        if self._prefers_winograd(x):
            return trainable_winograd_conv(x, kernel) if training else winograd_conv(x, kernel)
        return ops.conv(x, kernel, padding="same")

    def _prefers_winograd(self, x: Any) -> bool:
        if self.convolution != "auto":
            return self.convolution == "winograd"
        wide = min(self.filters, x.shape[-1]) >= 64 and max(self.filters, x.shape[-1]) >= 128
        return wide and self.compute_dtype == "float32" and not keras.distribution.list_devices("gpu")


@keras.saving.register_keras_serializable(package="medical_unets")
class LogitsConv(keras.layers.Layer):
    """3-wide "same" convolution to logits, in float32.

    Up to five channels are computed by `narrow_conv`: at 320 x 320, from 320 to 2 channels, in 41 instead of 93
    milliseconds of processor time, and with gradients in 121 instead of 208.

    Args:
        filters: Output channels.
        options: Of `keras.layers.Layer`.
    """

    def __init__(self, filters: int, **options: Any) -> None:
        super().__init__(**{"dtype": "float32", **options})
        self.filters = filters
        self.use_bias = True

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Makes the variables of the convolution."""
        shape = (*(3,) * (len(input_shape) - 2), input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=he_normal(), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """`(b, *s, c)` to `(b, *s, filters)`."""
        if self.filters <= 5:
            return narrow_conv(inputs, self.kernel) + self.bias
        return ops.conv(inputs, self.kernel, padding="same") + self.bias

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """`(b, *s, filters)`."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "filters": self.filters}
