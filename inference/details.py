"""What is measured of a case beside its scores, and by which rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrics.cases import class_masks
from metrics.challenges import LIVER, TUMOUR, brats_regions, lits_case
from metrics.details import Details
from metrics.lesions import match_lesions

LESION_WORDS = ("tumor", "tumour", "lesion", "nodule", "metasta", "cancer", "carcinoma", "polyp", "nucle", "stroke")
"""A class whose name holds one of them consists of lesions."""

CHALLENGES = ("lits", "brats")
_BRATS = {"necrosis": ("necro", "ncr"), "oedema": ("edema",), "enhancing": ("enhancing",)}


@dataclass(frozen=True)
class DetailRules:
    """What is measured beside the scores.

    Attributes:
        lesions: Classes or regions whose connected components are matched one by one.
        lesion_iou: Overlap from which a lesion counts as found; 0 means any.
        smallest_lesion_ml: Components below it are dropped from both masks.
        lits: Class values of liver and tumour, or None.
        sets: Sets of classes that are scored as one, beside the classes.
        calibration: Whether probabilities are compared with what is there.
    """

    lesions: tuple[str, ...] = ()
    lesion_iou: tuple[float, ...] = (0.0, 0.5)
    smallest_lesion_ml: float = 0.0
    lits: tuple[int, int] | None = None
    sets: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    calibration: bool = False

    def notes(self) -> list[str]:
        """Their policies, one sentence each."""
        found: list[str] = []
        if self.lesions:
            at_least = f", from {self.smallest_lesion_ml:g} ml on" if self.smallest_lesion_ml else ""
            found.append(
                f"Lesions of {', '.join(self.lesions)}: connected components (corners connect){at_least}, matched one "
                "to one. Without predicted components there is no precision, without lesions no recall, without both "
                "no F1, whatever the policy for empty masks."
            )
        if self.lits is not None:
            found.append("LiTS: the liver with its tumours, and the tumours; empty in both masks is not scored.")
        if self.calibration:
            found.append(
                "Calibration: voxels in the box around reference and prediction, widened by 10 mm (pixels: 10); a case "
                "where both are empty has none."
            )
        return found


def lesion_classes(wanted: Any, names: Sequence[str]) -> tuple[str, ...]:
    """The classes whose lesions are counted.

    Args:
        wanted: `"auto"`: those called like lesions; `"all"`; names; or None.
        names: Of all classes or regions.

    Raises:
        ValueError: A name that there is not.
    """
    if wanted in (None, False, "none"):
        return ()
    if wanted in ("all", True):
        return tuple(names)
    if wanted == "auto":
        return tuple(name for name in names if any(word in name.lower() for word in LESION_WORDS))
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    strange = [str(name) for name in asked if name not in names]
    if strange:
        raise ValueError(
            f"EVALUATION.LESIONS names {', '.join(strange)}: type auto, all, null, or any of {', '.join(names)}."
        )
    return tuple(asked)


def challenge_rules(wanted: str | None, names: Mapping[int, str]) -> dict[str, Any]:
    """What a challenge adds: `lits` or `sets` of `DetailRules`.

    Args:
        wanted: `"auto"`: whatever the classes allow; `"lits"`, `"brats"`; or None.
        names: Class value to name.

    Raises:
        ValueError: The classes are not those of the challenge.
    """
    if wanted is None:
        return {}
    livers = [value for value, name in names.items() if name.lower() == "liver"]
    liver, tumour = livers[0] if livers else None, _value(names, ("tumor", "tumour", "cancer", "lesion"))
    parts = {part: _value(names, words) for part, words in _BRATS.items()}
    lits = None if liver is None or tumour is None else (liver, tumour)
    brats = None if None in parts.values() else parts
    having = ", ".join(name for value, name in names.items() if value)
    if wanted == "lits" and lits is None:
        raise ValueError(
            f"EVALUATION.CHALLENGE=lits needs liver and tumour apart, the classes are {having}: type null."
        )
    if wanted == "brats" and brats is None:
        needed = ", ".join(_BRATS)
        raise ValueError(f"EVALUATION.CHALLENGE=brats needs classes {needed}, there are {having}: type null.")
    found: dict[str, Any] = {} if lits is None or wanted == "brats" else {"lits": lits}
    if brats is not None and wanted != "lits":
        sets = brats_regions(**{part: int(value or 0) for part, value in brats.items()})
        found["sets"] = {name: tuple(values) for name, values in sets.items()}
    return found


def case_details(
    reference: np.ndarray,
    prediction: np.ndarray,
    rules: DetailRules,
    *,
    spacing_mm: Sequence[float],
    classes: Mapping[str, Sequence[int]],
    ignore_label: int = 255,
) -> Details:
    """Lesions and challenge scores of a case; calibration is measured where probabilities are.

    Args:
        reference: Classes `(d, h, w)`, or the ignore label.
        prediction: Classes, likewise.
        rules: What is measured.
        spacing_mm: Of the axes.
        classes: Name to class values of everything that is scored.
        ignore_label: Voxels of it belong to no class, in neither array.
    """
    if not rules.lesions and rules.lits is None:
        return Details()
    ignored = reference == ignore_label
    if ignored.any():
        reference, prediction = (np.where(ignored, 0, array) for array in (reference, prediction))
    lesions = {
        name: match_lesions(*masks, spacing_mm=spacing_mm, smallest_ml=rules.smallest_lesion_ml)
        for name, masks in class_masks(reference, prediction, {name: classes[name] for name in rules.lesions})
    }
    if rules.lits is None:
        return Details(lesions)
    table = np.zeros(256, np.uint8)
    table[list(rules.lits)] = LIVER, TUMOUR
    return Details(lesions, lits_case(table[reference], table[prediction], spacing_mm=spacing_mm))


def _value(names: Mapping[int, str], words: Sequence[str]) -> int | None:
    """The only class whose name holds one of the words; None where there is none, or several."""
    found = [value for value, name in names.items() if value and any(word in name.lower() for word in words)]
    return found[0] if len(found) == 1 else None
