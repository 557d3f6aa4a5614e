"""Data Science Bowl 2018: nuclei, one folder per image with `images/<id>.png` and one `masks/*.png` per nucleus.

Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods 2019,
https://bbbc.broadinstitute.org/BBBC038. The nuclei of an image become one class; RGBA images lose their alpha. There is
no official split with labels: validation and folds are drawn.
"""

import pathlib

import numpy as np

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
)
from data_preparation.collections.members import Member, members_below, read_member
from imaging import ImageError, Volume

LABELS = {0: "background", 1: "nucleus"}
FORM = "folder of stage1_train, unpacked"
SMALLEST = 8


def open_dsb2018(options: SourceOptions) -> Collection:
    """Finds the folders `<id>/images` and `<id>/masks` at any depth below `source`.

    Raises:
        PreparationError: Nothing was given, or there is no such folder.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    if source.is_file():
        raise PreparationError(f"{source} is a file: unpack it, then type DATA_PREPARATION.SOURCE=<{FORM}>.")
    cases: list[CaseSource] = []
    findings: list[Finding] = []
    for folder in sorted(path.parent for path in source.rglob("images") if path.is_dir()):
        pictures = [path for path in sorted((folder / "images").glob("*.png")) if not path.name.startswith(".")]
        if len(pictures) != 1:
            said = f"{len(pictures)} images in images/."
            findings.append(Finding(str(folder), said, "Every image has a folder of its own."))
        elif not any((folder / "masks").glob("*.png")):
            findings.append(Finding(str(folder), "label missing.", "Put one PNG per nucleus in masks/."))
        else:
            cases.append(CaseSource(folder.name, folder.name, (pictures[0],), folder / "masks"))
    findings += [
        Finding(str(path.parent), "image missing.", "Put the image in images/, or move the folder away.")
        for path in sorted(source.rglob("masks"))
        if path.is_dir() and not (path.parent / "images").is_dir()
    ]
    if not cases and not findings:
        raise PreparationError(f"{source}: no <id>/images/<id>.png in it. Type DATA_PREPARATION.SOURCE=<{FORM}>.")
    return Collection(
        name="dsb2018",
        labels=LABELS,
        channels=("red", "green", "blue"),
        licence="Data Science Bowl 2018 (BBBC038): CC0",
        cases=tuple(cases),
        findings=tuple(findings),
        intensity="unit",
        read_image=read_nuclei,
        read_label=read_merged,
    )


def read_nuclei(case: CaseSource) -> Volume:
    """The image as RGB: grey is repeated, alpha is dropped."""
    volume = read_member(Member(case.images[0]))
    array = volume.array
    if array.ndim == 3:
        array = np.repeat(array[..., None], 3, axis=-1)
    if min(array.shape[1:3]) < SMALLEST:
        raise ImageError(f"{volume.source}: is {array.shape[1]} x {array.shape[2]} pixels, no image: leave it out.")
    return volume.with_array(array[..., :1].repeat(3, -1) if array.shape[-1] == 2 else array[..., :3])


def read_merged(case: CaseSource) -> Volume | None:
    """All nuclei of an image as 1.

    Raises:
        ImageError: The masks differ in size.
    """
    if case.label is None:
        return None
    merged: Volume | None = None
    for member in members_below(pathlib.Path(case.label)):
        mask = read_member(member, indices=True)
        grey = mask.array if mask.array.ndim == 3 else mask.array[..., :3].max(axis=-1)
        if merged is None:
            merged = mask.with_array(np.zeros(grey.shape, np.uint8))
        if grey.shape != merged.shape:
            raise ImageError(f"{mask.source}: is {grey.shape[1:]}, the first nucleus {merged.shape[1:]}: repair it.")
        merged.array[grey > 0] = 1
    return None if merged is None else Volume(merged.array, merged.affine, source=str(case.label), has_geometry=False)
