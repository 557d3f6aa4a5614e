"""The classification-guided module of UNet 3+: one decision per image gates its segmentation.

After Huang et al., "UNet 3+", ICASSP 2020 (https://arxiv.org/abs/2004.08790). The released code multiplies logits by a
hard decision: 0 becomes sigmoid(0) = 1/2 everywhere instead of "nothing", and the classifier gets no gradient. Here
probabilities are gated, softly while training, and the class logits are an output with a loss of their own.
"""

from typing import Any, Literal

import keras
from keras import ops

from models.blocks import CONV, GLOBAL_MAX_POOL, he_normal, spatial_rank

GateTraining = Literal["soft", "hard", "none"]

_CERTAIN = 200.0  # exp(-200) is 0 in float32, and no sum of such logits overflows


@keras.saving.register_keras_serializable(package="medical_unets")
class ClassificationGate(keras.layers.Layer):
    """Multiplies the foreground probabilities of an image by the probability g that it has any foreground.

    With logits z and class logits d: g = softmax(d)[1]. One class: p = g sigmoid(z). Several: foreground p_c = g
    softmax(z)_c, background p_0 = g softmax(z)_0 + (1 - g), so that they still sum to 1. The answer is expressed as
    logits, computed in float32 from log-sigmoids: gated logits of p for one class, gated log-probabilities otherwise.
    Channel 0 counts as background; it is not meant for overlapping regions (several sigmoids).

    Args:
        threshold: At inference g becomes 1 where it reaches the threshold and 0 elsewhere; 0 exactly.
        training_gate: `soft` uses g while training; `hard` the decision, straight-through; `none` leaves the
            segmentation alone, so that only inference is gated.
        detached: Whether the segmentation loss leaves the classifier alone. Otherwise an easy way to a lower loss is
            to close the gate, and all images become empty (yingkaisha/keras-unet-collection#41); the classifier has
            its own loss to learn from.
        options: Of `keras.layers.Layer`.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        training_gate: GateTraining = "soft",
        detached: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **options})
        self.threshold = threshold
        self.training_gate = training_gate
        self.detached = detached

    def call(self, logits: Any, class_logits: Any, training: bool | None = None) -> Any:
        """Logits `(b, *s, k)` and class logits `(b, 2)` to gated logits `(b, *s, k)`."""
        logits, class_logits = ops.cast(logits, "float32"), ops.cast(class_logits, "float32")
        if training and self.training_gate == "none":
            return logits
        difference = class_logits[:, 1] - class_logits[:, 0]  # g = sigmoid(difference)
        if self.detached:
            difference = ops.stop_gradient(difference)
        if not training or self.training_gate == "hard":
            certain = ops.where(ops.sigmoid(difference) >= self.threshold, _CERTAIN, -_CERTAIN)
            difference = difference + ops.stop_gradient(certain - difference)
        difference = ops.reshape(difference, (-1, *(1,) * (len(logits.shape) - 1)))
        log_open, log_closed = ops.log_sigmoid(difference), ops.log_sigmoid(-difference)
        if logits.shape[-1] == 1:
            present = log_open + ops.log_sigmoid(logits)
            return present - _log_add(log_closed, log_open + ops.log_sigmoid(-logits))
        open_probabilities = ops.log_softmax(logits, axis=-1) + log_open
        background = _log_add(open_probabilities[..., :1], log_closed)
        return ops.concatenate([background, open_probabilities[..., 1:]], axis=-1)

    def compute_output_shape(self, logits_shape: Any, class_logits_shape: Any) -> Any:  # noqa: ARG002
        """That of the logits."""
        return logits_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "training_gate": self.training_gate,
            "detached": self.detached,
        }


def _log_add(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)); `ops.logaddexp` needs an operation that ONNX export lacks."""
    return ops.maximum(a, b) + ops.softplus(-ops.abs(a - b))


def class_logits(x: keras.KerasTensor) -> keras.KerasTensor:
    """Whether an image has any foreground, decided from the deepest features.

    Args:
        x: Features, `(b, *s, c)`; any size.

    Returns:
        Float32 logits `(b, 2)`: nothing, something. Dropout 0.5, 1-wide convolution, maximum over the image.
    """
    rank = spatial_rank(x)
    x = keras.layers.Dropout(0.5, name="class_dropout")(x)
    x = CONV[rank](2, 1, dtype="float32", kernel_initializer=he_normal(), name="class_conv")(x)
    return GLOBAL_MAX_POOL[rank](dtype="float32", name="class_logits")(x)
