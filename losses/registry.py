"""The table of losses, and what may be said to each: read from the signatures, without importing Keras."""

import ast
import difflib
import functools
import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from losses.loss import SegmentationLoss

LOSSES: Mapping[str, str] = {
    "cross_entropy": "losses.cross_entropy",
    "topk_ce": "losses.cross_entropy",
    "focal": "losses.focal",
    "soft_dice": "losses.dice",
    "squared_dice": "losses.dice",
    "tversky": "losses.tversky",
    "iou": "losses.iou",
    "ms_ssim": "losses.ms_ssim",
    "lovasz_softmax": "losses.lovasz",
    "dice_ce": "losses.composite",
    "squared_dice_ce": "losses.composite",
    "lovasz_focal": "losses.composite",
    "unet3plus_hybrid": "losses.composite",
}
"""Name of the loss -> module that holds the function of that name."""


def _one_of(*values: str) -> Callable[[Any], str | None]:
    return lambda given: None if given in values else f"must be one of {', '.join(values)}"


def _at_least_zero(given: Any) -> str | None:
    number = isinstance(given, int | float) and not isinstance(given, bool) and given >= 0
    return None if number else "must be a number of at least 0"


def _share(given: Any) -> str | None:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    return None if number and 0 < given <= 1 else "must be a number above 0 and at most 1"


_RULES: Mapping[str, Callable[[Any], str | None]] = {
    "empty": _one_of("skip", "batch", "keep"),
    "small": _one_of("fewer", "error"),
    "classes": _one_of("all", "present"),
    "smooth": _at_least_zero,
    "gamma": _at_least_zero,
    "exponent": _at_least_zero,
    "fraction": _share,
    "label_smoothing": lambda given: None if _share(given) is None or given == 0 else "must lie in [0, 1]",
}
"""What an option of this name may be, in whichever loss it occurs."""


@functools.cache
def _signatures(module: str) -> dict[str, dict[str, Any]]:
    """Keyword-only options and defaults of every function in one of this package's modules, from its source."""
    path = pathlib.Path(__file__).with_name(f"{module.rpartition('.')[2]}.py")
    functions = (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef))
    return {
        function.name: {
            argument.arg: ast.literal_eval(default)
            for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
            if default is not None
        }
        for function in functions
    }


def _suggestion(given: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(given, valid, n=1)
    return f"Did you mean {close[0]!r}? " if close else ""


def loss_options(name: str) -> dict[str, Any]:
    """Options of a loss and their defaults, without importing Keras.

    Raises:
        ValueError: There is no such loss; the message suggests one and lists all.
    """
    if name not in LOSSES:
        valid = sorted(LOSSES)
        raise ValueError(f"Loss {name!r} is not known. {_suggestion(str(name), valid)}Valid: {', '.join(valid)}.")
    return dict(_signatures(LOSSES[name])[name])


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse an unknown loss, an unknown option and a value that no loss takes, without importing Keras.

    Raises:
        ValueError: In one line: what was given, what holds, what to type.
    """
    valid = loss_options(name)
    for option, value in options.items():
        if option not in valid:
            hint = _suggestion(option, list(valid))
            raise ValueError(f"Loss {name!r} has no option {option!r}. {hint}Valid: {', '.join(valid)}.")
        complaint = _RULES[option](value) if option in _RULES else None
        if complaint:
            raise ValueError(
                f"Option {option}={value!r} of loss {name!r} {complaint}; the default is {valid[option]!r}."
            )


def build_loss(name: str, **options: Any) -> "SegmentationLoss":
    """Build a loss from its name and options.

    Args:
        name: A key of `LOSSES`.
        **options: Keyword arguments of the function of that name; `loss_options(name)` lists them.

    Returns:
        A `keras.losses.Loss`: labels `(b, *s, 1)` and logits `(b, *s, k)` to a float32 scalar.

    Raises:
        ValueError: Unknown name, unknown option or impossible value.
    """
    check_options(name, options)
    from losses.loss import SegmentationLoss

    function = getattr(importlib.import_module(LOSSES[name]), name)
    return SegmentationLoss(function, loss_options(name) | options)
