"""LiTS 2017: `volume-N.nii[.gz]` and `segmentation-N.nii[.gz]`, in one folder or in the two training batches.

P. Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84, 2023,
https://arxiv.org/abs/1901.04056. Volumes 0 to 27 (Training Batch 1) are the test cases, 28 to 130 train.
"""

import pathlib
import re
from collections import defaultdict

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
)

LABELS = {0: "background", 1: "liver", 2: "tumor"}
LICENCE = "LiTS 2017, https://arxiv.org/abs/1901.04056: terms of the challenge (CC BY-NC-ND 4.0)"
FIRST_TRAINING_VOLUME = 28

_NAME = re.compile(r"(?P<kind>volume|segmentation)-(?P<number>\d+)\.nii(\.gz)?", re.IGNORECASE)
_Files = dict[str, dict[int, list[pathlib.Path]]]


def open_lits(options: SourceOptions) -> Collection:
    """Finds the volumes below `source`, or below the two batch folders `train` and `validation`.

    Folders are searched to the bottom; hidden files are left out.

    Raises:
        PreparationError: No folder, or no volume in it.
    """
    folders = _folders(options)
    files: _Files = {"volume": defaultdict(list), "segmentation": defaultdict(list)}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            match = _NAME.fullmatch(path.name)
            if match and path.is_file():
                files[match["kind"].lower()][int(match["number"])].append(path)
    if not files["volume"]:
        where = " and ".join(str(folder) for folder in folders)
        raise PreparationError(
            f"{where}: no volume-N.nii or volume-N.nii.gz below it. Type DATA_PREPARATION.SOURCE=<...>."
        )
    findings = _findings(files)
    cases = tuple(
        _case(number, files)
        for number in sorted(files["volume"])
        if len(files["volume"][number]) == len(files["segmentation"].get(number, ())) == 1
    )
    return Collection("lits", LABELS, ("CT",), LICENCE, cases, findings)


def _folders(options: SourceOptions) -> list[pathlib.Path]:
    if options.source is not None:
        return [existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds="folder with volume-N.nii")]
    given = [folder for folder in (options.train, options.validation) if folder is not None and folder.is_dir()]
    if not given:
        raise PreparationError(
            "No scans are given: type DATA_PREPARATION.SOURCE=<folder with volume-N.nii and segmentation-N.nii>, or "
            "DATA_PREPARATION.SCANS_TRAIN_DATA_PATH and SCANS_VAL_DATA_PATH "
            f"(now {options.train} and {options.validation}, which do not exist)."
        )
    return given


def _case(number: int, files: _Files) -> CaseSource:
    (image,), (label,) = files["volume"][number], files["segmentation"][number]
    part = "train" if number >= FIRST_TRAINING_VOLUME else "test"
    return CaseSource(f"volume-{number}", str(number), (image,), label, part)


def _findings(files: _Files) -> tuple[Finding, ...]:
    """Doubled files and missing partners, by volume number."""
    found: list[Finding] = []
    for kind, partner in (("volume", "segmentation"), ("segmentation", "volume")):
        for number, paths in sorted(files[kind].items()):
            if len(paths) > 1:
                others = ", ".join(str(path) for path in paths[1:])
                found.append(Finding(str(paths[0]), f"the same number again: {others}.", "Keep one of them."))
            if number not in files[partner]:
                what = "label missing" if kind == "volume" else "image missing"
                remedy = f"Put {partner}-{number}.nii beside it, or move this file away."
                found.append(Finding(str(paths[0]), f"{what}.", remedy))
    return tuple(found)
