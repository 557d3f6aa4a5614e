"""Scores of all pixels of a set together, at any threshold: what papers on retinal vessels report.

Areas are pooled over the set, not averaged over images. "mDice" and "mIoU" are means of background and foreground and
flatter thin things; `dice` and `iou` are the foreground's alone.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 1000


@dataclasses.dataclass(frozen=True)
class PooledPixels:
    """Pixels by their probability of foreground, in bins `(i / BINS, (i + 1) / BINS]`; `+` joins images.

    Attributes:
        foreground: Pixels whose reference is foreground, `(BINS,)`.
        background: The others; ignored pixels are in neither.
    """

    foreground: NDArray[np.int64]
    background: NDArray[np.int64]

    @classmethod
    def of(cls, reference: NDArray[Any], probability: NDArray[Any], *, ignore_label: int = 255) -> "PooledPixels":
        """Pixels of one image.

        Args:
            reference: 0, above 0 for foreground, or `ignore_label`; `(*s,)`.
            probability: Of foreground, `(*s,)`, in [0, 1]; a mask of 0 and 1 serves as well.
            ignore_label: Pixels of this label do not count.
        """
        counted = reference != ignore_label
        place = np.clip(np.ceil(probability[counted].astype(np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)
        there = reference[counted] > 0
        return cls(np.bincount(place[there], minlength=BINS), np.bincount(place[~there], minlength=BINS))

    def __add__(self, other: "PooledPixels") -> "PooledPixels":
        return PooledPixels(self.foreground + other.foreground, self.background + other.background)

    def scores(self, threshold: float = 0.5) -> dict[str, float]:
        """Scores of the decision `probability > threshold`; NaN where a formula is 0 / 0.

        Args:
            threshold: A multiple of `1 / BINS` is exact, others are rounded to one.

        Returns:
            `dice`, `iou`, `mean_dice`, `mean_iou`, `accuracy`, `sensitivity`, `specificity`, `auc` (of the ROC curve).
        """
        first = round(threshold * BINS)
        hit, false = int(self.foreground[first:].sum()), int(self.background[first:].sum())
        miss, right = int(self.foreground[:first].sum()), int(self.background[:first].sum())
        dice, iou = _overlap(hit, false, miss)
        other_dice, other_iou = _overlap(right, miss, false)
        return {
            "dice": dice,
            "iou": iou,
            "mean_dice": (dice + other_dice) / 2,
            "mean_iou": (iou + other_iou) / 2,
            "accuracy": _ratio(hit + right, hit + right + miss + false),
            "sensitivity": _ratio(hit, hit + miss),
            "specificity": _ratio(right, right + false),
            "auc": self.auc(),
        }

    def auc(self) -> float:
        """Area under the ROC curve: how often foreground is more probable than background, ties counted half."""
        below = np.concatenate([[0], np.cumsum(self.background)[:-1]])
        pairs = float(self.foreground.sum()) * float(self.background.sum())
        won = float((self.foreground * (below + 0.5 * self.background)).sum())
        return won / pairs if pairs else math.nan

    def best_threshold(self) -> float:
        """The threshold with the highest Dice; the one nearest 0.5 where several are equal."""
        candidates = np.arange(1, BINS)
        hit, false = (np.cumsum(x[::-1])[::-1][candidates] for x in (self.foreground, self.background))
        dice = 2 * hit / np.maximum(hit + false + self.foreground.sum(), 1)
        best = candidates[dice == dice.max()]
        return float(best[np.argmin(np.abs(best - BINS // 2))]) / BINS


def pooled_sentence(scores: dict[str, float]) -> str:
    """The scores in one line."""
    names = {
        "dice": "Dice",
        "iou": "IoU",
        "mean_dice": "mDice (with background)",
        "mean_iou": "mIoU (with background)",
        "accuracy": "accuracy",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "auc": "AUC",
    }
    return ", ".join(f"{word} {scores[name]:.4f}" for name, word in names.items())


def _overlap(both: int, first: int, second: int) -> tuple[float, float]:
    """Dice and IoU, from what is in both, in the first only, in the second only."""
    return _ratio(2 * both, 2 * both + first + second), _ratio(both, both + first + second)


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan
