"""What a prepared collection's plan says to whoever trains on it."""

import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from data_preparation.collections.base import PreparationError
from data_preparation.planning.document import (
    CASCADE,
    FULL,
    LOW,
    NETWORK_KEYS,
    changed,
    chosen_name,
    entry_of,
    load_plan,
    planned_entries,
)
from data_preparation.planning.fingerprint import Fingerprint
from data_preparation.planning.planner import target_spacing

FINGERPRINT = "fingerprint.json"
PRESET_OF = {"unet": "default", "resenc_unet": "resenc_m", "unetplusplus": "unetplusplus"}
_log = logging.getLogger(__name__)


def planned_training(
    root: pathlib.Path, *, network: str, configuration: str | None, changes: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Patch, batch and network options for training on a prepared collection.

    A plan that was made for another of the planned networks is made anew for this one, from the fingerprint: what fits
    the memory differs. Other networks get patch and batch alone.

    Args:
        root: The prepared collection.
        network: The network's type.
        configuration: Of the plan; `None`: the one that the arrays were prepared for.
        changes: Lines to change, by their names in the plan.

    Returns:
        `configuration`, `patch`, `batch_size`, `batch_dice`, `modalities` and `options` of the network; `None` where
        the collection was prepared without a plan.

    Raises:
        PreparationError: The configuration is not planned, the arrays do not serve it, or a change names no line.
    """
    document = load_plan(root)
    if document is None:
        return None
    prepared = str(document["configuration"])
    name = chosen_name(document["configurations"], configuration or prepared)
    entry = planned = entry_of(document, name)
    _check_arrays(entry_of(document, prepared), entry, prepared, name)
    if network in PRESET_OF and entry["network"] != network:
        entry = _for_network(root, document, entry, name, network)
    entry = changed(entry, changes)
    _check_unchanged(planned, entry)
    return {
        "configuration": name,
        "patch": entry["patch"],
        "batch_size": entry["batch_size"],
        "batch_dice": entry["batch_dice"],
        "modalities": len(document["channels"]),
        "options": {key: entry[key] for key in NETWORK_KEYS if key in entry} if network in PRESET_OF else {},
    }


def _check_unchanged(planned: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key in ("spacing_mm", "normalization", "use_mask"):
        if wanted[key] != planned[key]:
            raise PreparationError(
                f"PLAN.{key.upper()}={wanted[key]} changes the prepared arrays, which have {planned[key]}: type it to "
                "prepare.py, then train."
            )


def _check_arrays(stored: Mapping[str, Any], wanted: Mapping[str, Any], prepared: str, name: str) -> None:
    """Arrays of a 3D configuration serve 2D as well where their slices have its spacing."""
    if name == prepared:
        return
    pairs = list(zip(stored["spacing_mm"], wanted["spacing_mm"], strict=True))
    fits = all(new is None or (old is not None and abs(old - new) <= 1e-3 * new) for old, new in pairs)
    if not fits or stored["normalization"] != wanted["normalization"] or stored["use_mask"] != wanted["use_mask"]:
        remedy = (
            f"DATA_PREPARATION.CONFIGURATION={CASCADE}, which prepares both resolutions."
            if name == LOW
            else f"DATA_PREPARATION.CONFIGURATION={name} and another DATASET.PREPARED_PATH."
        )
        raise PreparationError(
            f"The arrays are prepared for {prepared}, whose spacing or normalisation is not that of {name}: run "
            f"prepare.py with {remedy}"
        )


def _for_network(
    root: pathlib.Path, document: Mapping[str, Any], entry: Mapping[str, Any], name: str, network: str
) -> Mapping[str, Any]:
    path = root / FINGERPRINT
    if not path.is_file():
        _log.warning("%s is missing: the plan for %s serves %s as it is.", path, entry["network"], network)
        return entry
    measured = Fingerprint.from_dict(json.loads(path.read_text(encoding="utf-8")))
    spacing = entry["spacing_mm"]
    found = planned_entries(
        measured,
        channel_names=document["channels"],
        labels=document["labels"],
        preset=PRESET_OF[network],
        memory_gb=document["memory_gb"],
        spacing_mm=target_spacing(measured) if None in spacing else spacing,
    )
    _log.info("The plan was made for %s: patch and batch are planned anew for %s.", entry["network"], network)
    # Another network may not need a low resolution; the arrays have one all the same.
    again = found["2d" if name == "2d" else FULL]
    return {**again, "batch_dice": False} if name == LOW else again
