"""Which label values are which class, and where they are in a prepared case."""

import difflib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_generators.records import IGNORE, Case, ManifestError

Wanted = int | str | Sequence[int | str]


def label_lut(
    labels: Mapping[int, str], wanted: Mapping[str, Wanted] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Table from stored label values to classes.

    Args:
        labels: The manifest's label names by value, such as `{0: "background", 1: "liver", 2: "tumor"}`.
        wanted: Class name to the label values or label names it takes, in class order, such as
            `{"liver": [1, 2]}` or `{"liver": ["liver", "tumor"]}`. The class name `"ignore"` becomes 255.
            `None` takes every label of the manifest but the background, in the order of the values.

    Returns:
        `(table, names)`: `table` is uint8, `(256,)`, to be used as `table[label]`; values nobody asked for become 0,
        except that 255 stays 255 (ignored) unless it is asked for. `names[i]` is the name of class `i`;
        `names[0]` is `"background"`.

    Raises:
        ManifestError: A name the manifest does not know, a value outside 0..255, a value asked for twice, or nothing.
    """
    if wanted is None:
        wanted = {name: value for value, name in sorted(labels.items()) if value != 0}
    table = np.zeros(256, np.uint8)
    table[IGNORE] = IGNORE
    names = ["background"]
    owner: dict[int, str] = {}
    for name, chosen in wanted.items():
        if name == "background":
            continue
        target = IGNORE if name == "ignore" else len(names)
        names += [name] * (name != "ignore")
        for value in _values(name, chosen, labels):
            if value in owner:
                raise ManifestError(
                    f"DATASET.LABELS gives label {value} to {owner[value]!r} and to {name!r}: name it once."
                )
            owner[value] = name
            table[value] = target
    if len(names) == 1:
        raise ManifestError(f"DATASET.LABELS names no class; this collection has {_listed(labels)}.")
    return table, tuple(names)


def foreground_slices(root: str | os.PathLike[str], case: Case, values: Iterable[int]) -> np.ndarray:
    """Which slices of a prepared case hold at least one of the label values; bool, `(d,)`."""
    found = np.zeros(case.shape[0], bool)
    with _locations(root, case) as archive:
        for value in values:
            if f"slices_{value}" in archive:
                found[archive[f"slices_{value}"]] = True
    return found


def foreground_voxels(root: str | os.PathLike[str], case: Case, value: int) -> np.ndarray:
    """A sample of the voxels that hold a label value: int32 indices (d, h, w), `(n, 3)`; none gives `(0, 3)`."""
    with _locations(root, case) as archive:
        return archive.get(f"voxels_{value}", np.zeros((0, 3), np.int32))


def locations_path(case_id: str) -> str:
    """Where the foreground index of a case lies, relative to the collection's root."""
    return f"locations/{case_id}.npz"


def _locations(root: str | os.PathLike[str], case: Case) -> "np.lib.npyio.NpzFile":
    path = pathlib.Path(root) / locations_path(case.id)
    if not path.is_file():
        raise ManifestError(f"{path} does not exist: prepare case {case.id} with its label, or train without sampling.")
    return np.load(path)


def _values(name: str, chosen: Wanted, labels: Mapping[int, str]) -> list[int]:
    items = [chosen] if isinstance(chosen, int | str) else list(chosen)
    return [_value(name, item, labels) for item in items]


def _value(name: str, item: int | str, labels: Mapping[int, str]) -> int:
    by_name = {label: value for value, label in labels.items()}
    if isinstance(item, str) and item in by_name:
        item = by_name[item]
    if isinstance(item, str):
        close = difflib.get_close_matches(item, by_name, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ManifestError(f"DATASET.LABELS: {name!r} asks for {item!r}, this collection has {_listed(labels)}.{hint}")
    if not 0 <= item <= IGNORE:
        raise ManifestError(f"DATASET.LABELS: {name!r} asks for label {item}; stored labels are 0 to 255.")
    return item


def _listed(labels: Mapping[int, str]) -> str:
    return ", ".join(f"{value} = {name}" for value, name in sorted(labels.items()))
