"""What an empty reference or an empty prediction scores."""

import math
from collections.abc import Mapping

from metrics.overlap import Counts

EMPTY_POLICIES: Mapping[str, str] = {
    "nan": (
        "Empty masks: a class empty in reference and prediction is not scored; empty in one of them, overlap scores "
        "are 0 and distances are not scored."
    ),
    "one": (
        "Empty masks: a class empty in reference and prediction scores 1 (distances 0 mm); empty in one of them, 0 "
        "(distances: the diagonal of the image)."
    ),
    "zero": (
        "Empty masks: a class empty in reference, in prediction or in both scores 0 (distances: the diagonal of "
        "the image)."
    ),
}
"""Policy to the sentence that belongs into the header of every table."""

DISTANCES = ("hd95", "hd", "assd")
_UNSCALED = ("volume_reference_ml", "volume_prediction_ml", "specificity")


def check_policy(policy: str) -> None:
    """Refuse an unknown policy.

    Raises:
        ValueError: It is none of `EMPTY_POLICIES`.
    """
    if policy not in EMPTY_POLICIES:
        raise ValueError(f"Policy {policy!r} for empty masks is not known: use one of {', '.join(EMPTY_POLICIES)}.")


def apply_policy(scores: dict[str, float], counts: Counts, *, policy: str, diagonal_mm: float) -> dict[str, float]:
    """Replace what is undefined because a mask is empty.

    Args:
        scores: As measured, NaN where undefined.
        counts: Of the class.
        policy: A key of `EMPTY_POLICIES`.
        diagonal_mm: Length of the image's diagonal, the worst distance.

    Returns:
        The same scores, filled. A relative volume difference against an empty reference stays NaN, except that two
        empty masks differ by 0 with `"one"`.
    """
    if counts.reference and counts.prediction:
        return scores
    agree = counts.reference == counts.prediction == 0
    if policy == "nan":
        return scores if agree else {name: 0.0 if name.startswith("nsd") else x for name, x in scores.items()}
    good = agree and policy == "one"
    return {
        name: value if name in _UNSCALED else _filled(name, value, good, diagonal_mm) for name, value in scores.items()
    }


def _filled(name: str, value: float, good: bool, diagonal_mm: float) -> float:
    if not math.isnan(value):
        return value
    if name == "relative_volume_difference":
        return 0.0 if good else math.nan
    if name in DISTANCES:
        return 0.0 if good else diagonal_mm
    return 1.0 if good else 0.0
