"""Reading and writing by path: the right format by what the path is and how it ends."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from imaging import paths
from imaging.archives import unpacked
from imaging.atomic import replacing
from imaging.errors import ImageError, reading
from imaging.volume import Grid, Volume

_Result = TypeVar("_Result")
_LFS_MARK = b"version https://git-lfs"
_READ = ".nii .nii.gz .hdr/.img .nrrd .mha .mhd .png .jpg .tif .gif .bmp, DICOM (file, folder, .zip, .tar)"
_WRITTEN = (*paths.NIFTI[:2], *paths.ITK[:1], *paths.ITK[2:], *(one for one in paths.PICTURES if one != ".gif"))


def read_volume(path: str | os.PathLike[str], *, series: str | None = None) -> Volume:
    """Reads an image: NIfTI, NRRD, MHA/MHD, DICOM (file, folder, archive), PNG, JPG, TIF, GIF, BMP.

    Args:
        path: File or folder.
        series: Which DICOM series where there are several: its UID, number, description or folder name.

    Returns:
        The volume as stored, not reoriented; unscaled integers keep their type, all else is float32.

    Raises:
        ImageError: Missing, damaged, not supported or ambiguous; names the file and the remedy.
    """
    source = _existing(path)
    suffix = paths.suffix_of(source)
    if source.is_file() and suffix in paths.PICTURES:
        from imaging.pictures import read_picture

        return read_picture(source)
    if source.is_file() and suffix in paths.NIFTI:
        from imaging.nifti import read_nifti

        return read_nifti(source)
    if source.is_file() and suffix in paths.ITK:
        from imaging.itk import read_itk

        return read_itk(source)
    return _with_dicom(source, lambda folder: _read_dicom(folder, source, series))


def read_grid(path: str | os.PathLike[str], *, series: str | None = None) -> Grid:
    """Shape and affine of what `read_volume` would return, from headers alone (archives are unpacked).

    Raises:
        ImageError: As `read_volume`, damaged voxels excepted.
    """
    source = _existing(path)
    suffix = paths.suffix_of(source)
    if source.is_file() and suffix in paths.PICTURES:
        from imaging.pictures import read_picture_grid

        return read_picture_grid(source)
    if source.is_file() and suffix in paths.NIFTI:
        from imaging.nifti import read_nifti_grid

        return read_nifti_grid(source)
    if source.is_file() and suffix in paths.ITK:
        from imaging.itk import read_itk_grid

        return read_itk_grid(source)
    from imaging.dicom import read_dicom_grid

    return _with_dicom(source, lambda folder: read_dicom_grid(folder, series=series))


def read_label(path: str | os.PathLike[str], *, series: str | None = None) -> Volume:
    """Reads a label map `(d, h, w)` of whole numbers, in the smallest type that holds them.

    Float files are accepted where every value is whole (0.0, 200.0, ...). Palette pictures give their indices, grey
    pictures stored as RGB their grey.

    Raises:
        ImageError: Fractional or non-finite values, several channels, or as `read_volume`.
    """
    source = _existing(path)
    if source.is_file() and paths.suffix_of(source) in paths.PICTURES:
        from imaging.pictures import read_picture

        volume = read_picture(source, indices=True)
    else:
        volume = read_volume(source, series=series)
    return volume.with_array(_whole_numbers(source, _one_channel(source, volume.array)))


def write_volume(
    path: str | os.PathLike[str], volume: Volume, *, labels: Mapping[int, str] | None = None
) -> pathlib.Path:
    """Writes `.nii .nii.gz .nrrd .mha .mhd .png .jpg .tif .bmp` in one step: readers see the old file or the new one.

    Args:
        path: Target; missing folders are made.
        volume: Written as it is, on its own grid and orientation; float64 and float16 become float32.
        labels: Names of label values. Then the voxels are written as uint8 (uint16 above 255), and the names as
            `<name>.labels.json` beside the file; in NRRD, MHA and MHD also as the segment entries 3D Slicer reads.

    Returns:
        The path written.

    Raises:
        ImageError: Unknown suffix, or voxels that the format does not hold.
    """
    target = pathlib.Path(path)
    suffix = paths.suffix_of(target)
    if suffix not in _WRITTEN:
        raise ImageError(f"{target}: {suffix or 'no suffix'} is not written: use one of {', '.join(_WRITTEN)}.")
    volume = volume.with_array(_storable(target, volume.array, label=labels is not None))
    if labels is not None and suffix in (".jpg", ".jpeg"):
        raise ImageError(f"{target}: JPG changes label values: write .png or .nii.gz.")
    _write(target, volume, labels or {})
    if labels is not None:
        with replacing(target.with_name(f"{paths.stem_of(target)}.labels.json")) as partial:
            text = json.dumps(
                {str(value): name for value, name in sorted(labels.items())}, indent=1, ensure_ascii=False
            )
            partial.write_text(text + "\n", encoding="utf-8")
    return target


def _write(target: pathlib.Path, volume: Volume, labels: Mapping[int, str]) -> None:
    suffix = paths.suffix_of(target)
    if suffix in paths.NIFTI:
        from imaging.nifti import write_nifti

        write_nifti(target, volume)
    elif suffix in paths.ITK:
        from imaging.itk import write_itk

        write_itk(target, volume, fields=_segment_fields(labels))
    else:
        from imaging.pictures import write_picture

        write_picture(target, volume)


def _segment_fields(labels: Mapping[int, str]) -> dict[str, str]:
    """Header entries by which 3D Slicer names segments."""
    fields: dict[str, str] = {}
    for index, (value, name) in enumerate((value, name) for value, name in sorted(labels.items()) if value != 0):
        entries = {"ID": f"Segment_{value}", "Name": name, "LabelValue": str(value), "Layer": "0"}
        fields |= {f"Segment{index}_{key}": entry for key, entry in entries.items()}
    return fields


def _existing(path: str | os.PathLike[str]) -> pathlib.Path:
    source = pathlib.Path(path)
    if not source.exists():
        raise ImageError(f"{source}: does not exist: check the path.")
    if source.is_file():
        with reading(source, remedy="check its permissions"), source.open("rb") as file:
            start = file.read(len(_LFS_MARK))
        if start == _LFS_MARK:
            raise ImageError(f"{source}: is a Git LFS pointer, not the image: run `git lfs pull` where it came from.")
        if not start:
            raise ImageError(f"{source}: is empty: copy or download it again.")
    return source


def _with_dicom(source: pathlib.Path, read: Callable[[pathlib.Path], _Result]) -> _Result:
    """Calls `read` with a DICOM file or folder; archives are unpacked around the call."""
    suffix = paths.suffix_of(source)
    if source.is_dir():
        return _read_safely(source, read)
    if suffix in paths.ARCHIVES:
        with unpacked(source) as folder:
            try:
                return _read_safely(folder, read)
            except ImageError as error:  # The user knows the archive, not the temporary folder.
                raise ImageError(str(error).replace(str(folder), str(source))) from error
    from imaging.dicom_headers import is_dicom

    if suffix == ".gz":
        raise ImageError(f"{source}: is compressed: run `gunzip` on it first, or name it .nii.gz if it is NIfTI.")
    if suffix not in ("", *paths.DICOM) and not is_dicom(source):
        raise ImageError(f"{source}: {suffix} files are not read: convert it to one of {_READ}.")
    return _read_safely(source, read)


def _read_safely(place: pathlib.Path, read: Callable[[pathlib.Path], _Result]) -> _Result:
    from imaging.dicom_headers import DAMAGED

    with reading(place, remedy=DAMAGED):
        return read(place)


def _read_dicom(place: pathlib.Path, source: pathlib.Path, series: str | None) -> Volume:
    from imaging.dicom import read_dicom

    volume = read_dicom(place, series=series)
    return dataclasses.replace(volume, source=str(source))


def _one_channel(source: pathlib.Path, array: np.ndarray) -> np.ndarray:
    if array.ndim == 3:
        return array
    if all(np.array_equal(array[..., 0], array[..., index]) for index in range(1, array.shape[3])):
        return np.ascontiguousarray(array[..., 0])
    raise ImageError(
        f"{source}: has {array.shape[3]} different channels, a label map has one: save class indices as grey values."
    )


def _whole_numbers(source: pathlib.Path, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(f"{source}: holds NaN or infinite label values: replace them by 0 or the ignored label.")
        if any((plane != np.rint(plane)).any() for plane in array):
            raise ImageError(f"{source}: holds fractional label values: give the mask itself, not an image.")
    else:
        low, high = float(array.min()), float(array.max())
    return array.astype(np.result_type(np.min_scalar_type(int(low)), np.min_scalar_type(int(high))), copy=False)


def _storable(target: pathlib.Path, array: np.ndarray, *, label: bool) -> np.ndarray:
    if label:
        array = _whole_numbers(target, array)
        if array.min() < 0 or array.max() > 65535:
            raise ImageError(
                f"{target}: label values lie in [{array.min()}, {array.max()}], not in [0, 65535]: map them first."
            )
        return array.astype(np.uint8 if array.max() <= 255 else np.uint16, copy=False)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.name in ("bool", "int64", "uint64"):
        return _whole_numbers(target, array.astype(np.int64))
    return array
