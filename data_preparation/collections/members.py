"""Files of a collection as published: plain, or inside zip and tar archives (one inside the other), or gzipped.

Archives stay packed. A member is found again by its name in the same archive, so that a case can be read later from
the archive's path and the case's name alone.
"""

import functools
import gzip
import io
import pathlib
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from imaging import ImageError, Volume
from imaging.paths import natural_key
from imaging.pictures import read_picture

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_DEEPEST = 2  # an archive inside an archive


@dataclass(frozen=True)
class Member:
    """A file on disk (`inside` is empty), or where it lies inside an archive: one name, or two for nested archives."""

    file: pathlib.Path
    inside: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's own name, without `.gz`."""
        own = self.inside[-1] if self.inside else self.file.name
        return pathlib.PurePath(own).name.removesuffix(".gz")

    @property
    def path(self) -> str:
        """The whole path with forward slashes, for patterns on folders."""
        return "/".join([self.file.as_posix(), *self.inside])

    def read(self) -> bytes:
        """The content.

        Raises:
            ImageError: The archive or the file is damaged.
        """
        try:
            data = self.file.read_bytes() if not self.inside else _member(self.file.read_bytes(), self.inside)
            own = self.inside[-1] if self.inside else self.file.name
            return gzip.decompress(data) if own.endswith(".gz") else data
        except (OSError, KeyError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise ImageError(f"{self.path}: is damaged ({error}): copy or download it again.") from error


def read_member(member: Member, *, indices: bool = False) -> Volume:
    """The picture of a member, `(1, h, w[, c])`; its source is the member's path.

    Raises:
        ImageError: It is damaged or no picture.
    """
    with tempfile.TemporaryDirectory(prefix="collection-") as folder:
        path = pathlib.Path(folder) / member.name
        path.write_bytes(member.read())
        try:
            volume = read_picture(path, indices=indices)
        except ImageError as error:
            raise ImageError(str(error).replace(str(path), member.path)) from error
    return Volume(volume.array, volume.affine, source=member.path, has_geometry=False)


def members_below(source: pathlib.Path) -> list[Member]:
    """Every file of a folder to its bottom, and of the archives in it; or of one archive. Natural order."""
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    found: list[Member] = []
    for path in files:
        if path.name.startswith("."):
            continue
        stamp = path.stat()
        found += _listed(path, stamp.st_mtime_ns) if _is_archive(path.name) else [Member(path)]
    return sorted(found, key=lambda member: natural_key(member.path))


def members_beside(place: pathlib.Path) -> list[Member]:
    """Files and archives in a file's folder; unless it is an archive, also files of the folders beside that one."""
    beside = [path for path in place.parent.iterdir() if path.is_file()]
    if not _is_archive(place.name):
        beside += [path for path in place.parent.parent.glob("*/*") if path.is_file() and not _is_archive(path.name)]
    return [member for path in dict.fromkeys(beside) for member in members_below(path)]


@functools.lru_cache(maxsize=64)
def _listed(archive: pathlib.Path, _changed: int) -> tuple[Member, ...]:
    """Files of an archive; cached while the file does not change."""
    try:
        return tuple(Member(archive, inside) for inside in _names(archive.read_bytes(), 1))
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ImageError(f"{archive}: is damaged ({error}): copy or download it again.") from error


def _names(data: bytes, depth: int) -> Iterator[tuple[str, ...]]:
    for name in _list(data):
        own = pathlib.PurePath(name).name
        if own.startswith(".") or "__MACOSX" in name:
            continue
        if _is_archive(own) and depth < _DEEPEST:
            for deeper in _names(_member(data, (name,)), depth + 1):
                yield (name, *deeper)
        else:
            yield (name,)


def _list(data: bytes) -> list[str]:
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [entry.name for entry in archive.getmembers() if entry.isfile()]


def _member(data: bytes, inside: tuple[str, ...]) -> bytes:
    first, *rest = inside
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            content = archive.read(first)
    else:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            stream = archive.extractfile(first)
            content = b"" if stream is None else stream.read()
    return _member(content, tuple(rest)) if rest else content


def _is_archive(name: str) -> bool:
    return name.lower().endswith(_ARCHIVES)
