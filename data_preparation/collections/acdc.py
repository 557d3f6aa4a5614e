"""ACDC, heart MRI at end-diastole and end-systole, as HDF5 files `patientNNN_frameNN.h5` with `image` and `label`.

O. Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-structures Segmentation and Diagnosis, IEEE
Transactions on Medical Imaging 37, 2018, https://www.creatis.insa-lyon.fr/Challenge/acdc/. Axes are z, y, x. The files
state no voxel size: `DATA_PREPARATION.SPACING_MM`, 10 x 1.5 x 1.5 mm unless said otherwise, which is about the
collection's median. Both frames of a patient stay together in every split.
"""

import functools
import pathlib
import re

import numpy as np

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    PreparationError,
    SourceOptions,
    existing_folder,
)
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.spacing import with_spacing
from imaging import ImageError, Volume
from imaging.volume import picture_affine

LABELS = {0: "background", 1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
LICENCE = "ACDC: CC BY-NC-SA 4.0"
SPACING_MM = (10.0, 1.5, 1.5)
FORM = "folder with patientNNN_frameNN.h5"
_NAME = re.compile(r"(patient\d+)_frame\d+")


def open_acdc(options: SourceOptions) -> Collection:
    """Finds the volumes below the folder, in the order of their names.

    Raises:
        PreparationError: No folder, or no volume in it.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    found = sorted((path for path in source.rglob("*.h5") if _NAME.fullmatch(path.stem)), key=lambda path: path.stem)
    if not found:
        raise PreparationError(
            f"{source}: no patientNNN_frameNN.h5 below it. Type DATA_PREPARATION.SOURCE=<{FORM}>; for the NIfTI files "
            "of the challenge dataset=volume_folder."
        )
    spacing = options.spacing_mm or SPACING_MM
    return Collection(
        name="acdc",
        labels=LABELS,
        channels=("MRI",),
        licence=LICENCE,
        cases=tuple(CaseSource(path.stem, path.stem.split("_")[0], (path,), path) for path in found),
        intensity="planned",
        read_image=functools.partial(read_frame, spacing_mm=spacing),
        read_label=functools.partial(read_frame_label, spacing_mm=spacing, stray=options.stray_labels),
    )


def read_frame(case: CaseSource, *, spacing_mm: tuple[float, float, float] = SPACING_MM) -> Volume:
    """The image of a frame."""
    return _read(case.images[0], "image", spacing_mm)


def read_frame_label(
    case: CaseSource, *, spacing_mm: tuple[float, float, float] = SPACING_MM, stray: str = "refuse"
) -> Volume:
    """The label of a frame; stray values as `LabelReader` says."""
    return LabelReader(LABELS, stray).tidy(_read(case.images[0], "label", spacing_mm), case.id)


def _read(path: pathlib.Path, name: str, spacing_mm: tuple[float, float, float]) -> Volume:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            array = np.asarray(file[name])
    except (OSError, KeyError) as error:
        raise ImageError(f"{path}: holds no {name!r} that can be read ({error}): copy it again.") from error
    if array.ndim != 3:
        raise ImageError(f"{path}: {name} has {array.ndim} axes, three are needed: give the volumes, not the slices.")
    return with_spacing(Volume(array, picture_affine(), source=str(path)), spacing_mm)
