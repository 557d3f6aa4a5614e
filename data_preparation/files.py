"""Files that appear whole or not at all, and fingerprints of source files."""

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from imaging.atomic import replacing


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a `.npy` file in one step."""
    with replacing(path) as partial, partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def save_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an uncompressed `.npz` file in one step."""
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def remove_partials(root: pathlib.Path) -> None:
    """Removes what a killed run left half-written."""
    for leftover in root.rglob(".partial-*"):
        leftover.unlink(missing_ok=True)


def content_hash(path: pathlib.Path) -> str:
    """SHA-256 of a file, or of a folder: of the names and hashes of its files in sorted order."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for item in _files(path):
        digest.update(f"{item.relative_to(path).as_posix()}\0{content_hash(item)}\n".encode())
    return digest.hexdigest()


def stamp(paths: Sequence[pathlib.Path]) -> list[Any]:
    """Path, size and time of change of every file: a quick answer to "is it still the same file?"."""
    files = [item for path in paths for item in ([path] if path.is_file() else _files(path))]
    return [[os.fspath(item), item.stat().st_size, item.stat().st_mtime_ns] for item in files]


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(item for item in folder.rglob("*") if item.is_file() and not item.name.startswith("."))
