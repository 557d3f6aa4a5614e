"""Overlapping regions: which classes belong to each output of a network with a sigmoid per region."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from data_generators.labels import Wanted, label_lut
from data_generators.manifest import load_manifest
from data_generators.records import IGNORE, Manifest, ManifestError

Regions = dict[str, tuple[int, ...]]
"""Name of a region to its classes, from the outermost region inwards: later ones are written over earlier ones."""


def class_regions(
    wanted: Mapping[str, Wanted] | None, *, manifest: Manifest | None, table: np.ndarray, names: Sequence[str]
) -> Regions:
    """The regions that are meant, as classes.

    Args:
        wanted: `DATASET.REGIONS`: region to stored label values, label names or class names; the order counts. None
            takes those of the collection.
        manifest: The collection, or None.
        table: From stored values to classes, see `label_lut`.
        names: Class names, background first.

    Returns:
        Region to class values in order; empty where there are no regions.

    Raises:
        ManifestError: A region holds an unknown name, or a value that is no class.
    """
    labels = {} if manifest is None else manifest.labels
    declared = {} if manifest is None else manifest.preparation.get("regions", {})
    chosen = declared if wanted is None else wanted
    by_name = {name: int(table[value]) for value, name in labels.items()}
    by_name |= {name: place for place, name in enumerate(names)}
    found: Regions = {}
    for region, given in chosen.items():
        items = [given] if isinstance(given, int | str) else list(given)
        classes = [_class(region, item, by_name, table) for item in items]
        found[str(region)] = tuple(dict.fromkeys(classes))
    return found


def collection_regions(
    root: pathlib.Path | None, *, labels: Mapping[str, Wanted] | None, wanted: Mapping[str, Wanted] | None
) -> Regions:
    """`class_regions` of a prepared collection, or of image files where `root` is None.

    Args:
        root: The prepared collection.
        labels: `DATASET.LABELS`, see `label_lut`.
        wanted: `DATASET.REGIONS`.

    Raises:
        ManifestError: As `class_regions` and `label_lut`.
    """
    manifest = None if root is None else load_manifest(root)
    table, names = label_lut({} if manifest is None else manifest.labels, labels)
    return class_regions(wanted, manifest=manifest, table=table, names=names)


def _class(region: str, item: int | str, by_name: Mapping[str, int], table: np.ndarray) -> int:
    known = by_name.get(item) if isinstance(item, str) else int(table[item]) if 0 <= item <= IGNORE else None
    if known in (None, 0, IGNORE):
        listed = ", ".join(name for name, value in by_name.items() if value not in (0, IGNORE))
        raise ManifestError(
            f"DATASET.REGIONS: {region!r} holds {item!r}, which is no class here; there are {listed or 'none'}. Type "
            "labels by name, or the values of the label files."
        )
    return int(known)  # pyright: ignore[reportArgumentType]
