"""Whether probabilities mean what they say: reliability curve and expected calibration error."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_VOXELS = 1 << 16
_SURE = 0.51  # At most one class of a voxel is above it.


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Voxels by confidence, in bins of equal width over [0, 1]; `+` joins cases.

    Attributes:
        voxels: In each bin, `(bins,)`.
        confidence: Sum of their confidences, `(bins,)`.
        right: How many of them are right, `(bins,)`.
    """

    voxels: Floats
    confidence: Floats
    right: Floats

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(self.voxels + other.voxels, self.confidence + other.confidence, self.right + other.right)

    def curve(self) -> tuple[Floats, Floats]:
        """Mean confidence and share of right voxels of each bin; NaN for empty bins."""
        filled = np.where(self.voxels > 0, self.voxels, np.nan)
        return self.confidence / filled, self.right / filled

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean over voxels of |share right - confidence| in their bin; NaN without."""
        total = self.voxels.sum()
        return float(np.abs(self.right - self.confidence).sum() / total) if total else math.nan


def reliability(
    probabilities: NDArray[Any],
    reference: NDArray[Any],
    *,
    bins: int = 15,
    ignore_label: int = 255,
    within: NDArray[np.bool_] | None = None,
) -> Reliability:
    """Sort voxels by the confidence of the decision.

    With `k > 1` classes the confidence is the largest probability and right means that its class is the reference's.
    With one sigmoid the confidence is the probability of foreground, right means foreground (label above 0).
    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, https://arxiv.org/abs/1706.04599.

    Args:
        probabilities: `(*s, k)`, in [0, 1].
        reference: Labels, `(*s,)`.
        bins: Number of bins.
        ignore_label: Voxels of this label do not count.
        within: Count only these voxels, `(*s,)`: over a whole CT the certain background hides everything else.

    Returns:
        The bins.

    Raises:
        ValueError: Shapes do not fit.
    """
    _check_shapes(probabilities, reference)
    counted = reference != ignore_label
    counted = counted if within is None else counted & within
    chosen, label = probabilities[counted], reference[counted]
    if probabilities.shape[-1] == 1:
        return _sorted(chosen[:, 0], label > 0, bins)
    return _decided(chosen, label, bins)


def class_reliability(
    probabilities: NDArray[Any], reference: NDArray[Any], *, bins: int = 15, ignore_label: int = 255
) -> tuple[list[Reliability], Reliability]:
    """`reliability` of every class by its own probability, and of the decision, from one pass.

    Several times as fast as class by class: of a voxel nearly all classes lie in the lowest bin, which is what is left
    of the voxels and of the sum of the probabilities when the others are taken away.

    Args:
        probabilities: Of exclusive classes, `(*s, k)`, k > 1, they sum to 1.
        reference: Labels, `(*s,)`.
        bins: Number of bins.
        ignore_label: Voxels of this label do not count.

    Returns:
        One entry for each class, and that of the decision.

    Raises:
        ValueError: Shapes do not fit.
    """
    _check_shapes(probabilities, reference)
    kinds = probabilities.shape[-1]
    classes, decision = np.zeros((3, kinds, bins)), Reliability(*np.zeros((3, bins)))
    rows, labels = probabilities.reshape(-1, kinds), reference.reshape(-1)
    for start in range(0, len(labels), _VOXELS):
        part, label = rows[start : start + _VOXELS], labels[start : start + _VOXELS]
        counted = label != ignore_label
        if not counted.all():
            part, label = part[counted], label[counted]
        sums, decided = _by_class(np.ascontiguousarray(part, np.float32), label, bins)
        classes += sums
        decision += decided
    return [Reliability(*classes[:, kind]) for kind in range(kinds)], decision


def _by_class(part: NDArray[np.float32], label: NDArray[Any], bins: int) -> tuple[Floats, Reliability]:
    """Voxels, confidence and right ones of every class and bin, `(3, k, bins)`, and those of the decision."""
    count, kinds = part.shape
    high = np.flatnonzero(part >= np.float32((1 - 1e-6) / bins))
    confidence = part.reshape(-1)[high].astype(np.float64)
    voxel = high // kinds
    kind = high - voxel * kinds
    right = label[voxel] == kind
    place = kind * bins + np.minimum((confidence * bins).astype(np.int64), bins - 1)
    cells = kinds * bins
    sums = np.zeros((3, kinds, bins))
    both = np.bincount(2 * place + right, minlength=2 * cells).reshape(kinds, bins, 2)
    sums[0], sums[2] = both.sum(-1), both[..., 1]
    sums[1] = np.bincount(place, confidence, cells).reshape(kinds, bins)
    sums[0, :, 0] += count - sums[0].sum(-1)
    sums[1, :, 0] += part.sum(0, dtype=np.float64) - sums[1].sum(-1)
    sums[2, :, 0] += np.bincount(label, minlength=256)[:kinds] - sums[2].sum(-1)
    sure = confidence > _SURE
    unsure = np.ones(count, bool)
    unsure[voxel[sure]] = False
    decision = _sorted(confidence[sure], right[sure], bins) + _decided(part[unsure], label[unsure], bins)
    return sums, decision


def _decided(probabilities: NDArray[Any], label: NDArray[Any], bins: int) -> Reliability:
    """Voxels by the largest of their probabilities, `(n, k)`."""
    best = probabilities.argmax(-1)
    return _sorted(np.take_along_axis(probabilities, best[:, None], -1)[:, 0], best == label, bins)


def _sorted(confidence: NDArray[Any], right: NDArray[np.bool_], bins: int) -> Reliability:
    confidence = confidence.astype(np.float64)
    place = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    both = np.bincount(2 * place + right, minlength=2 * bins).reshape(bins, 2).astype(np.float64)
    return Reliability(both.sum(-1), np.asarray(np.bincount(place, confidence, bins), np.float64), both[:, 1])


def _check_shapes(probabilities: NDArray[Any], reference: NDArray[Any]) -> None:
    if probabilities.shape[:-1] != reference.shape:
        raise ValueError(
            f"Probabilities {probabilities.shape} do not fit labels {reference.shape}: they are (*s, k) and (*s,)."
        )
