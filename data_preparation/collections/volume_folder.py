"""Volumes of any naming: a CSV or JSON list, or glob patterns of images and labels.

A list names for each case `image` (or `image_0`, `image_1`, ... or, in JSON, a list) and `label`, and if it likes `id`,
`patient` and `part` (train, validation, test). MONAI's lists by part (`{"training": [...]}`) are read as well.
Of patterns the text that the asterisks stand for pairs images with labels and names the case.
"""

import csv
import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
    named_patients,
)
from data_preparation.collections.dataset_json import value_names
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.spacing import ChannelReader
from imaging.paths import stem_of, suffix_of

FORM = "list.csv, list.json, or a folder"
PARTS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
_COLUMN = re.compile(r"image(_?\d+)?|channel_?\d+")


def open_volume_folder(options: SourceOptions) -> Collection:
    """Reads the list, or finds the files of the patterns `images` and `masks`.

    Raises:
        PreparationError: Nothing is found, the list is malformed, or names are doubled; says what to type.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    found = _from_list(source) if source.is_file() else _from_patterns(source, options)
    cases, findings = _complete(found)
    if not cases:
        problems = " ".join(str(finding) for finding in findings[:3])
        raise PreparationError(
            f"{source}: no image with its label. {problems} Type DATA_PREPARATION.SOURCE=<list.csv>, or "
            "DATA_PREPARATION.IMAGES='images/*.nii.gz' DATA_PREPARATION.MASKS='labels/*.nii.gz'."
        )
    doubled = sorted({case.id for case in cases if sum(other.id == case.id for other in cases) > 1})
    if doubled:
        raise PreparationError(f"{source}: several cases are called {', '.join(doubled[:5])}: give each its own id.")
    cases = named_patients(cases, options.patient_pattern)
    labels = _labels(options.labels)
    count = len(cases[0].images)
    return Collection(
        name="volume_folder",
        labels=labels,
        channels=options.channels or tuple(f"channel {index}" for index in range(count)),
        licence="as the files",
        cases=tuple(cases),
        findings=tuple(findings),
        intensity="planned",
        read_image=ChannelReader(options.spacing_mm),
        read_label=LabelReader(labels, options.stray_labels),
    )


def _from_list(path: pathlib.Path) -> list[CaseSource]:
    """Cases of a CSV or JSON list; paths are relative to it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(json.loads(text)) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
        return [_row(path.parent, row) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PreparationError(
            f"{path} is no list of cases ({problem}): it has columns, or JSON keys, image and label."
        ) from error


def _json_rows(content: Any) -> list[Mapping[str, Any]]:
    if isinstance(content, list):
        return content
    return [{"part": part, **row} for part, rows in content.items() if part in PARTS for row in rows]


def _row(folder: pathlib.Path, row: Mapping[str, Any]) -> CaseSource:
    columns = sorted((name for name in row if _COLUMN.fullmatch(name)), key=_number)
    named = [row[name] for name in columns if row[name]]
    images = named[0] if len(named) == 1 and isinstance(named[0], list) else named
    if not images:
        raise KeyError("image")
    label, part = row.get("label") or row.get("mask") or None, row.get("part") or row.get("split") or None
    if part is not None and part not in PARTS:
        raise ValueError(f"part {part!r} is none of {', '.join(PARTS)}")
    paths = tuple(folder / str(image) for image in images)
    name = str(row.get("id") or stem_of(paths[0]))
    return CaseSource(
        name,
        str(row.get("patient") or name),
        paths,
        None if label is None else folder / str(label),
        None if part is None else PARTS[part],
    )


def _number(column: str) -> int:
    digits = re.sub(r"\D", "", column)
    return int(digits) if digits else -1


def _from_patterns(folder: pathlib.Path, options: SourceOptions) -> list[CaseSource]:
    images = [_matches(folder, pattern) for pattern in options.images or ("images/*",)]
    labels = _matches(folder, options.masks or "labels/*")
    names = dict.fromkeys(name for channel in images for name in channel)
    missing = folder / "missing"
    return [
        CaseSource(name, name, tuple(channel.get(name, missing / name) for channel in images), labels.get(name))
        for name in sorted(names)
    ]


def _matches(folder: pathlib.Path, pattern: str) -> dict[str, pathlib.Path]:
    """Files by the text that the asterisks of the pattern stand for."""
    parts = [re.escape(part) for part in pattern.replace("**/", "*/").split("*")]
    expression = re.compile("(.*)".join(parts))
    found: dict[str, pathlib.Path] = {}
    for path in sorted(folder.glob(pattern)):
        match = expression.fullmatch(path.relative_to(folder).as_posix())
        if match is None or path.name.startswith("."):
            continue
        texts = [text for text in match.groups() if text]
        texts = [text.removesuffix(suffix_of(path)) if pattern.endswith("*") else text for text in texts]
        found.setdefault("_".join(texts).replace("/", "_") or stem_of(path), path)
    return found


def _complete(cases: Iterable[CaseSource]) -> tuple[list[CaseSource], list[Finding]]:
    """Cases whose files are there, and what the others lack."""
    kept: list[CaseSource] = []
    findings: list[Finding] = []
    for case in cases:
        absent = [index for index, path in enumerate(case.images) if not path.exists()]
        if absent:
            where = next((str(path) for path in case.images if path.exists()), str(case.images[0]))
            problem = f"case {case.id} lacks channel {absent[0]} ({case.images[absent[0]].name})."
            findings.append(Finding(where, problem, "Add the file, or take the case out."))
        elif case.label is None or not case.label.exists():
            problem = f"label missing for case {case.id}."
            findings.append(Finding(str(case.images[0]), problem, "Add it, or correct DATA_PREPARATION.MASKS."))
        else:
            kept.append(case)
    return kept, findings


def _labels(wanted: Mapping[str, Any]) -> dict[int, str]:
    """Names by value, from the wanted classes: they are all that is known about the labels."""
    classes = [
        (name, tuple(int(value) for value in (values if isinstance(values, list) else [values])))
        for name, values in wanted.items()
    ]
    return {0: "background", **value_names([item for item in classes if item[1] != (0,)] or [("foreground", (1,))])}
