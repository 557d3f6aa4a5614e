"""3D-IRCADb-01: one folder or archive per patient, with `PATIENT_DICOM` and `MASKS_DICOM/<structure>`.

IRCAD, Strasbourg, https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01/. Masks are 0 / 255, one
DICOM folder per structure; files have no extension. `liver` becomes 1, every `livertumor...` becomes 2.
"""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Generator

import numpy as np

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    PreparationError,
    SourceOptions,
    existing_folder,
)
from imaging import ImageError, Volume, natural_key, read_volume, same_grid
from imaging.archives import unpacked
from imaging.paths import ARCHIVES, stem_of, suffix_of

LABELS = {0: "background", 1: "liver", 2: "tumor"}
LICENCE = "3D-IRCADb-01, IRCAD: CC BY-NC-ND, prepared arrays are derivatives and must not be published"
PATIENT, MASKS = "PATIENT_DICOM", "MASKS_DICOM"
FORM = "folder with 3Dircadb1.1, 3Dircadb1.2, ... (folders or archives), or one of them"


def open_ircad(options: SourceOptions) -> Collection:
    """Finds the patients: `source` itself, or what lies in it.

    Archives stay packed; a patient is unpacked to a temporary folder while it is read.

    Raises:
        PreparationError: No folder, or no patient in it.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    candidates = [source] if _is_patient(source) else sorted(source.iterdir(), key=lambda path: natural_key(path.name))
    places = [path for path in candidates if _is_patient(path)]
    if not places:
        raise PreparationError(f"{source}: no {PATIENT} in it and no archive. Type DATA_PREPARATION.SOURCE=<{FORM}>.")
    cases = tuple(CaseSource(_stem(place), _number(_stem(place)), (place,), place) for place in places)
    doubled = sorted({case.id for case in cases if sum(other.id == case.id for other in cases) > 1})
    if doubled:
        raise PreparationError(
            f"{source}: {', '.join(doubled)} is there twice (folder and archive?): keep one of them."
        )
    return Collection(
        "ircad", LABELS, ("CT",), LICENCE, cases, read_image=read_patient, read_label=read_masks, threads=False
    )


def read_patient(case: CaseSource) -> Volume:
    """The patient's CT."""
    with _folder(case.images[0], PATIENT) as folder:
        return dataclasses.replace(read_volume(folder), source=str(case.images[0]))


def read_masks(case: CaseSource) -> Volume:
    """Liver and tumours of a patient in one label: uint8, 0, 1 or 2; a tumour wins over the liver.

    Raises:
        ImageError: There is no liver mask, or masks lie on different grids.
    """
    with _folder(case.images[0], MASKS) as folder:
        names = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
        if "liver" not in names:
            raise ImageError(
                f"{case.images[0]}: no {MASKS}/liver, only {', '.join(sorted(names)) or 'nothing'}: add it."
            )
        liver = read_volume(names["liver"])
        label = (liver.array > 0).astype(np.uint8)
        for name in sorted(names):
            if name.startswith(("livertumor", "livertumour")):
                tumor = read_volume(names[name])
                if not same_grid(tumor, liver):
                    raise ImageError(
                        f"{case.images[0]}: {MASKS}/{name} lies on another grid than the liver: export it again."
                    )
                label[tumor.array > 0] = 2
    return dataclasses.replace(liver, array=label, source=str(case.images[0]))


@contextlib.contextmanager
def _folder(place: pathlib.Path, name: str) -> Generator[pathlib.Path]:
    """The folder `name` of a patient, unpacked where the patient, or the folder itself, is an archive."""
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(unpacked(place)) if place.is_file() else place
        found = next((path for path in sorted(root.rglob(name)) if path.is_dir()), None)
        if found is None:
            inner = sorted(root.rglob(f"{name}.zip"))
            if not inner:
                raise ImageError(f"{place}: {name} is missing: give the patient's folder or archive as published.")
            found = stack.enter_context(unpacked(inner[0]))
            found = found / name if (found / name).is_dir() else found
        yield found


def _is_patient(path: pathlib.Path) -> bool:
    if path.is_file():
        return suffix_of(path) in ARCHIVES and not path.name.startswith(".")
    return (path / PATIENT).is_dir() or (path / f"{PATIENT}.zip").is_file()


def _stem(path: pathlib.Path) -> str:
    return stem_of(path) if path.is_file() else path.name


def _number(name: str) -> str:
    match = re.search(r"(\d+)$", name)
    return match[1] if match else name
