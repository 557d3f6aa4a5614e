"""The file format of a prepared collection: manifest, splits, label mapping, foreground index.

`data_preparation` writes it, everything else reads it::

    <root>/manifest.json         what the collection is and which cases it has
    <root>/splits.json           who trains, who validates, who is tested
    <root>/images/<case>.npy     (d, h, w, c) float16 or float32
    <root>/labels/<case>.npy     (d, h, w) uint8
    <root>/locations/<case>.npz  voxels_<label> (n, 3) int32, a sample; slices_<label> (m,) int32, all of them
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from data_generators.labels import Wanted, foreground_slices, foreground_voxels, label_lut, locations_path
from data_generators.records import FORMAT_VERSION, IGNORE, Case, Manifest, ManifestError, SourceFile, Splits
from imaging.atomic import replacing

_T = TypeVar("_T")

MANIFEST, SPLITS, FACTS = "manifest.json", "splits.json", "collection.json"

__all__ = [
    "FORMAT_VERSION",
    "IGNORE",
    "Case",
    "Manifest",
    "ManifestError",
    "SourceFile",
    "Splits",
    "Wanted",
    "fold_count",
    "foreground_slices",
    "foreground_voxels",
    "label_lut",
    "load_facts",
    "load_manifest",
    "load_splits",
    "locations_path",
    "save_facts",
    "save_json",
    "save_manifest",
    "save_splits",
]


def save_manifest(root: str | os.PathLike[str], manifest: Manifest) -> pathlib.Path:
    """Writes `<root>/manifest.json` in one step: a reader sees the old file or the new one."""
    return save_json(pathlib.Path(root) / MANIFEST, manifest.to_dict())


def load_manifest(root: str | os.PathLike[str]) -> Manifest:
    """Reads and checks `<root>/manifest.json`.

    Raises:
        ManifestError: No manifest, not JSON, another format version, doubled ids, or files it names are missing.
    """
    path = pathlib.Path(root) / MANIFEST
    entry = _load_json(path)
    if entry.get("version") != FORMAT_VERSION:
        raise ManifestError(
            f"{path} has format version {entry.get('version')}, this program reads {FORMAT_VERSION}: prepare it again."
        )
    manifest = _parsed(path, entry, Manifest.from_dict)
    _check_files(pathlib.Path(root), manifest)
    return manifest


def save_facts(root: pathlib.Path, run: pathlib.Path) -> pathlib.Path:
    """Writes what the collection is, without its cases, to `<run>/collection.json`: prediction needs no more of it."""
    manifest = dataclasses.replace(load_manifest(root), cases=())
    return save_json(run / FACTS, manifest.to_dict())


def load_facts(run: pathlib.Path) -> Manifest | None:
    """What `save_facts` wrote, a manifest without cases; None where a run has none. Raises `ManifestError`."""
    path = run / FACTS
    return _parsed(path, _load_json(path), Manifest.from_dict) if path.is_file() else None


def save_splits(root: str | os.PathLike[str], splits: Splits) -> pathlib.Path:
    """Writes `<root>/splits.json` in one step."""
    return save_json(pathlib.Path(root) / SPLITS, splits.to_dict())


def load_splits(root: str | os.PathLike[str]) -> Splits:
    """Reads `<root>/splits.json`; `ManifestError` where it is missing or damaged."""
    path = pathlib.Path(root) / SPLITS
    return _parsed(path, _load_json(path), Splits.from_dict)


def fold_count(root: pathlib.Path | None) -> int:
    """Folds of a prepared collection; five where it is not at hand."""
    return 5 if root is None else len(load_splits(root).folds)


def save_json(path: pathlib.Path, content: Mapping[str, Any]) -> pathlib.Path:
    """Writes JSON beside `path` and moves it there in one step."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _load_json(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise ManifestError(
            f"{path} does not exist: {path.parent} is not a prepared collection. Run prepare.py, or set "
            "DATASET.PREPARED_PATH to the folder it wrote."
        )
    try:
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON ({error}): prepare the collection again.") from error


def _parsed(path: pathlib.Path, entry: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], _T]) -> _T:
    try:
        return parse(entry)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(
            f"{path} is damaged ({type(error).__name__}: {error}): prepare the collection again."
        ) from error


def _check_files(root: pathlib.Path, manifest: Manifest) -> None:
    ids = [case.id for case in manifest.cases]
    doubled = sorted({case_id for case_id in ids if ids.count(case_id) > 1}) if len(set(ids)) < len(ids) else []
    if doubled:
        raise ManifestError(f"{root / MANIFEST} has cases twice: {', '.join(doubled)}. Prepare the collection again.")
    named = [path for case in manifest.cases for path in (case.image, case.label) if path is not None]
    missing = [path for path in named if not (root / path).is_file()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ManifestError(f"{root} lacks {', '.join(missing[:5])}{more}: run prepare.py again, it redoes only these.")
