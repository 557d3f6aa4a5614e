"""A loss function with its options, as the object Keras expects."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from losses.encoding import Tensor

LossFunction = Callable[..., Tensor | dict[str, Tensor]]
"""`(y_true, y_pred, **options)` to a scalar, or to named scalars that add up to the loss."""


@keras.saving.register_keras_serializable(package="losses")  # pyright: ignore[reportUntypedClassDecorator]
class SegmentationLoss(keras.losses.Loss):
    """Labels `(b, *s, 1)` and logits `(b, *s, k)` to a float32 scalar; made by `losses.build_loss`."""

    def __init__(self, function: LossFunction, options: Mapping[str, Any]):
        """Bind a loss function to its options.

        Args:
            function: A function of this package; its name is the name of the loss.
            options: Its keyword arguments, `ignore_label` and `regions` among them.
        """
        super().__init__(name=function.__name__, reduction="sum_over_batch_size", dtype="float32")
        self.function = function
        self.options = dict(options)

    @property
    def ignore_label(self) -> int:
        """Voxels of this label do not count."""
        return int(self.options["ignore_label"])

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss, a scalar."""
        value = self.function(y_true, y_pred, **self.options)
        return sum(value.values()) if isinstance(value, dict) else value

    def terms(self, y_true: Tensor, y_pred: Tensor) -> dict[str, Tensor]:
        """The summands by name, weights included: they add up to the loss. A plain loss has one, its own name."""
        value = self.function(y_true, y_pred, **self.options)
        return value if isinstance(value, dict) else {self.name: value}

    def get_config(self) -> dict[str, Any]:
        """Name and options; `from_config` builds the same loss."""
        return {"name": self.name, "options": self.options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SegmentationLoss":
        """The inverse of `get_config`."""
        from losses.registry import build_loss

        return build_loss(config["name"], **config["options"])
