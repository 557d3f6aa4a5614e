"""Small things the tests of training share: a network, a loader, an objective."""

import math

import keras
import numpy as np


class Dice(keras.metrics.Metric):
    """A streaming foreground Dice of one class."""

    def __init__(self, name: str = "dice"):
        super().__init__(name=name)
        self.sums = self.add_weight(shape=(2,), initializer="zeros", name="sums")

    def update_state(self, y_true, y_pred, sample_weight=None):
        known = keras.ops.cast(y_true[..., 0] != 255, "float32")
        reference = keras.ops.cast(y_true[..., 0] == 1, "float32")
        found = keras.ops.cast(keras.ops.argmax(y_pred, -1) == 1, "float32") * known
        self.sums.assign_add(
            keras.ops.stack([2 * keras.ops.sum(reference * found), keras.ops.sum(reference) + keras.ops.sum(found)])
        )

    def result(self):
        return self.sums[0] / keras.ops.maximum(self.sums[1], 1.0)

    def per_class(self):
        return keras.ops.expand_dims(self.result(), 0)


class CrossEntropy:
    """Mean cross-entropy, as an objective."""

    def terms(self, y_true, outputs):
        logits = keras.ops.cast(outputs[0] if isinstance(outputs, list | tuple) else outputs, "float32")
        known = keras.ops.cast(y_true[..., 0] != 255, "float32")
        label = keras.ops.cast(keras.ops.where(y_true[..., 0] == 255, 0, y_true[..., 0]), "int32")
        values = keras.losses.sparse_categorical_crossentropy(label, logits, from_logits=True) * known
        per_sample = keras.ops.mean(values, axis=(1, 2))
        return {"segmentation": keras.ops.mean(per_sample), "ce": keras.ops.mean(per_sample)}


class Batches:
    """Sixteen images by default: noise, brighter where the label is 1; in a new order every epoch."""

    def __init__(self, *, batch_size: int = 4, samples: int = 16, size: int = 8, seed: int = 0, shard=(0, 1)):
        rng = np.random.default_rng(seed)
        self.labels = (rng.random((samples, size, size, 1)) > 0.6).astype(np.uint8)
        self.images = (rng.normal(size=(samples, size, size, 1)) + 2.0 * self.labels).astype(np.float32)
        self.batch_size, self.seed, self.epoch, self.shard = batch_size, seed, 0, shard

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size / self.shard[1])

    def _rows(self, index: int) -> np.ndarray:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.images))
        size = self.batch_size * self.shard[1]
        return np.array_split(order[index * size : (index + 1) * size], self.shard[1])[self.shard[0]]

    def __getitem__(self, index: int):
        rows = self._rows(index)
        return self.images[rows], self.labels[rows]

    def names(self, index: int) -> list[str]:
        return [f"case_{row}" for row in self._rows(index)]


def network(*, classes: int = 2, dropout: float = 0.0, seed: int = 1, norm: bool = False) -> keras.Model:
    """Two convolutions."""
    inputs = keras.Input((None, None, 1))
    start = keras.initializers.GlorotUniform(seed=seed)
    x = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=start, name="first")(inputs)
    if norm:
        x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Activation("relu")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=3)(x)
    x = keras.layers.Conv2D(classes, 1, kernel_initializer=start, dtype="float32", name="logits")(x)
    return keras.Model(inputs, x, name="tiny")
