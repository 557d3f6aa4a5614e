"""Published splits: JSON files that say which cases train and which validate, brought to a collection's cases.

The splits of `data_preparation/published` are known by name. `unetr_plusplus`: Synapse, ACDC, BraTS and lung as
hard-coded in https://github.com/Amshaker/unetr_plus_plus, where the validation cases are also those that are reported;
BTCV's 24 and 6, of which its authors state the numbers alone, as in MONAI's UNETR tutorial.
"""

import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data_generators.manifest import Splits
from data_preparation.collections.base import CaseSource, PreparationError
from data_preparation.collections.parts import TABLES, published_names
from data_preparation.splits import check_leaks

_SHOWN = 5
_VALIDATION = ("validation", "val", "valid")
_log = logging.getLogger(__name__)

Parts = Mapping[str, tuple[str, ...]]


def published_splits(
    said: str, cases: Sequence[CaseSource], *, folder: pathlib.Path = pathlib.Path(), collection: str = ""
) -> Splits:
    """Reads a file of splits, or one that comes with the project.

    Understood are nnU-Net's `splits_final.json` (a list of `{"train": [...], "val": [...]}`), `{"fold0": {...}, ...}`,
    a single `{"train": [...], "val": [...], "test": [...]}`, and tables of these by the collection's name: that of this
    collection, else the one that names most of the cases; `file.json#name` asks for another.

    Args:
        said: One of `published_names`, or a path, relative to `folder` or absolute; with `#name` if several are in it.
        cases: Of the collection. Ids that it does not have are left out, and said so.
        folder: What relative paths are relative to.
        collection: Its name.

    Returns:
        The folds; the official split is the first of them that has cases to train and to validate. A single split is
        the only fold.

    Raises:
        PreparationError: No such file, no split in it, or none that names these cases.
        LeakError: A patient is in two parts of a split.
    """
    name, _, wanted = said.partition("#")
    path = TABLES / f"{name}.json" if name in published_names() else folder / pathlib.Path(name).expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PreparationError(
            f"DATASET.SPLIT={said}: {path} cannot be read ({error}): type official, folds, "
            f"{', '.join(published_names())}, or a JSON file of splits."
        ) from error
    known = {case.id: case for case in cases}
    folds = _chosen(content, (wanted, collection), set(known), path)
    kept = tuple(_within(fold, known) for fold in folds)
    _report(folds, known, path)
    official = {"train": (), "validation": (), "test": (), **_first_complete(kept, path)}
    splits = Splits(official, kept, 0)
    check_leaks(splits, {case.id: case.patient for case in cases})
    return splits


def _chosen(content: Any, names: tuple[str, str], known: set[str], path: pathlib.Path) -> list[Parts]:
    """The split that was asked for, that of the collection, or the one that names most of the cases."""
    wanted, collection = names
    found = _named(content, "")
    if wanted:
        if wanted not in found:
            raise PreparationError(f"{path} has no split {wanted!r}; it has {', '.join(found) or 'none'}.")
        return found[wanted]
    scores = {name: len(known & _ids(folds)) for name, folds in found.items()}
    best = max(scores, key=lambda name: (bool(scores[name]) and name == collection, scores[name]), default=None)
    if best is None or not scores[best]:
        raise PreparationError(
            f"{path} has no split of these cases, such as {', '.join(sorted(known)[:_SHOWN])}: give the file that "
            "belongs to the collection, or type DATASET.SPLIT=folds."
        )
    return found[best]


def _named(content: Any, name: str) -> dict[str, list[Parts]]:
    """Every split of the file by its name; a file of a single one has no name."""
    if isinstance(content, list):
        return {name: [_parts(item) for item in content]}
    if not isinstance(content, Mapping):
        return {}
    if "train" in content:
        return {name: [_parts(content)]}
    folds = [value for key, value in content.items() if str(key).lower().startswith("fold")]
    if folds:
        return {name: [_parts(fold) for fold in folds]}
    return {key: folds for outer, value in content.items() for key, folds in _named(value, str(outer)).items()}


def _parts(entry: Mapping[str, Sequence[Any]]) -> Parts:
    validation = next((entry[key] for key in _VALIDATION if key in entry), ())
    test = entry.get("test", ())
    parts = {"train": entry["train"], "validation": validation, **({"test": test} if test else {})}
    return {part: tuple(str(case_id) for case_id in ids) for part, ids in parts.items()}


def _ids(folds: Sequence[Parts]) -> set[str]:
    return {case_id for fold in folds for ids in fold.values() for case_id in ids}


def _within(fold: Parts, known: Mapping[str, CaseSource]) -> Parts:
    return {part: tuple(case_id for case_id in ids if case_id in known) for part, ids in fold.items()}


def _first_complete(folds: Sequence[Parts], path: pathlib.Path) -> Parts:
    complete = [bool(fold["train"] and fold["validation"]) for fold in folds]
    for index, whole in enumerate(complete):
        if not whole:
            _log.warning("%s: fold %d has no cases here to train or to validate on.", path, index)
    return folds[complete.index(True)] if any(complete) else folds[0]


def _report(folds: Sequence[Parts], known: Mapping[str, CaseSource], path: pathlib.Path) -> None:
    named = _ids(folds)
    absent, left_out = sorted(named - set(known)), sorted(set(known) - named)
    for what, ids in (("names cases that are not here", absent), ("leaves out cases", left_out)):
        if ids:
            shown = ", ".join(ids[:_SHOWN]) + (" and so on" if len(ids) > _SHOWN else "")
            _log.warning("%s %s (%d): %s.", path, what, len(ids), shown)
