"""The synthetic collection: seeded abdominal CT volumes with liver and tumours, written as LiTS writes its own."""

import gzip
import json
import logging
import pathlib
from collections.abc import Sequence

import joblib
import nibabel
import numpy as np

from data_generators.manifest import save_json
from data_preparation.anatomy import abdomen
from data_preparation.collections.base import PreparationError
from data_preparation.collections.lits import FIRST_TRAINING_VOLUME
from imaging.atomic import replacing

ORIENTATIONS = ("LPS", "RAS", "LAS", "RPS", "RAI")
TEST_SHARE = 0.2
SETTINGS = "phantom.json"
VERSION = 1
MIN_SIZE = 8
_log = logging.getLogger(__name__)


def phantom_numbers(cases: int) -> list[int]:
    """LiTS volume numbers of that many phantoms: a fifth are test cases (0, 1, ...), the rest train (28, 29, ...)."""
    tests = max(1, round(TEST_SHARE * cases))
    return [*range(tests), *range(FIRST_TRAINING_VOLUME, FIRST_TRAINING_VOLUME + cases - tests)]


def write_phantoms(
    folder: pathlib.Path,
    *,
    cases: int,
    size: Sequence[int],
    spacing_mm: Sequence[float],
    seed: int,
    workers: int = 1,
    suffix: str = ".nii.gz",
) -> list[pathlib.Path]:
    """Writes `volume-N.nii.gz` and `segmentation-N.nii.gz`; what is there already with the same settings is kept.

    Volumes differ in depth (up to a quarter), voxel size (up to 15 %), orientation, anatomy, contrast and noise.

    Args:
        folder: Where to; made if missing.
        cases: Number of volumes, at least 3.
        size: Voxels along depth, height, width.
        spacing_mm: Typical voxel size along depth, height, width.
        seed: The same seed gives the same files.
        workers: Volumes made at once.
        suffix: `.nii.gz`, or `.nii` as LiTS itself has it.

    Returns:
        The volumes (not the segmentations), in order of their numbers.

    Raises:
        PreparationError: Too few cases or a size the anatomy does not fit in.
    """
    if cases < 3 or len(size) != 3 or len(spacing_mm) != 3 or min(size) < MIN_SIZE or min(spacing_mm) <= 0:
        raise PreparationError(
            f"DATA_PREPARATION.PHANTOM has CASES={cases} SIZE={list(size)} SPACING_MM={list(spacing_mm)}: give at "
            f"least 3 cases, three sizes of at least {MIN_SIZE} and three positive spacings, such as SIZE=[32,128,128]."
        )
    settings = {"version": VERSION, "suffix": suffix, "size": list(size), "spacing_mm": list(spacing_mm), "seed": seed}
    kept = _load_settings(folder) == settings
    if not kept:
        folder.mkdir(parents=True, exist_ok=True)
        save_json(folder / SETTINGS, settings)
    volumes = [folder / f"volume-{number}{suffix}" for number in phantom_numbers(cases)]
    for stale in [*folder.glob("volume-*.nii*"), *folder.glob("segmentation-*.nii*")]:
        if not kept or stale.with_name(stale.name.replace("segmentation", "volume")) not in volumes:
            stale.unlink()
    missing = [path for path in volumes if not path.is_file()]
    _log.info("Writing %d of %d synthetic volumes to %s.", len(missing), cases, folder)
    joblib.Parallel(n_jobs=workers, prefer="threads")(
        joblib.delayed(write_phantom)(path, size=size, spacing_mm=spacing_mm, seed=seed) for path in missing
    )
    return volumes


def write_phantom(
    volume: pathlib.Path, *, size: Sequence[int], spacing_mm: Sequence[float], seed: int, fixed_depth: bool = False
) -> None:
    """Writes one `volume-N.nii[.gz]` and its segmentation beside it; N and the seed decide everything."""
    number = int(volume.name.split(".")[0].split("-")[1])
    rng = np.random.default_rng([seed, number])
    depth = size[0] if fixed_depth else max(MIN_SIZE, round(size[0] * rng.uniform(0.75, 1.25)))
    spacing = [value * rng.uniform(0.85, 1.15) for value in spacing_mm]
    spacing[2] = spacing[1]
    hu, label = abdomen(rng, (depth, size[1], size[2]))
    origin = rng.uniform(-200, 200, 3)
    codes = ORIENTATIONS[number % len(ORIENTATIONS)]
    segmentation = volume.with_name(volume.name.replace("volume", "segmentation"))
    _write(segmentation, label, spacing, origin, codes)
    _write(volume, hu, spacing, origin, codes)


def _write(path: pathlib.Path, array: np.ndarray, spacing: Sequence[float], origin: np.ndarray, codes: str) -> None:
    """Writes an array that runs along S, P, L with its file axes in the given orientation."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    affine[:3, 3] = origin
    image = nibabel.nifti1.Nifti1Image(array.transpose(2, 1, 0), affine)
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(orientations.axcodes2ornt("LPS"), orientations.axcodes2ornt(codes))
    with replacing(path) as partial:
        content = image.as_reoriented(turn).to_bytes()
        partial.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)


def _load_settings(folder: pathlib.Path) -> object:
    path = folder / SETTINGS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
