"""Cases whose channels lie in files of their own: nnU-Net's `CASE_0000`, `CASE_0001`, or a list for each case."""

import pathlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from imaging.paths import stem_of

_NUMBERED = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class ChannelFiles:
    """The files of one case.

    Attributes:
        name: Of the case, without a channel number.
        files: One per channel, or one with all of them.
        problem: What is missing or too much; empty where nothing is.
    """

    name: str
    files: tuple[pathlib.Path, ...]
    problem: str = ""


def channel_files(
    paths: Sequence[pathlib.Path | Sequence[pathlib.Path]], channels: Sequence[str]
) -> list[ChannelFiles]:
    """Joins the files of a case.

    Args:
        paths: Files in order; a sequence within is the channels of one case.
        channels: Names of the network's modalities. With one of them a number is read as such only where every file
            ends in `_0000`.

    Returns:
        Cases in the order of their first files. A file without a channel number is a case.
    """
    single = [path for path in paths if isinstance(path, pathlib.Path)]
    found = {path: _NUMBERED.fullmatch(stem_of(path)) for path in single}
    if len(channels) == 1 and not all(match and match[2] == "0000" for match in found.values()):
        found = dict.fromkeys(single)
    cases: dict[tuple[pathlib.Path, str], dict[int, pathlib.Path]] = {}
    for path, match in found.items():
        if match:
            cases.setdefault((path.parent, match[1]), {})[int(match[2])] = path
    result: list[ChannelFiles] = []
    for path in paths:
        if not isinstance(path, pathlib.Path):
            result.append(_listed_case(tuple(path), channels))
        elif (match := found[path]) is None:
            result.append(ChannelFiles(stem_of(path), (path,)))
        elif numbered := cases.pop((path.parent, match[1]), None):
            result.append(_numbered_case(match[1], numbered, channels))
    return result


def _numbered_case(name: str, files: dict[int, pathlib.Path], channels: Sequence[str]) -> ChannelFiles:
    there = tuple(files[number] for number in sorted(files))
    some = there[0].name
    missing = [f"{number} ({channel})" for number, channel in enumerate(channels) if number not in files]
    if missing:
        wanted = some.replace(f"_{min(files):04d}", f"_{int(missing[0].split()[0]):04d}", 1)
        several = "s" * (len(missing) > 1)
        problem = f"{name}: channel{several} {', '.join(missing)} missing: there is no {wanted} beside {some}."
        return ChannelFiles(name, there, problem)
    if len(files) > len(channels):
        problem = (
            f"{name}: has {len(files)} channels, the network was trained on {', '.join(channels)}: take away "
            f"{there[-1].name}, or choose the run that was trained with it."
        )
        return ChannelFiles(name, there, problem)
    return ChannelFiles(name, there)


def _listed_case(files: tuple[pathlib.Path, ...], channels: Sequence[str]) -> ChannelFiles:
    stem = stem_of(files[0])
    match = _NUMBERED.fullmatch(stem)
    name = match[1] if match and match[2] == "0000" else stem
    if len(files) in (1, len(channels)):
        return ChannelFiles(name, files)
    missing = ", ".join(channels[len(files) :])
    said = f"{missing} missing" if missing else "some too many"
    return ChannelFiles(
        name, files, f"{name}: {len(files)} files are listed for the channels {', '.join(channels)}: {said}."
    )
