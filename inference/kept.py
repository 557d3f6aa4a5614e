"""Probabilities and their entropy as files beside a label: one map for each class or region, on the grid of the input.

Volumes are NIfTI files of numbers from 0 to 1, rounded to four decimals. Pictures are 16-bit PNGs from 0 to 65535.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from imaging import CaseGeometry, Volume, read_volume, to_canonical, write_volume
from inference.activation import Regions
from inference.probabilities import Probabilities

PROBABILITIES, ENTROPY = "probabilities", "entropy"
_STEPS = 65535


def write_probabilities(
    folder: pathlib.Path, name: str, probabilities: Probabilities, *, classes: Mapping[str, Sequence[int]]
) -> list[pathlib.Path]:
    """Writes `<name>_<class>.nii.gz` (pictures: `.png`) for every class or region that has a probability.

    Args:
        folder: Made if missing.
        name: Of the input.
        probabilities: Of the network, before any post-processing.
        classes: Name to class values, background left out.
    """
    written: list[pathlib.Path] = []
    for label, places in probabilities.channel_of(classes).items():
        found = _empty(probabilities)
        for place in places:
            for rows, slab in probabilities.slabs(slice(place, place + 1)):
                found[rows] += slab[..., 0]
        written.append(_write(folder / f"{name}_{file_word(label)}", probabilities.restored(found)))
    return written


def write_entropy(folder: pathlib.Path, name: str, probabilities: Probabilities) -> pathlib.Path:
    """Writes `<name>.nii.gz` (pictures: `.png`): how undecided the network is in each voxel, 0 to 1.

    Exclusive classes: `-sum(p log p) / log(k)`. Sigmoids: the mean of the binary entropies in bits. Outside the
    prepared crop 0.
    """
    found = _empty(probabilities)
    exclusive = probabilities.regions is None and probabilities.array.shape[-1] > 1
    for rows, slab in probabilities.slabs():
        found[rows] = entropy(slab, exclusive=exclusive)
    return _write(folder / name, probabilities.restored(found))


def entropy(probabilities: np.ndarray, *, exclusive: bool) -> np.ndarray:
    """Entropy from 0 to 1, `(*s,)`, of probabilities `(*s, k)`; see `write_entropy`."""
    if not exclusive:
        return np.mean(_information(probabilities) + _information(1.0 - probabilities), axis=-1) / np.log(2.0)
    return _information(probabilities).sum(axis=-1) / np.log(probabilities.shape[-1])


def read_probabilities(
    folder: pathlib.Path,
    name: str,
    reference: Volume,
    *,
    classes: Mapping[str, Sequence[int]],
    regions: Regions | None = None,
) -> Probabilities | None:
    """Reads what `write_probabilities` wrote; None where a class has no file.

    Args:
        folder: With the files.
        name: Of the case.
        reference: On whose grid the files lie.
        classes: Name to class values, in class order, background left out.
        regions: Class values of each where they are overlapping regions.

    Raises:
        ValueError: A file has another shape than the reference.
    """
    suffix = _suffix(reference.has_geometry)
    files = [folder / f"{name}_{file_word(label)}{suffix}" for label in classes]
    if not all(file.is_file() for file in files):
        return None
    maps: list[np.ndarray] = []
    for file in files:
        volume = read_volume(file)
        if volume.shape != reference.shape:
            raise ValueError(f"{file}: has shape {volume.shape}, the reference {reference.shape}: predict again.")
        array = volume.array.astype(np.float32) / (1 if reference.has_geometry else _STEPS)
        maps.append(to_canonical(volume.with_array(array)).array if reference.has_geometry else array)
    if regions is None:
        maps.insert(0, np.clip(1.0 - np.sum(maps, axis=0), 0.0, 1.0))
    stacked = np.stack(maps, axis=-1)
    if not reference.has_geometry:
        return Probabilities(stacked, None, (reference.shape[1], reference.shape[2]), regions)
    return Probabilities(stacked, CaseGeometry.of(reference.grid), regions=regions)


def file_word(label: str) -> str:
    """A class name as part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in label)


def _information(probabilities: np.ndarray) -> np.ndarray:
    """`-p log p`, 0 where p is 0."""
    safe = np.clip(probabilities, 1e-12, 1.0)
    return -probabilities * np.log(safe)


def _empty(probabilities: Probabilities) -> np.ndarray:
    geometry = probabilities.geometry
    return np.zeros((1, *probabilities.size) if geometry is None else geometry.crop_shape, np.float32)


def _suffix(has_geometry: bool) -> str:
    return ".nii.gz" if has_geometry else ".png"


def _write(stem: pathlib.Path, volume: Volume) -> pathlib.Path:
    path = stem.with_name(stem.name + _suffix(volume.has_geometry))
    if volume.has_geometry:
        return write_volume(path, volume.with_array(np.round(np.clip(volume.array, 0.0, 1.0), 4)))
    steps = np.round(np.clip(volume.array, 0.0, 1.0) * _STEPS).astype(np.uint16)
    return write_volume(path, volume.with_array(steps))
