"""Whether probabilities mean what they say: reliability curve and expected calibration error."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    if probabilities.shape[:-1] != reference.shape:
        raise ValueError(
            f"Probabilities {probabilities.shape} do not fit labels {reference.shape}: they are (*s, k) and (*s,)."
        )
    counted = reference != ignore_label
    counted = counted if within is None else counted & within
    chosen, label = probabilities[counted].astype(np.float64), reference[counted]
    if probabilities.shape[-1] == 1:
        confidence, right = chosen[:, 0], label > 0
    else:
        confidence, right = chosen.max(-1), chosen.argmax(-1) == label
    place = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    sums = [
        np.bincount(place, weights, bins) for weights in (np.ones_like(confidence), confidence, right.astype(float))
    ]
    return Reliability(*(np.asarray(x, np.float64) for x in sums))
