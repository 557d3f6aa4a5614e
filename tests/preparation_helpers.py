"""Small LiTS-like folders for the preparation tests, written with nibabel alone."""

import pathlib

import nibabel
import numpy as np

from data_preparation.collections import SourceOptions, open_collection

SPACING_MM = (4.0, 0.8, 1.2)  # of d, h, w


def write_nifti(path: pathlib.Path, array: np.ndarray, codes: str = "LPS", origin_mm: float = 0.0) -> pathlib.Path:
    """Writes an array that runs Superior, Posterior, Left (d, h, w) as NIfTI with its axes turned to `codes`."""
    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    affine[:3, 3] = origin_mm
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("LPS"), nibabel.orientations.axcodes2ornt(codes)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image.as_reoriented(turn), path)
    return path


def write_pair(
    folder: pathlib.Path, number: int, hu: np.ndarray, label: np.ndarray, *, codes: str = "LPS", suffix: str = ".nii"
) -> None:
    """Writes `volume-N` and `segmentation-N`."""
    write_nifti(folder / f"volume-{number}{suffix}", hu.astype(np.int16), codes)
    write_nifti(folder / f"segmentation-{number}{suffix}", label.astype(np.uint8), codes)


def small_case(seed: int, shape: tuple[int, int, int] = (5, 12, 16)) -> tuple[np.ndarray, np.ndarray]:
    """HU and label of a block of liver with one tumour voxel, no two cases alike."""
    rng = np.random.default_rng(seed)
    hu = rng.integers(-150, 200, shape)
    label = np.zeros(shape, np.uint8)
    label[1:4, 3:9, 4:12] = 1
    label[2, 5, 6] = 2
    return hu, label


def write_lits(folder: pathlib.Path, numbers: tuple[int, ...] = (0, 28, 29, 30), **options) -> pathlib.Path:
    """A folder of small cases."""
    for number in numbers:
        write_pair(folder, number, *small_case(number), **options)
    return folder


def lits(folder: pathlib.Path):
    """The folder opened as LiTS."""
    return open_collection("lits", SourceOptions(source=folder))
