"""ACDC, heart MRI at end-diastole and end-systole: the challenge's NIfTI files, nnU-Net's raw form, or HDF5 volumes.

O. Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-structures Segmentation and Diagnosis, IEEE
Transactions on Medical Imaging 37, 2018, https://www.creatis.insa-lyon.fr/Challenge/acdc/. Read are
`training/patientNNN/patientNNN_frameNN.nii.gz` with `..._frameNN_gt.nii.gz` (the 4D films beside them are not looked
at), `imagesTr/patientNNN_frameNN_0000.nii.gz` with `labelsTr/patientNNN_frameNN.nii.gz`, and `patientNNN_frameNN.h5`
with `image` and `label`, axes z, y, x. HDF5 files state no voxel size: `DATA_PREPARATION.SPACING_MM`, 10 x 1.5 x 1.5 mm
unless said otherwise, which is about the collection's median. Both frames of a patient stay together in every split.

The test part is the challenge's own, patients 101 to 150, where it is there; else the 20 patients of UNETR++.
"""

import functools
import pathlib
import re
from collections.abc import Iterable, Mapping

import numpy as np

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
)
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.parts import with_published_parts
from data_preparation.collections.spacing import with_spacing
from imaging import ImageError, Volume, read_volume
from imaging.paths import NIFTI, stem_of, suffix_of
from imaging.volume import picture_affine

LABELS = {0: "background", 1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
LICENCE = "ACDC: CC BY-NC-SA 4.0"
SPACING_MM = (10.0, 1.5, 1.5)
FORM = "folder with patientNNN/patientNNN_frameNN.nii.gz and ..._gt.nii.gz, or with patientNNN_frameNN.h5"
_NAME = re.compile(r"(?P<case>(?P<patient>patient(?P<number>\d+))_frame\d+)(?P<kind>_gt|_0000)?")
_FIRST_TEST_PATIENT = 101


def open_acdc(options: SourceOptions) -> Collection:
    """Finds the volumes below the folder, in the order of their names.

    Raises:
        PreparationError: No folder, no volume in it, or a case twice.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    nifti = [path for path in source.rglob("patient*_frame*") if suffix_of(path) in NIFTI]
    both = _files(source.rglob("*.h5"))
    images = both or _files(path for path in nifti if not _is_label(path))
    labels = both or _files(path for path in nifti if _is_label(path))
    if not images:
        raise PreparationError(
            f"{source}: no patientNNN_frameNN.nii.gz and no patientNNN_frameNN.h5 below it. Type "
            f"DATA_PREPARATION.SOURCE=<{FORM}>."
        )
    findings = [_unpaired(path, "label", labels) for name, path in images.items() if name not in labels]
    findings += [_unpaired(path, "image", images) for name, path in labels.items() if name not in images]
    cases = [_case(name, images[name], labels[name]) for name in sorted(images) if name in labels]
    published = not any(case.part for case in cases)
    spacing = options.spacing_mm or SPACING_MM
    return Collection(
        name="acdc",
        labels=LABELS,
        channels=("MRI",),
        licence=LICENCE,
        cases=with_published_parts(cases, "acdc", name="unetr_plusplus") if published else tuple(cases),
        findings=tuple(findings),
        intensity="planned",
        read_image=functools.partial(read_frame, spacing_mm=spacing),
        read_label=functools.partial(read_frame_label, spacing_mm=spacing, stray=options.stray_labels),
    )


def read_frame(case: CaseSource, *, spacing_mm: tuple[float, float, float] = SPACING_MM) -> Volume:
    """The image of a frame; the spacing serves HDF5 files."""
    return _read(case.images[0], "image", spacing_mm)


def read_frame_label(
    case: CaseSource, *, spacing_mm: tuple[float, float, float] = SPACING_MM, stray: str = "refuse"
) -> Volume:
    """The label of a frame; stray values as `LabelReader` says."""
    return LabelReader(LABELS, stray).tidy(_read(case.label or case.images[0], "label", spacing_mm), case.id)


def _is_label(path: pathlib.Path) -> bool:
    return stem_of(path).endswith("_gt") or path.parent.name.startswith("labels")


def _files(paths: Iterable[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Files by case; others are left out."""
    found: dict[str, pathlib.Path] = {}
    for path in sorted(paths):
        match = _NAME.fullmatch(stem_of(path))
        if match is None or path.name.startswith("."):
            continue
        if match["case"] in found:
            other = found[match["case"]]
            raise PreparationError(f"{path} and {other} are the same case: type DATA_PREPARATION.SOURCE=<one of them>.")
        found[match["case"]] = path
    return found


def _case(name: str, image: pathlib.Path, label: pathlib.Path) -> CaseSource:
    match = _NAME.fullmatch(name)
    patient, number = (name, 0) if match is None else (match["patient"], int(match["number"]))
    return CaseSource(name, patient, (image,), label, "test" if number >= _FIRST_TEST_PATIENT else None)


def _unpaired(path: pathlib.Path, kind: str, others: Mapping[str, pathlib.Path]) -> Finding:
    remedy = "Add it, or take the file away." if others else f"Give the folder that holds the {kind}s as well."
    return Finding(str(path), f"{kind} missing.", remedy)


def _read(path: pathlib.Path, name: str, spacing_mm: tuple[float, float, float]) -> Volume:
    if suffix_of(path) in NIFTI:
        return read_volume(path)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            array = np.asarray(file[name])
    except (OSError, KeyError) as error:
        raise ImageError(f"{path}: holds no {name!r} that can be read ({error}): copy it again.") from error
    if array.ndim != 3:
        raise ImageError(f"{path}: {name} has {array.ndim} axes, three are needed: give the volumes, not the slices.")
    return with_spacing(Volume(array, picture_affine(), source=str(path)), spacing_mm)
