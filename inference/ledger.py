"""What has been predicted already, so that a killed prediction goes on where it stopped."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from imaging.atomic import replacing


class Ledger:
    """A record of finished items, with the settings they were made with.

    An item counts as finished when its record names these settings, its input is unchanged (size and time), and every
    file it wrote is there. Other weights or settings make everything unfinished again.

    Args:
        path: JSON file, written in one step after every item.
        settings: Whatever the results depend on, as plain JSON types.
    """

    def __init__(self, path: pathlib.Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._settings = json.loads(json.dumps(settings, default=str))
        self._items: dict[str, Any] = {}
        if path.is_file():
            stored = _load(path)
            if stored.get("settings") == self._settings:
                self._items = dict(stored.get("items", {}))

    def finished(self, name: str, *source: pathlib.Path) -> bool:
        """Whether the item was finished with these settings from this input, and its files still exist."""
        record = self._items.get(name)
        return (
            record is not None
            and record["input"] == stamp(*source)
            and all((self._path.parent / file).is_file() for file in record["files"])
        )

    def facts(self, name: str) -> dict[str, Any]:
        """What was recorded of a finished item besides its files."""
        return dict(self._items[name].get("facts", {}))

    def files(self, name: str) -> list[pathlib.Path]:
        """The files that a finished item wrote."""
        return [self._path.parent / file for file in self._items[name]["files"]]

    def add(
        self,
        name: str,
        source: pathlib.Path | Sequence[pathlib.Path],
        files: Sequence[pathlib.Path],
        *,
        facts: Mapping[str, Any] | None = None,
        save: bool = True,
    ) -> None:
        """Records a finished item and the files it wrote, all below the ledger's folder.

        Args:
            name: Of the item.
            source: Its input files.
            files: What it wrote.
            facts: Anything else to remember of it, as plain JSON types.
            save: Write the ledger now; else `save` does, later.
        """
        relative = [file.relative_to(self._path.parent).as_posix() for file in files]
        inputs = [source] if isinstance(source, pathlib.Path) else source
        self._items[name] = {"input": stamp(*inputs), "files": relative}
        if facts is not None:
            self._items[name]["facts"] = dict(facts)
        if save:
            self.save()

    def save(self) -> None:
        """Writes the ledger."""
        with replacing(self._path) as partial:
            text = json.dumps({"settings": self._settings, "items": self._items}, indent=1, ensure_ascii=False)
            partial.write_text(text + "\n", encoding="utf-8")


def stamp(*paths: pathlib.Path) -> list[Any]:
    """Path, size in bytes and time of change of a file; of a folder or several, those of their files together."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if not file.is_dir()]
    path = paths[0]
    facts = [file.stat() for file in files if file.exists()]
    return [
        str(path.resolve()),
        sum(fact.st_size for fact in facts),
        max((fact.st_mtime_ns for fact in facts), default=0),
    ]


def _load(path: pathlib.Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return {}
