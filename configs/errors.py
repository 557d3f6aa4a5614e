"""The error of a configuration that cannot be used."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """Says in one line what was given, what holds and what to type."""


def suggestion(word: str, valid: Iterable[str]) -> str:
    """Names what `word` was probably meant to be.

    Args:
        word: What was typed.
        valid: What may be typed.

    Returns:
        `" Did you mean X?"`, or an empty string when nothing is near.
    """
    by_upper = {name.upper(): name for name in valid}
    near = difflib.get_close_matches(word.upper(), by_upper, n=1, cutoff=0.6)
    return f" Did you mean {by_upper[near[0]]}?" if near else ""
