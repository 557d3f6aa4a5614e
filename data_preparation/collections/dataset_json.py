"""`dataset.json` of the Medical Segmentation Decathlon and of nnU-Net, versions 1 and 2."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from data_preparation.collections.base import PreparationError

IGNORE = 255


@dataclass(frozen=True)
class DatasetJson:
    """What the file says.

    Attributes:
        path: The file.
        channels: Names in order; they pick the normalisation (`CT`).
        labels: Names by value, background and, as 255, the ignored label included.
        regions: Overlapping classes by name in the order of the file, where the file has them.
        ignored: Value that means "not annotated" in the label files.
        entry: Everything else.
    """

    path: pathlib.Path
    channels: tuple[str, ...]
    labels: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]
    ignored: int | None
    entry: Mapping[str, Any]

    @property
    def licence(self) -> str:
        """The terms that the file states."""
        return str(self.entry.get("licence") or self.entry.get("license") or "not stated in dataset.json")


def read_dataset_json(folder: pathlib.Path) -> DatasetJson:
    """Reads `<folder>/dataset.json`.

    Raises:
        PreparationError: It is missing, not JSON, or lacks channels or labels; says what belongs there.
    """
    path = folder / "dataset.json"
    if not path.is_file():
        raise PreparationError(
            f"{path} does not exist: type DATA_PREPARATION.SOURCE=<folder with dataset.json>; for files without "
            "one use dataset=volume_folder."
        )
    try:
        entry = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        named: Mapping[str, str] = entry.get("channel_names") or entry.get("modality") or {}
        channels = tuple(str(named[key]) for key in sorted(named, key=int))
        given: Mapping[str, Any] = entry.get("labels") or {}
        pairs = [(str(name), key) if key.isdigit() else (key, name) for key, name in given.items()]
        values = [(name, _values(value)) for name, value in pairs]
    except (ValueError, TypeError, AttributeError) as error:
        raise PreparationError(f"{path} cannot be read ({error}): copy or correct it.") from error
    if not channels or not any(0 in chosen for _, chosen in values):
        raise PreparationError(
            f'{path} lacks "channel_names" (or "modality") such as {{"0": "CT"}}, or "labels" with the background 0.'
        )
    ignored = next((chosen[0] for name, chosen in values if name == "ignore"), None)
    classes = [(name, chosen) for name, chosen in values if name != "ignore" and chosen != (0,)]
    regions = dict(classes) if any(len(chosen) > 1 for _, chosen in classes) else {}
    labels = {0: "background", **value_names(classes)}
    if ignored is not None:
        labels[IGNORE] = "ignore"
    return DatasetJson(path, channels, labels, regions, ignored, entry)


def _values(value: Any) -> tuple[int, ...]:
    return tuple(int(item) for item in value) if isinstance(value, list) else (int(value),)


def value_names(classes: Sequence[tuple[str, tuple[int, ...]]]) -> dict[int, str]:
    """A name for every value: that of the smallest class that holds it, with the value where the name is taken."""
    names: dict[int, str] = {}
    for value in sorted({value for _, chosen in classes for value in chosen}):
        name, chosen = min((item for item in classes if value in item[1]), key=lambda item: len(item[1]))
        names[value] = name if len(chosen) == 1 or name not in names.values() else f"{name} {value}"
    return names
