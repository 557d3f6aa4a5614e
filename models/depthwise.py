"""The depthwise 3D convolution that Keras lacks."""

from typing import Any, Literal

import keras
from keras import ops

from models.blocks import he_normal

Execution = Literal["auto", "slices", "grouped", "shifted"]


@keras.saving.register_keras_serializable(package="medical_unets")
class DepthwiseConv3D(keras.layers.Layer):
    """A filter of its own for every channel of `(b, d, h, w, c)`; stride 1, zero padding, bias.

    Three executions of the same sum, chosen by `execution`; the weights do not know which:

    - `slices`: one 2D depthwise convolution of all slices per depth tap, shifted along the depth and summed;
    - `grouped`: one grouped 3D convolution;
    - `shifted`: one multiply-add per tap over the shifted volume.

    `auto` follows `python -m benchmarks depthwise` on two CPU cores (TensorFlow 2.21, JAX 0.10), grids from 32x64x64
    with 16 channels to 4x4x4 with 512:

    - TensorFlow: `slices`, forward 1.3 to 6 times as fast as `shifted`; with backward it takes 0.8 to 1.9 of its time,
      but keeps one copy of the volume for the gradient, not 27. `grouped` takes 20 to 130 times as long.
    - JAX: `shifted`, 7 to 54 times as fast forward as `slices`, 1.2 to 17 times with backward: XLA makes a loop of it.
    - JAX with an accelerator: `grouped`, which is one call of its library; not measured.

    Args:
        kernel: Odd size along every axis.
        execution: How it is computed.
    """

    def __init__(self, kernel: int = 3, *, execution: Execution = "auto", **options: Any):
        super().__init__(**options)
        self.size, self.execution = kernel, execution

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the kernel `(k, k, k, 1, c)` and the bias `(c,)`."""
        channels = input_shape[-1]
        shape = (self.size,) * 3 + (1, channels)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=he_normal())
        self.bias = self.add_weight(name="bias", shape=(channels,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """`(b, d, h, w, c)` to `(b, d, h, w, c)`."""
        run = {"slices": self._slices, "grouped": self._grouped, "shifted": self._shifted}[self._chosen()]
        return run(inputs) + self.bias

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return super().get_config() | {"kernel": self.size, "execution": self.execution}

    def _chosen(self) -> str:
        if self.execution != "auto":
            return self.execution
        if keras.backend.backend() == "tensorflow":
            return "slices"
        return "grouped" if _accelerated() else "shifted"

    def _slices(self, x: Any) -> Any:
        b, d, h, w = (ops.shape(x)[axis] for axis in range(4))
        c, half = x.shape[-1], self.size // 2
        flat = ops.reshape(x, (-1, h, w, c))
        total: Any = None
        for tap in range(self.size):
            kernel = ops.transpose(self.kernel[tap], (0, 1, 3, 2))
            plane = ops.reshape(ops.depthwise_conv(flat, kernel, padding="same"), (b, d, h, w, c))
            moved = _shift(plane, half - tap)
            total = moved if total is None else total + moved
        return total

    def _grouped(self, x: Any) -> Any:
        return ops.conv(x, self.kernel, padding="same")

    def _shifted(self, x: Any) -> Any:
        half = self.size // 2
        d, h, w = (ops.shape(x)[axis] for axis in (1, 2, 3))
        padded = ops.pad(x, [[0, 0], [half, half], [half, half], [half, half], [0, 0]])
        total: Any = None
        for i in range(self.size):
            for j in range(self.size):
                for k in range(self.size):
                    term = padded[:, i : i + d, j : j + h, k : k + w] * self.kernel[i, j, k, 0]
                    total = term if total is None else total + term
        return total


def _shift(x: Any, steps: int) -> Any:
    """Moves `(b, d, ...)` along the depth, zeros coming in: `out[d] = x[d - steps]`."""
    if steps == 0:
        return x
    depth = ops.shape(x)[1]
    before, after = max(steps, 0), max(-steps, 0)
    padded = ops.pad(x, [[0, 0], [before, after], [0, 0], [0, 0], [0, 0]])
    return padded[:, after : after + depth]


def _accelerated() -> bool:
    return any("cpu" not in device.lower() for device in keras.distribution.list_devices())
