"""How much of every class was predicted: a table over all predicted cases."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imaging import Volume
from reports.label_files import write_label_files
from reports.tables import write_csv, write_json

CSV, JSON = "statistics.csv", "statistics.json"


def class_volumes(
    label: Volume, names: Mapping[int, str], *, regions: Mapping[str, Sequence[int]] | None = None
) -> dict[str, dict[str, float]]:
    """Voxels and millilitres of every class and region.

    Args:
        label: Class values; without geometry (a picture) there are no millilitres.
        names: Class value to name; the background 0 is left out.
        regions: Name to class values, where regions overlap; a region called like a class stands for it.

    Returns:
        Name to `voxels` and `ml`.
    """
    counts = np.bincount(label.array.reshape(-1), minlength=max(names, default=0) + 1)
    sets: dict[str, Sequence[int]] = {name: (value,) for value, name in names.items() if value != 0}
    found: dict[str, dict[str, float]] = {}
    for name, values in {**sets, **(regions or {})}.items():
        voxels = int(counts[list(values)].sum())
        found[name] = {"voxels": voxels}
        if label.has_geometry:
            found[name]["ml"] = voxels * math.prod(label.spacing_mm) / 1000
    return found


def write_volumes(
    folder: pathlib.Path, cases: Mapping[str, Mapping[str, Mapping[str, float]]], *, names: Mapping[int, str]
) -> None:
    """Writes `statistics.csv` (a row per case and class), `statistics.json`, and the label colours for viewers.

    Args:
        folder: Made if missing.
        cases: Case to what `class_volumes` says of it.
        names: Class value to name.
    """
    rows: list[dict[str, Any]] = [
        {"case": case, "label": label, **values} for case, classes in cases.items() for label, values in classes.items()
    ]
    write_csv(folder / CSV, rows)
    write_json(folder / JSON, cases)
    write_label_files(folder, names)
