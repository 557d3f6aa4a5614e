"""Which mask belongs to which picture, and which pictures show the same patient."""

import glob
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class PairingError(ValueError):
    """Pictures and masks that do not fit together; the message is one line and names the files."""


def natural_order(path: str | os.PathLike[str]) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts `slice_9` before `slice_10`, by file name first."""
    parts = re.split(r"(\d+)", pathlib.Path(path).name)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


def list_pictures(files: Files, *, key: str) -> list[pathlib.Path]:
    """Picture files of a folder, a pattern such as `/data/*_1stHO.png`, or a list.

    Folders and patterns come in natural order and without hidden files; a list keeps its own order.

    Args:
        files: What the user gave.
        key: The configuration key it stood under, for messages.

    Raises:
        PairingError: The folder or a file does not exist, or there is no picture.
    """
    if not isinstance(files, str | os.PathLike):
        return _existing([pathlib.Path(file) for file in files], key)
    text = os.fspath(files)
    if is_pattern(text):
        found = [pathlib.Path(name) for name in glob.glob(text)]  # noqa: PTH207 (the pattern holds its own folder)
    elif pathlib.Path(text).is_dir():
        found = list(pathlib.Path(text).iterdir())
    elif pathlib.Path(text).is_file():
        return [pathlib.Path(text)]
    else:
        raise PairingError(f"{key}={text} does not exist: give a folder, a pattern with *, or a list of files.")
    pictures = [file for file in found if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    if not pictures:
        raise PairingError(f"{key}={text} holds no picture: expected files ending in {', '.join(SUFFIXES)}.")
    return sorted(pictures, key=natural_order)


def is_pattern(text: str) -> bool:
    """Whether a path is a pattern with `*` or `?` (and not a folder that is really called so)."""
    return any(sign in text for sign in "*?") and not pathlib.Path(text).exists()


def pair_files(
    images: Files, masks: Files, *, mask_suffix: str | None = None
) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Every picture with its mask.

    Two lists are paired in order. Otherwise by name without ending: the mask is called like the picture, or like the
    picture with the first `image` replaced by `mask` (`image_28_3.png` and `mask_28_3.png`), each followed by
    `mask_suffix`.

    Args:
        images: Folder, pattern or list.
        masks: Folder, pattern or list.
        mask_suffix: What mask names end in, such as `"_1stHO"`; `None` takes it from a pattern (`*_1stHO.png`), else
            nothing.

    Raises:
        PairingError: A picture without mask or with two, a mask without picture, lists of different lengths.
    """
    pictures = list_pictures(images, key="IMAGES_PATH")
    found = list_pictures(masks, key="MASK_PATH")
    if not isinstance(images, str | os.PathLike) and not isinstance(masks, str | os.PathLike):
        if len(pictures) != len(found):
            raise PairingError(
                f"IMAGES_PATH lists {len(pictures)} files and MASK_PATH {len(found)}: list them in the same order."
            )
        return list(zip(pictures, found, strict=True))
    suffix = pattern_suffix(masks) if mask_suffix is None else mask_suffix
    by_stem = _by_stem(found, suffix)
    pairs = [(picture, _partner(picture, by_stem)) for picture in pictures]
    _check_complete(pairs, found)
    return [(picture, mask) for picture, mask in pairs if mask is not None]


def pattern_suffix(files: Files) -> str:
    """What stands after the last `*` of a pattern, without the ending; empty for anything else."""
    if isinstance(files, str | os.PathLike) and is_pattern(os.fspath(files)):
        return pathlib.PurePath(os.fspath(files)).stem.rpartition("*")[2]
    return ""


def patients_of(paths: Iterable[pathlib.Path], pattern: str | None) -> list[str]:
    """The patient each file shows: group 1 of a regular expression found in its name; without one, the name itself.

    Raises:
        PairingError: The expression is not valid, has no group, or does not match a file.
    """
    if pattern is None:
        return [path.stem for path in paths]
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise PairingError(f"PATIENT_PATTERN={pattern} is no regular expression: {error}.") from error
    if expression.groups < 1:
        raise PairingError(f"PATIENT_PATTERN={pattern} has no group: put the patient in brackets, such as (\\d+)_.")
    patients: list[str] = []
    for path in paths:
        match = expression.search(path.name)
        if match is None:
            raise PairingError(f"PATIENT_PATTERN={pattern} does not match {path.name}: widen it, or move the file.")
        patients.append(match.group(1))
    return patients


def split_by_patient(patients: Sequence[str], *, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides samples so that no patient is on both sides.

    Args:
        patients: The patient of every sample.
        share: Share of the patients, 0 to 1, on the second side; at least one patient stays on either side.
        seed: Decides which; the samples' order does not.

    Returns:
        `(first, second)`: sample numbers, ascending.

    Raises:
        PairingError: There are fewer than two patients.
    """
    unique = sorted(set(patients))
    if len(unique) < 2:
        raise PairingError(f"All samples are of one patient ({unique}): they cannot be divided into two parts.")
    count = min(max(round(share * len(unique)), 1), len(unique) - 1)
    chosen = set(np.random.default_rng(seed).permutation(unique)[:count].tolist())
    second = np.asarray([patient in chosen for patient in patients])
    return np.flatnonzero(~second), np.flatnonzero(second)


def _existing(files: list[pathlib.Path], key: str) -> list[pathlib.Path]:
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        raise PairingError(f"{key} lists {_some(missing) or 'nothing'}, which does not exist: give paths of files.")
    return files


def _by_stem(masks: Iterable[pathlib.Path], suffix: str) -> Mapping[str, list[pathlib.Path]]:
    by_stem: dict[str, list[pathlib.Path]] = {}
    for mask in masks:
        if not mask.stem.endswith(suffix):
            raise PairingError(
                f"The mask {mask.name} does not end in {suffix!r}: correct the suffix, or move the file."
            )
        by_stem.setdefault(mask.stem.removesuffix(suffix), []).append(mask)
    return by_stem


def _partner(picture: pathlib.Path, by_stem: Mapping[str, list[pathlib.Path]]) -> pathlib.Path | None:
    names = dict.fromkeys([picture.stem, picture.stem.replace("image", "mask", 1)])
    partners = [mask for name in names for mask in by_stem.get(name, []) if mask != picture]
    if len(partners) > 1:
        raise PairingError(
            f"{picture.name} has {len(partners)} masks ({_some([mask.name for mask in partners])}): keep one of them."
        )
    return partners[0] if partners else None


def _check_complete(pairs: Sequence[tuple[pathlib.Path, pathlib.Path | None]], masks: Iterable[pathlib.Path]) -> None:
    lonely = [picture.name for picture, mask in pairs if mask is None]
    if lonely:
        raise PairingError(
            f"No mask for {_some(lonely)}: a mask is called like its picture, or mask_... for image_...; for other "
            "names give a pattern such as MASK_PATH='masks/*_label.png', or two lists."
        )
    used = [mask for _, mask in pairs]
    if len(set(used)) < len(used):
        doubled = sorted({mask.name for mask in used if mask is not None and used.count(mask) > 1})
        raise PairingError(f"Several pictures share the mask {_some(doubled)}: every picture needs its own.")
    unused = [mask.name for mask in masks if mask not in set(used)]
    if unused:
        raise PairingError(f"No picture for the mask {_some(unused)}: add the picture, or move the mask away.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
