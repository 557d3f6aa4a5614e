"""The files of BraTS cases: which modality a name means, and which files make a case, in any year's folders.

2013         HG/0001/VSD.Brain.XX.O.MR_Flair/VSD.Brain.XX.O.MR_Flair.684.mha, ..., *.OT.*.mha
2015         HGG/brats_2013_pat0001_1/VSD.Brain.XX.O.MR_Flair.54512/VSD.Brain.XX.O.MR_Flair.54512.mha
2017 - 2021  BraTS2021_00000/BraTS2021_00000_flair.nii.gz, _t1, _t1ce, _t2, _seg; below HGG and LGG, or not
2022 - 2023  BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2f.nii.gz, -t1n, -t1c, -t2w, -seg
"""

import collections
import dataclasses
import difflib
import pathlib
import re
from collections.abc import Mapping, Sequence

from data_preparation.collections.base import CaseSource, Finding, PreparationError
from imaging.paths import ITK, NIFTI, natural_key, stem_of, suffix_of

MODALITIES = ("FLAIR", "T1w", "T1gd", "T2w")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "FLAIR": ("flair", "t2f"),
    "T1w": ("t1", "t1n", "t1w"),
    "T1gd": ("t1c", "t1ce", "t1gd"),
    "T2w": ("t2", "t2w"),
}
_BY_NAME = {name: modality for modality, names in _NAMES.items() for name in names}
_LABELS = {"seg": "label", "segm": "label", "ot": "label", "otmulticlass": "label"}
_VISITS = (re.compile(r"(BraTS-\w+-\d+)-\d+"), re.compile(r"((?:\w+_)?brats_(?:2013|tcia)_pat\d+)_\d+"))
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Found:
    """Complete cases, what the others lack, and whose label values they have: 2013, 2017 or 2023."""

    cases: tuple[CaseSource, ...]
    findings: tuple[Finding, ...]
    year: str


def modality_of(name: str, *, key: str) -> str:
    """The modality that a name means, as `t1ce` means T1gd.

    Raises:
        PreparationError: None; says where the name stands and suggests one.
    """
    found = _BY_NAME.get(name.lower())
    if found is None:
        close = difflib.get_close_matches(name.lower(), _BY_NAME, 1)
        hint = f" Did you mean {_BY_NAME[close[0]]}?" if close else ""
        raise PreparationError(f"{key}: {name} is no modality of BraTS.{hint} There are {', '.join(MODALITIES)}.")
    return found


def brats_cases(source: pathlib.Path, wanted: Sequence[str], *, form: str) -> Found:
    """The cases below a folder.

    Args:
        source: Holds a folder per case, at any depth.
        wanted: Modalities in order; other files of a case are not looked at.
        form: What belongs there, for messages.

    Raises:
        PreparationError: No case, a modality that no case has, or cases of different years.
    """
    files = _by_case(source)
    if not files:
        raise PreparationError(
            f"{source}: no BraTS case below it, such as <case>_flair.nii.gz with <case>_seg.nii.gz. "
            f"Type DATA_PREPARATION.SOURCE=<{form}>."
        )
    _check_wanted(source, files, wanted)
    names = _case_names(files)
    cases: list[CaseSource] = []
    findings: list[Finding] = []
    for folder in sorted(files, key=lambda path: natural_key(names[path])):
        problem = _problem(files[folder], wanted)
        if problem is not None:
            findings.append(Finding(str(folder), f"case {names[folder]} {problem}", "Complete it, or take it out."))
            continue
        images = tuple(files[folder][modality][0] for modality in wanted)
        cases.append(CaseSource(names[folder], _patient(names[folder]), images, files[folder]["label"][0]))
    if not cases:
        problems = " ".join(str(finding) for finding in findings[:_SHOWN])
        raise PreparationError(f"{source}: no complete BraTS case. {problems} Type DATA_PREPARATION.SOURCE=<{form}>.")
    return Found(tuple(cases), tuple(findings), _year(cases))


_Files = dict[pathlib.Path, dict[str, list[pathlib.Path]]]


def _by_case(source: pathlib.Path) -> _Files:
    """Files by what they show, of every case folder; a file alone in a folder of its kind belongs to the one above."""
    found: _Files = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in sorted(source.rglob("*")):
        if path.name.startswith(".") or suffix_of(path) not in (*NIFTI, *ITK) or not path.is_file():
            continue
        kind = _kind(stem_of(path))
        if kind is not None:
            own = path.parent != source and _kind(path.parent.name) == kind
            found[path.parent.parent if own else path.parent][kind].append(path)
    return found


def _kind(stem: str) -> str | None:
    """A modality, `label`, or None: by the last word of the name that says so."""
    words = [_BY_NAME.get(word) or _LABELS.get(word) for word in re.split(r"[^a-z0-9]+", stem.lower())]
    return next((word for word in reversed(words) if word is not None), None)


def _check_wanted(source: pathlib.Path, files: _Files, wanted: Sequence[str]) -> None:
    absent = [modality for modality in wanted if not any(modality in held for held in files.values())]
    if absent:
        there = [modality for modality in MODALITIES if any(modality in held for held in files.values())]
        named = ", ".join(f"{modality} ({', '.join(_NAMES[modality])})" for modality in absent)
        raise PreparationError(
            f"{source}: no case has {named}; there is {', '.join(there) or 'no modality'}. Type "
            f"DATA_PREPARATION.CHANNELS=[{','.join(there) or 'FLAIR,T1gd'}], or add the files."
        )


def _problem(held: Mapping[str, Sequence[pathlib.Path]], wanted: Sequence[str]) -> str | None:
    missing = [kind for kind in (*wanted, "label") if kind not in held]
    if missing:
        return f"lacks {', '.join(f'{kind} ({_spelt(kind)})' for kind in missing)}."
    double = next((kind for kind in (*wanted, "label") if len(held[kind]) > 1), None)
    return None if double is None else f"has {len(held[double])} files of {double}: {held[double][1].name} and others."


def _spelt(kind: str) -> str:
    return ", ".join(_NAMES[kind]) if kind in _NAMES else "seg, OT"


def _case_names(files: _Files) -> dict[pathlib.Path, str]:
    """A folder's name; with that of the folder above where several share it, as HG/0001 and LG/0001 do."""
    counts = collections.Counter(folder.name for folder in files)
    return {path: path.name if counts[path.name] == 1 else f"{path.parent.name}_{path.name}" for path in files}


def _patient(case_id: str) -> str:
    """Several visits of a patient stay together: 2015's `..._pat101_0123`, 2023's `BraTS-GLI-00005-001`."""
    return next((match[1] for match in (visit.fullmatch(case_id) for visit in _VISITS) if match), case_id)


def _year(cases: Sequence[CaseSource]) -> str:
    """Whose label values: told by the names of the label file and of the modalities."""
    years = {_year_of(case): case for case in cases}
    if len(years) > 1:
        told = "; ".join(f"{year}: {case.id}" for year, case in sorted(years.items()))
        raise PreparationError(
            f"Cases follow the names of several years, whose labels mean different things ({told}): prepare each year "
            "with its own DATASET.PREPARED_PATH."
        )
    return next(iter(years))


def _year_of(case: CaseSource) -> str:
    label = re.search(r"(-|_|^)segm?$", stem_of(case.label or "").lower())
    return "2013" if label is None else "2023" if label[1] == "-" else "2017"
