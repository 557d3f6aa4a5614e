"""`plan.yaml`: what was planned, readable, every line of it the user's to change.

Changes survive: beside it lies `.plan.yaml`, the plan as it was written, and whatever differs from that is the user's.
"""

import difflib
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from data_preparation.collections.base import PreparationError
from data_preparation.planning.fingerprint import Fingerprint
from data_preparation.planning.planner import Configuration, plan, target_spacing
from data_preparation.planning.topology import channels, topology
from imaging.atomic import replacing
from imaging.planned import PlannedInput

PLAN, PRISTINE = "plan.yaml", ".plan.yaml"
LOW, FULL, CASCADE = "3d_lowres", "3d_fullres", "3d_cascade_fullres"
NETWORK_KEYS = (
    "filters",
    "strides",
    "kernel_sizes",
    "convs_per_stage",
    "blocks_per_stage",
    "decoder_convs_per_stage",
)
KEYS = ("spacing_mm", "patch", "batch_size", "normalization", "use_mask", "batch_dice", *NETWORK_KEYS)
_HEADER = """\
# The plan of this collection: written by prepare.py, yours to change. Lines that you change are kept when it runs
# again; cases are prepared again where spacing or normalisation changed. PLAN.PATCH=[...] and so on say the same on
# the command line. Axes run depth, height, width; a 2d spacing of null keeps the distance of the slices.
"""


@dataclass(frozen=True)
class Wishes:
    """What the user says about the plan.

    Attributes:
        preset: A name of `PRESETS`.
        memory_gb: Memory of the device; the preset's when `None`.
        configuration: Which one the arrays are prepared for; `None`: 3d_fullres, else 2d; of a cascade both stages.
        changes: Lines of the chosen configuration, by the keys of `KEYS`.
    """

    preset: str = "default"
    memory_gb: float | None = None
    configuration: str | None = None
    changes: Mapping[str, Any] | None = None


def make_document(
    fingerprint: Fingerprint, *, collection: str, channel_names: Sequence[str], labels: int, wishes: Wishes
) -> dict[str, Any]:
    """Plans a collection, without the user's earlier changes.

    Args:
        fingerprint: Of the training cases.
        collection: Its name.
        channel_names: One per channel.
        labels: Labels with background; an ignored one counts.
        wishes: What the user says.

    Raises:
        PreparationError: The configuration is not planned, or a change names no line of the plan.
        ValueError: The preset is unknown.
    """
    changes = {str(key).lower(): value for key, value in (wishes.changes or {}).items()}
    spacing = changes.get("spacing_mm")
    if spacing is not None and (len(spacing) != 3 or any(step is not None and not step > 0 for step in spacing)):
        raise PreparationError(f"PLAN.SPACING_MM={spacing}: type three sizes in mm, depth, height and width.")
    target = target_spacing(fingerprint) if spacing is None or None in spacing else tuple(spacing)
    known: dict[str, Any] = {"channel_names": channel_names, "labels": labels, "preset": wishes.preset}
    entries = planned_entries(fingerprint, **known, memory_gb=wishes.memory_gb, spacing_mm=target)
    chosen = chosen_name(entries, wishes.configuration)
    if CASCADE in entries:
        entries[CASCADE] = {"inherits": FULL, "previous": LOW}
    if chosen == CASCADE:
        both = {name: value for name, value in changes.items() if name in ("normalization", "use_mask")}
        entries[LOW], entries[FULL] = changed(entries[LOW], both), changed(entries[FULL], changes)
    else:
        entries[chosen] = changed(entries[chosen], changes)
    return {
        "collection": collection,
        "preset": wishes.preset,
        "memory_gb": wishes.memory_gb,
        "configuration": chosen,
        "channels": [str(name) for name in channel_names],
        "labels": labels,
        "intensities": [{name: float(value) for name, value in c.items()} for c in fingerprint.intensities],
        "configurations": entries,
    }


def planned_entries(fingerprint: Fingerprint, *, spacing_mm: Sequence[float], **known: Any) -> dict[str, Any]:
    """The lines of every configuration at a target spacing.

    Args:
        fingerprint: Of the training cases.
        spacing_mm: Depth, height, width.
        known: Further arguments of `planner.plan`.
    """
    planned = plan(fingerprint, **known, spacing_mm=spacing_mm)
    if spacing_mm[0] < max(spacing_mm):
        # nnU-Net slices across the coarsest axis. Slices run along the depth here, so 2D is planned as if it were that.
        deepest = (max(spacing_mm) * (1 + 1e-6), *spacing_mm[1:])
        planned["2d"] = plan(fingerprint, **known, spacing_mm=deepest)["2d"]
    if np.median([shape[0] for shape in fingerprint.shapes_after_crop]) == 1:
        planned = {"2d": planned["2d"]}  # single slices, whatever their spacing
    return {name: configuration_entry(found) for name, found in planned.items()}


