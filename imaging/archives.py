"""Archives of a DICOM series: zip and tar, unpacked to a temporary folder for the time of reading."""

import contextlib
import pathlib
import tarfile
import tempfile
import zipfile
from collections.abc import Generator

from imaging.errors import ImageError, reading


@contextlib.contextmanager
def unpacked(path: pathlib.Path) -> Generator[pathlib.Path, None, None]:
    """Gives a temporary folder with the archive's content, removed when the block ends.

    Members that would land outside the folder are refused.

    Raises:
        ImageError: Damaged archive, or such a member.
    """
    with tempfile.TemporaryDirectory(prefix="imaging-") as name:
        folder = pathlib.Path(name) / path.name.split(".")[0]
        folder.mkdir()
        with reading(path, remedy="the archive is truncated or damaged: copy or download it again"):
            try:
                _unpack(path, folder)
            except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
                raise OSError(str(error)) from error
        yield folder


def _unpack(path: pathlib.Path, folder: pathlib.Path) -> None:
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"  # Not zipfile.is_zipfile: a tar that ends with a zip looks like one to it.
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            _refuse(path, [name for name in archive.namelist() if not _inside(folder, name)])
            archive.extractall(folder)
        return
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        plain = [(member.isfile() or member.isdir()) and _inside(folder, member.name) for member in members]
        _refuse(path, [member.name for member, kept in zip(members, plain, strict=True) if not kept])
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, members, filter="data")
        else:  # before Python 3.11.4; what the filter is for is checked above
            archive.extractall(folder, members)


def _refuse(path: pathlib.Path, outside: list[str]) -> None:
    if outside:
        raise ImageError(f"{path}: wants to write outside its folder ({outside[0]}): do not trust this archive.")


def _inside(folder: pathlib.Path, member: str) -> bool:
    return (folder / member).resolve().is_relative_to(folder.resolve())
