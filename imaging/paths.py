"""Names of files: natural order, suffixes, what lies in a folder."""

import os
import pathlib
import re

from imaging.errors import ImageError

NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
DICOM = (".dcm", ".dicom", ".ima")
_DOUBLE = (".nii.gz", ".hdr.gz", ".img.gz", ".tar.gz", ".tar.xz", ".tar.bz2")
_LISTED = tuple(suffix for suffix in NIFTI + ITK + PICTURES + DICOM if not suffix.startswith(".img"))


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `image_2` before `image_10`; case does not matter, ties keep the spelling apart."""
    parts = re.split(r"(\d+)", text.lower())
    key = tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)
    return (*key, (-1, 0, text))


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Lower-case suffix, `.nii.gz` and `.tar.gz` as a whole; `""` without one."""
    name = pathlib.PurePath(path).name.lower()
    double = next((suffix for suffix in _DOUBLE if name.endswith(suffix)), None)
    return double or pathlib.PurePath(name).suffix


def stem_of(path: str | os.PathLike[str]) -> str:
    """File name without its suffix, `.nii.gz` taken off as a whole."""
    name = pathlib.PurePath(path).name
    suffix = suffix_of(path)
    return name[: len(name) - len(suffix)] if suffix else name


def find_images(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Image files of a folder by suffix, natural order; hidden files and the folders in it are left out.

    Raises:
        ImageError: The folder does not exist.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise ImageError(f"{root}: is not a folder: give the folder that holds the images.")
    files = (path for path in root.iterdir() if not path.name.startswith(".") and suffix_of(path) in _LISTED)
    return sorted((path for path in files if path.is_file()), key=lambda path: natural_key(path.name))
