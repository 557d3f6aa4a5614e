"""Collections by name. A new one is a module with an `open_...` function and a line in the table."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
)
from data_preparation.collections.image_folder import open_image_folder
from data_preparation.collections.ircad import open_ircad
from data_preparation.collections.lits import open_lits
from data_preparation.collections.msd import open_msd

__all__ = [
    "COLLECTIONS",
    "CaseSource",
    "Collection",
    "Finding",
    "PreparationError",
    "SourceOptions",
    "open_collection",
]


def open_phantom(options: SourceOptions) -> Collection:
    """The synthetic volumes, read exactly as LiTS is."""
    return dataclasses.replace(open_lits(options), name="phantom", licence="synthetic, free of rights")


COLLECTIONS: Mapping[str, Callable[[SourceOptions], Collection]] = {
    "lits": open_lits,
    "phantom": open_phantom,
    "ircad": open_ircad,
    "image_folder": open_image_folder,
    "msd": open_msd,
}


def open_collection(name: str, options: SourceOptions) -> Collection:
    """Finds a collection's cases on disk.

    Raises:
        PreparationError: The name is unknown, or nothing was found; says what to type.
    """
    if name not in COLLECTIONS:
        close = difflib.get_close_matches(name, COLLECTIONS, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise PreparationError(f"DATASET.COLLECTION={name} is unknown.{hint} Type one of {', '.join(COLLECTIONS)}.")
    return COLLECTIONS[name](options)
