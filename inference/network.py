"""A trained network, compiled once and kept for a whole cohort."""

from collections.abc import Sequence

import keras
import numpy as np

from inference.activation import Activation, Regions, activation_for
from models.strides import total_strides


class Network:
    """Probabilities for batches, whatever the backend.

    The activation is part of the compiled graph. A batch smaller than `batch_size` is filled up with zeros and cut,
    so that one compiled function serves every call of the same spatial size.

    Args:
        model: Returns logits `(b, *s, k)`; of several outputs the first is used, and a second of rank 2 are the logits
            of an image-level classifier.
        batch_size: Samples per call of the compiled function.
        regions: Label values of each output where outputs are overlapping regions.
        name: What messages call it, for example the weights file.
    """

    def __init__(
        self, model: keras.Model, *, batch_size: int = 8, regions: Regions | None = None, name: str = ""
    ) -> None:
        logits = model.outputs[0]
        self.name = name or model.name
        self.batch_size = batch_size
        self.regions = regions
        self.spatial_shape: tuple[int | None, ...] = tuple(model.inputs[0].shape[1:-1])
        self.channels = int(model.inputs[0].shape[-1])
        self.steps = total_strides(model) if not any(self.spatial_shape) else ()
        self.outputs = int(logits.shape[-1])
        self.activation: Activation = activation_for(self.outputs, regions=regions)
        self._used: list[np.ndarray] | None = None
        layer = keras.layers.Activation(self.activation, dtype="float32", name="probabilities")
        self._model = keras.Model(model.inputs, layer(logits), name=f"{model.name}_probabilities")

    def weights(self) -> list[np.ndarray]:
        """A copy of the weights that it has now."""
        return [np.array(value) for value in self._model.get_weights()]

    def use(self, weights: list[np.ndarray]) -> None:
        """Answers with these weights from now on; nothing is done where it has them already."""
        if self._used is not weights:
            self._model.set_weights(weights)
            self._used = weights

    @property
    def rank(self) -> int:
        """Number of spatial axes of an input: 2 or 3."""
        return len(self.spatial_shape)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities `(b, *s, k)` float32, perhaps read-only, for a batch `(b, *s, c)` of any `b`.

        Raises:
            ValueError: The batch has another number of axes or channels than the network.
        """
        self._check(batch.shape)
        parts = [self._answer(batch[i : i + self.batch_size]) for i in range(0, len(batch), self.batch_size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _answer(self, batch: np.ndarray) -> np.ndarray:
        count = len(batch)
        if count < self.batch_size:
            filled = np.zeros((self.batch_size, *batch.shape[1:]), np.float32)
            filled[:count] = batch
            batch = filled
        return compute(self._model, np.asarray(batch, np.float32))[:count]

    def _check(self, shape: Sequence[int]) -> None:
        if len(shape) != self.rank + 2 or shape[-1] != self.channels:
            raise ValueError(
                f"{self.name} takes batches of {self.rank} spatial axes and {self.channels} channels, got shape "
                f"{tuple(shape)}: check INPUT.CHANNELS, INPUT.SLICES and DATASET.CHANNELS against the training run."
            )


def compute(model: keras.Model, batch: np.ndarray) -> np.ndarray:
    """`model.predict_on_batch(batch)` of a model of one output, read-only where that spares a copy of it."""
    if keras.backend.backend() != "tensorflow":
        return np.asarray(model.predict_on_batch(batch))
    model.make_predict_function()
    return np.asarray(model.predict_function([(batch,)]))  # type: ignore[misc]  # a view of the tensor


class Member:
    """One of several sets of weights of one network, such as those of a fold: built and compiled once for all.

    The weights wait in main memory and are put into the network when this member is asked after another one, so the
    device holds one set.

    Args:
        network: Shared by the members.
        weights: Of this member, as `Network.weights` gives them.
    """

    def __init__(self, network: Network, weights: list[np.ndarray]) -> None:
        self._network = network
        self._weights = weights

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities `(b, *s, k)` float32 for a batch `(b, *s, c)`."""
        self._network.use(self._weights)
        return self._network(batch)