def chosen_name(entries: Mapping[str, Any], wanted: str | None) -> str:
    """The configuration that is meant: the wanted one, else 3d_fullres, else 2d.

    Raises:
        PreparationError: The wanted one is not planned; names those that are.
    """
    if wanted is None:
        return "3d_fullres" if "3d_fullres" in entries else "2d"
    if wanted not in entries:
        raise PreparationError(
            f"DATA_PREPARATION.CONFIGURATION={wanted} is not planned for this collection; type one of "
            f"{', '.join(entries)}."
        )
    return wanted


def entry_of(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The lines of a configuration of the plan, with those that it inherits.

    Raises:
        PreparationError: It is not planned.
    """
    entries = document["configurations"]
    entry = dict(entries[chosen_name(entries, name)])
    return {**entries[entry.pop("inherits")], **entry} if "inherits" in entry else entry


def changed(entry: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with lines changed; a new patch is pooled anew unless strides are given as well.

    Raises:
        PreparationError: A change names no line; suggests one.
    """
    wanted = {str(key).lower(): value for key, value in changes.items()}
    for name in wanted:
        if name not in KEYS:
            close = difflib.get_close_matches(name, KEYS, 1)
            hint = f" Did you mean PLAN.{close[0].upper()}?" if close else ""
            raise PreparationError(f"PLAN.{name.upper()} is no line of a plan.{hint} Lines: {', '.join(KEYS)}.")
    result = dict(entry)
    if "patch" in wanted and not {"strides", "kernel_sizes"} & set(wanted):
        result |= _pooled(entry, wanted["patch"])
    return result | wanted


def load_plan(root: pathlib.Path) -> dict[str, Any] | None:
    """The plan of a prepared collection, or `None` where it has none.

    Raises:
        PreparationError: The file is not YAML, or lost its configurations.
    """
    return _read(root / PLAN)


def save_plan(root: pathlib.Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the plan, with the changes that the user made to the one before; returns what now holds."""
    before, written = _read(root / PLAN), _read(root / PRISTINE)
    kept = _differences(before, written) if before is not None and written is not None else {}
    merged = _merged(document, kept)
    root.mkdir(parents=True, exist_ok=True)
    for name, content in ((PRISTINE, document), (PLAN, merged)):
        with replacing(root / name) as partial:
            partial.write_text(_HEADER + _text(content), encoding="utf-8")
    return merged


def configuration_entry(found: Configuration) -> dict[str, Any]:
    """A planned configuration as its lines in `plan.yaml`; a spacing of `None` keeps the distance of slices."""
    spacing = list(found.spacing_mm)
    options = {name: _plain(value) for name, value in found.options().items()}
    entry = {
        "network": found.network,
        "spacing_mm": spacing if len(spacing) == 3 else [None, *spacing],
        "patch": list(found.patch),
        "batch_size": int(found.batch_size),
        "normalization": list(found.normalization),
        "use_mask": list(found.use_mask),
        "batch_dice": bool(found.batch_dice),
        "median_shape": list(found.median_shape),
        **options,
    }
    return entry if found.previous is None else {**entry, "previous": found.previous}


def planned_input(document: Mapping[str, Any]) -> PlannedInput:
    """What the plan's configuration does to every image.

    Raises:
        PreparationError: A line of the plan does not serve; names it.
    """
    name = str(document["configuration"])
    entry = entry_of(document, name)
    try:
        return PlannedInput.from_dict({**entry, "intensities": document["intensities"]})
    except (KeyError, TypeError, ValueError) as error:
        raise PreparationError(
            f"{PLAN}, configuration {name}: {error} Correct the line, or delete {PLAN} and run prepare.py."
        ) from error


def _pooled(entry: Mapping[str, Any], patch: Sequence[int]) -> dict[str, Any]:
    """Strides, kernels and widths for another patch."""
    steps = list(entry["spacing_mm"])[-len(patch) :]
    found = topology([1.0 if step is None else step for step in steps], list(patch))
    if list(found.patch) != list(patch):
        raise PreparationError(f"PLAN.PATCH={list(patch)} cannot be halved often enough: type {list(found.patch)}.")
    stages = len(found.strides)
    again: dict[str, Any] = {
        "filters": channels(stages, rank=len(patch), network=entry["network"]),
        "strides": found.strides,
        "kernel_sizes": found.kernel_sizes,
    }
    for name in ("convs_per_stage", "blocks_per_stage", "decoder_convs_per_stage"):
        if name in entry:
            count = stages - (name == "decoder_convs_per_stage")
            again[name] = [*entry[name], *[entry[name][-1]] * stages][:count]
    return {name: _plain(value) for name, value in again.items()}


def _differences(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in now.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = _differences(value, old)
            found |= {name: inner} if inner else {}
        elif value != old:
            found[name] = value
    return found


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        inner = result.get(name)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        result[name] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content["configurations"], dict):
            raise TypeError("configurations is no table")
    except (yaml.YAMLError, KeyError, TypeError) as error:
        problem = " ".join(str(error).split())
        raise PreparationError(
            f"{path} cannot be read ({problem}): correct it, or delete it and run prepare.py."
        ) from error
    return content


class _Dumper(yaml.SafeDumper):
    """Mappings on lines of their own, lists in one."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def _text(content: Mapping[str, Any]) -> str:
    return yaml.dump(_plain(dict(content)), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=110)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
