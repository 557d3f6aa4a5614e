"""DICOM headers: which files are images, which belong together, which series is meant."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from imaging.errors import ImageError, reading
from imaging.paths import natural_key

_LOG = logging.getLogger(__name__)
DAMAGED = "the file is truncated or damaged: export it again from the archive or scanner"
_SUFFIXES = ("", ".dcm", ".dicom", ".ima", ".dic")


@dataclasses.dataclass(frozen=True)
class Header:
    """One DICOM image file without its pixels."""

    path: pathlib.Path
    dataset: Any


@dataclasses.dataclass(frozen=True)
class Series:
    """Files that make one volume: equal series, orientation, size and pixel spacing."""

    uid: str
    number: str
    description: str
    folder: pathlib.Path
    headers: tuple[Header, ...]

    def label(self) -> str:
        """How errors list it: `UID (number 3, "CT abdomen", 119 files in folder)`."""
        facts = [f"number {self.number}"] if self.number else []
        facts += [f'"{self.description}"'] if self.description else []
        facts.append(f"{len(self.headers)} file{'s' if len(self.headers) > 1 else ''} in {self.folder.name}")
        return f"{self.uid or 'no UID'} ({', '.join(facts)})"

    def answers_to(self, wanted: str) -> bool:
        """Whether a user means this series by a UID, a number, a description or a folder name."""
        return wanted in (self.uid, self.number, self.description, self.folder.name)


def is_dicom(path: pathlib.Path) -> bool:
    """Whether the file has the DICM mark of a DICOM file."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def dicom_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """DICOM files of a folder and the folders in it, natural order; hidden files and DICOMDIR left out.

    Files without extension, or with one usual for DICOM, must be DICOM; other files are taken where they carry the
    DICM mark.

    Raises:
        ImageError: A file that should be DICOM is not, or there is none at all.
    """
    paths = sorted(
        (path for path in folder.rglob("*") if _visible(path, folder)), key=lambda path: natural_key(str(path))
    )
    files = [path for path in paths if path.suffix.lower() in _SUFFIXES or path.suffix[1:].isdigit() or is_dicom(path)]
    if not files:
        raise ImageError(f"{folder}: holds no DICOM file: give the folder of one series.")
    return files


def read_header(path: pathlib.Path) -> Header:
    """Header of one image file.

    Raises:
        ImageError: Not DICOM, damaged, or an object without pixels (named by its kind).
    """
    import pydicom

    with reading(path, remedy=DAMAGED):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        marked = is_dicom(path)
        if "Rows" in dataset and "Columns" in dataset:
            return Header(path, dataset)
        if not marked and "SOPClassUID" not in dataset:
            raise ImageError(f"{path}: is not a DICOM image: remove it from the folder, or give another file.")
        raise ImageError(f"{path}: is {kind(dataset)} without pixels: {_instead(dataset)}.")


def kind(dataset: Any) -> str:
    """What the object is, e.g. `RT Structure Set Storage`; `a DICOM object` where the file does not say."""
    name = getattr(dataset.get("SOPClassUID"), "name", "")
    return str(name) if name else "a DICOM object"


def read_headers(files: Iterable[pathlib.Path]) -> list[Header]:
    """Headers of all images; objects without pixels beside images are left out with a warning.

    Raises:
        ImageError: The first problem, where no file is an image or a file is damaged.
    """
    headers: list[Header] = []
    refused: list[ImageError] = []
    for path in files:
        try:
            headers.append(read_header(path))
        except ImageError as error:
            if "without pixels" not in str(error):
                raise
            refused.append(error)
    if not headers:
        raise refused[0]
    for error in refused:
        _LOG.warning("left out of the series: %s", error)
    return headers


def one_series(source: str | os.PathLike[str], headers: Sequence[Header], *, series: str | None) -> Series:
    """The only series, or the one named.

    Raises:
        ImageError: Several series and none named, or the name fits none or several; lists them all.
    """
    groups = _group(headers)
    chosen = groups if series is None else [group for group in groups if group.answers_to(series)]
    if len(chosen) == 1:
        return chosen[0]
    listed = "; ".join(group.label() for group in groups[:12]) + ("; ..." if len(groups) > 12 else "")
    found = f"{len(groups)} series" if series is None else f"{len(chosen)} series named {series!r} among {len(groups)}"
    raise ImageError(
        f"{os.fspath(source)}: holds {found}: {listed}. Choose one with series=<UID, number, description or folder>, "
        "or give its own folder."
    )


def _group(headers: Sequence[Header]) -> list[Series]:
    groups: dict[tuple[object, ...], list[Header]] = {}
    for header in headers:
        groups.setdefault(_key(header), []).append(header)
    return [
        Series(
            uid=str(first.dataset.get("SeriesInstanceUID", "") or ""),
            number=str(first.dataset.get("SeriesNumber", "") or ""),
            description=str(first.dataset.get("SeriesDescription", "") or ""),
            folder=first.path.parent,
            headers=tuple(members),
        )
        for members in groups.values()
        for first in members[:1]
    ]


def _key(header: Header) -> tuple[object, ...]:
    dataset = header.dataset
    orientation = np.round(np.array(dataset.get("ImageOrientationPatient") or [], dtype=float), 2) + 0.0
    spacing = np.round(np.array(dataset.get("PixelSpacing") or [], dtype=float), 3)
    return (
        dataset.get("SeriesInstanceUID"),
        dataset.get("Rows"),
        dataset.get("Columns"),
        tuple(orientation.tolist()),
        tuple(spacing.tolist()),
    )


def _visible(path: pathlib.Path, folder: pathlib.Path) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
    return path.is_file() and not hidden and path.name.upper() not in ("DICOMDIR", "VERSION", "LOCKFILE", "LICENSE")


def _instead(dataset: Any) -> str:
    name = kind(dataset)
    if "Structure Set" in name:
        return "give the image series it refers to, or turn its contours into a mask first"
    if name.startswith("RT"):
        return "give the image series that was planned on"
    return "give an image series"
