"""Dice over everything seen since the last reset: a confusion sum, never a mean of batches."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

_BASE = 4096.0


@keras.saving.register_keras_serializable(package="metrics")  # pyright: ignore[reportUntypedClassDecorator]
class StreamingDice(keras.metrics.Metric):
    """Per-class Dice `2 |P and R| / (|P| + |R|)` from voxel counts summed over all batches, foreground only.

    The decision is the network's: arg max of `k > 1` logits, logit above 0 for one sigmoid (reference: any label
    above 0) and for each region. Counts are exact: float32 alone loses single voxels above 2^24, so every count is
    kept in two float32 limbs of base 4096, exact to 2^36 voxels for each class on every device and backend.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_label: int = 255,
        regions: Sequence[Sequence[int]] | None = None,
        class_names: Sequence[str] | None = None,
        name: str = "dice",
    ):
        """Make the counters.

        Args:
            num_classes: Channels of the logits, the background of a softmax included.
            ignore_label: Voxels of this label do not count.
            regions: Label values of each channel, where channels are overlapping regions.
            class_names: Names of what is scored: the foreground classes, the single class, or the regions.
            name: Name of the metric.

        Raises:
            ValueError: Another number of regions or names than the channels need.
        """
        super().__init__(name=name, dtype="float32")
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.regions = None if regions is None else [list(region) for region in regions]
        self.exclusive = regions is None and num_classes > 1
        scored = num_classes - 1 if self.exclusive else num_classes
        if regions is not None and len(regions) != num_classes:
            raise ValueError(f"{len(regions)} regions are declared for {num_classes} channels; give one for each.")
        names = list(class_names) if class_names is not None else [f"class_{i + 1}" for i in range(scored)]
        if len(names) != scored:
            raise ValueError(f"{len(names)} class names {names} are given, but {scored} classes are scored.")
        self.class_names = names
        # Rows: intersection, prediction, reference. Columns: low and high limb. Keras takes the default float, not the
        # dtype of the metric, unless it is given here.
        self.counts = self.add_variable((3, scored, 2), initializer="zeros", dtype="float32", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Args:
            y_true: Labels, `(b, *s, 1)`.
            y_pred: Logits, `(b, *s, k)`; of several outputs the first one counts.
            sample_weight: Not supported.

        Raises:
            ValueError: A sample weight was given.
        """
        if sample_weight is not None:
            raise ValueError("StreamingDice counts voxels and takes no sample_weight; use the ignore label.")
        logits = ops.convert_to_tensor(y_pred[0] if isinstance(y_pred, list | tuple) else y_pred)
        label = ops.cast(y_true, "int32")
        counted = ops.not_equal(label, self.ignore_label)
        predicted = ops.logical_and(self._predicted(logits), counted)
        reference = ops.logical_and(self._reference(label), counted)
        both = ops.logical_and(predicted, reference)
        batch = ops.stack([_exact_count(x) for x in (both, predicted, reference)])
        self.counts.assign(_carry(self.counts + batch))

    def _predicted(self, logits: Any) -> Any:
        if not self.exclusive:
            return logits > 0
        classes = ops.arange(1, self.num_classes, dtype="int32")
        return ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32")[..., None], classes)

    def _reference(self, label: Any) -> Any:
        if self.regions is not None:
            members = [[ops.equal(label, value) for value in region] for region in self.regions]
            return ops.concatenate([ops.any(ops.concatenate(m, axis=-1), -1, keepdims=True) for m in members], axis=-1)
        if not self.exclusive:
            return label > 0
        return ops.equal(label, ops.arange(1, self.num_classes, dtype="int32"))

    def per_class(self) -> Any:
        """Dice of each scored class, NaN for a class neither seen nor predicted so far."""
        both, predicted, reference = (self.counts[i, :, 0] + _BASE * self.counts[i, :, 1] for i in range(3))
        total = predicted + reference
        return ops.where(total > 0, 2.0 * both / ops.maximum(total, 1.0), float("nan"))

    def per_class_by_name(self) -> dict[str, float]:
        """`per_class` as numbers by class name."""
        return dict(zip(self.class_names, np.asarray(self.per_class(), "float64").tolist(), strict=True))

    def result(self) -> Any:
        """Mean Dice over the classes seen or predicted so far; 0 if there was none."""
        scores = self.per_class()
        known = ops.logical_not(ops.isnan(scores))
        total = ops.sum(ops.where(known, scores, 0.0))
        return total / ops.maximum(ops.sum(ops.cast(known, "float32")), 1.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
            "regions": self.regions,
            "class_names": self.class_names,
            "name": self.name,
        }


def _exact_count(mask: Any) -> Any:
    """True voxels of `(b, *s, k)` by channel, `(k, 2)`: low and high limb, exact while every axis is at most 4096."""
    low = ops.sum(ops.cast(mask, "float32"), axis=-2)
    limbs = _carry(ops.stack([low, ops.zeros_like(low)], axis=-1))
    for _ in range(len(mask.shape) - 2):
        limbs = _carry(ops.sum(limbs, axis=0))
    return limbs


def _carry(limbs: Any) -> Any:
    """Move whole multiples of the base from the low limb to the high one."""
    low, high = limbs[..., 0], limbs[..., 1]
    carried = ops.floor(low / _BASE)
    return ops.stack([low - _BASE * carried, high + carried], axis=-1)
