"""What an augmentation recipe may say, its defaults, and words that cure where it says something else.

A recipe is a mapping from transform to options, the section `AUGMENTATION` of the configuration. A transform that is
not named is off; options that are not given are nnU-Net's (Isensee et al., Nature Methods 2021,
https://doi.org/10.1038/s41592-020-01008-z; release 2.8.1). They are carried out in the order of `TRANSFORMS`.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

AXES = ("depth", "height", "width")
Options = Mapping[str, Any]
Recipe = Mapping[str, Options]

TRANSFORMS: Mapping[str, Options] = MappingProxyType(
    {
        # DEGREES auto: nnU-Net's choice by the patch's shape (`spatial.rotation_range`). DUMMY_2D auto: rotate and
        # scale within slices where the longest side is more than three times the depth.
        "ROTATION": {"PROBABILITY": 0.2, "DEGREES": "auto", "DUMMY_2D": "auto"},
        # OF grid: the factor multiplies the sampling grid, so above 1 things shrink (nnU-Net). OF objects: it
        # multiplies things.
        "SCALING": {"PROBABILITY": 0.2, "FACTOR": (0.7, 1.4), "OF": "grid"},
        # Off in nnU-Net. Random displacements on a grid every SPACING voxels, of a standard deviation drawn from
        # VOXELS, interpolated between.
        "ELASTIC": {"PROBABILITY": 0.2, "SPACING": 24, "VOXELS": (0.0, 3.0)},
        # The standard deviation, in units of the image.
        "NOISE": {"PROBABILITY": 0.1, "SIGMA": (0.0, 0.1)},
        # In voxels, drawn per axis.
        "BLUR": {"PROBABILITY": 0.2, "PER_CHANNEL": 0.5, "SIGMA": (0.5, 1.0)},
        # Factors below and above 1 are equally likely, uniform on either side.
        "BRIGHTNESS": {"PROBABILITY": 0.15, "FACTOR": (0.75, 1.25)},
        "BRIGHTNESS_SHIFT": {"PROBABILITY": 0.5, "SHIFT": (-0.125, 0.125)},
        "CONTRAST": {"PROBABILITY": 0.15, "FACTOR": (0.75, 1.25), "CLAMP": True},
        "SATURATION": {"PROBABILITY": 0.5, "FACTOR": (0.5, 1.5)},
        "HUE": {"PROBABILITY": 0.5, "DEGREES": (-36.0, 36.0)},
        "LOW_RESOLUTION": {"PROBABILITY": 0.25, "PER_CHANNEL": 0.5, "ZOOM": (0.5, 1.0)},
        "GAMMA_INVERTED": {"PROBABILITY": 0.1, "GAMMA": (0.7, 1.5)},
        "GAMMA": {"PROBABILITY": 0.3, "GAMMA": (0.7, 1.5)},
        # Images are moved and enlarged by cubic splines (nnU-Net's first release), not linearly: slower. No options.
        "CUBIC": {},
        # Per axis. Where class names say left or right, width is left out unless LEFT_RIGHT is true.
        "FLIP": {"PROBABILITY": 0.5, "AXES": AXES, "LEFT_RIGHT": False},
        # Pictures are cut to SIZE; a cut is drawn again, up to ATTEMPTS times, until no class has more than
        # MAX_CLASS_SHARE of it. Read by the source, not by the transforms.
        "CROP": {"SIZE": None, "MAX_CLASS_SHARE": 1.0, "ATTEMPTS": 10},
    }
)
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "OF": ("grid", "objects"),
    "DUMMY_2D": ("auto", True, False),
    "LEFT_RIGHT": (True, False),
    "CLAMP": (True, False),
}
_RANGES = ("DEGREES", "FACTOR", "VOXELS", "SIGMA", "SHIFT", "ZOOM", "GAMMA")
_POSITIVE = ("FACTOR", "ZOOM", "GAMMA")
_SHARES = ("PROBABILITY", "PER_CHANNEL", "MAX_CLASS_SHARE")
_SIDES = re.compile(r"(?:^|[\W_\d])(left|right|links|rechts|sinist\w*|dext\w*|l|r|lt|rt)(?=$|[\W_\d])", re.IGNORECASE)


class AugmentationError(ValueError):
    """A recipe that cannot be followed; the message is one line with the remedy."""


def check_recipe(recipe: Mapping[str, Any] | None) -> Recipe:
    """The recipe with defaults filled in.

    Args:
        recipe: Transform to options, such as `{"FLIP": {"AXES": ["width"]}, "GAMMA": {}}`; `None` is no augmentation.

    Returns:
        Transform to all its options, in the order of `TRANSFORMS`.

    Raises:
        AugmentationError: An unknown transform or option, or a value out of its range.
    """
    given = recipe or {}
    for name in given:
        if name not in TRANSFORMS:
            raise AugmentationError(f"AUGMENTATION.{name} is no transform. {_suggestion(name, TRANSFORMS)}")
    checked: dict[str, Options] = {}
    for name, defaults in TRANSFORMS.items():
        if name in given:
            options = given[name] or {}
            if not isinstance(options, Mapping):
                raise AugmentationError(f"AUGMENTATION.{name} is {options!r}: give its options, or {{}} for the usual.")
            for key in options:
                if key not in defaults:
                    raise AugmentationError(
                        f"AUGMENTATION.{name}.{key} is no option. {_suggestion(str(key), defaults)}"
                    )
            values = {**defaults, **options}
            checked[name] = {key: _checked(f"AUGMENTATION.{name}.{key}", key, value) for key, value in values.items()}
    return checked


def names_sides(class_names: Iterable[str]) -> bool:
    """Whether some class is only of the left or only of the right side, as its name says (`left kidney`, `lung_r`)."""
    return any(_SIDES.search(name) for name in class_names)


def _checked(place: str, key: str, value: Any) -> Any:
    if key in _CHOICES:
        return _chosen(place, value, _CHOICES[key])
    if key in _SHARES:
        return _number(place, value, 0.0, 1.0)
    if key in _RANGES:
        return value if value == "auto" and key == "DEGREES" else _pair(place, key, value)
    if key in ("AXES", "SIZE"):
        return _listed(place, key, value)
    return int(_number(place, value, 1, 1e6))


def _listed(place: str, key: str, value: Any) -> tuple[Any, ...] | None:
    if value is None and key == "SIZE":
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise AugmentationError(f"{place} is {value!r}: give a list.")
    if key == "AXES":
        return tuple(_chosen(place, axis, AXES) for axis in value)
    return tuple(int(_number(place, side, 1, 1e6)) for side in value)


def _pair(place: str, key: str, value: Any) -> tuple[float, float]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise AugmentationError(f"{place} is {value!r}: give [lowest, highest].")
    ends = [_number(place, end, 1e-3 if key in _POSITIVE else -1e6, 1e6) for end in value]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise AugmentationError(f"{place} is {list(value)}: give [lowest, highest].")
    if key in ("SIGMA", "VOXELS") and ends[0] < 0:
        raise AugmentationError(f"{place} is {list(value)}: give numbers from 0 on.")
    return ends[0], ends[1]


def _number(place: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise AugmentationError(f"{place} is {value!r}: give a number from {low:g} to {high:g}.")
    return float(value)


def _chosen(place: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise AugmentationError(f"{place} is {value!r}: use {', '.join(str(choice) for choice in choices)}.")
    return value


def _suggestion(name: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.upper(), list(valid), 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"{hint}There are {', '.join(valid)}."
