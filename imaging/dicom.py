"""DICOM images: one file, a folder, or an archive of one.

Slices are sorted by their position along the normal, never by name. Rescale slope and intercept are applied per slice.
Files of one plane without position or spacing are read as pictures (`has_geometry=False`). MONOCHROME1 values stay as
stored. Compressed pixels need python-gdcm.
"""

import pathlib
from typing import Any

import numpy as np

from imaging.dicom_geometry import Frame, frames_of, sort_frames
from imaging.dicom_headers import DAMAGED, Series, dicom_files, one_series, read_headers
from imaging.errors import ImageError, reading
from imaging.volume import Grid, Volume, checked_affine, picture_affine

_COMPRESSED = "decompress it first (gdcmconv --raw, or dcmdjpeg), or export it uncompressed"


def read_dicom(path: pathlib.Path, *, series: str | None = None) -> Volume:
    """Reads a DICOM file, or the series in a folder and its subfolders.

    Args:
        path: File or folder.
        series: Which series where there are several: its UID, number, description or folder name.

    Returns:
        int16 or int32 voxels where the scaling is whole numbers, float32 otherwise; colours `(d, h, w, 3)`.

    Raises:
        ImageError: See `imaging.dicom_headers` and `imaging.dicom_geometry`; pixels that cannot be decoded.
    """
    chosen, frames, affine = _ordered(path, series)
    array = _voxels(chosen, frames)
    known = affine is not None
    return Volume(array, affine if affine is not None else picture_affine(), source=str(path), has_geometry=known)


def read_dicom_grid(path: pathlib.Path, *, series: str | None = None) -> Grid:
    """Shape and affine from the headers alone; errors as `read_dicom`, undecodable pixels excepted."""
    chosen, frames, affine = _ordered(path, series)
    dataset = chosen.headers[0].dataset
    affine = picture_affine() if affine is None else checked_affine(affine, source=str(path))
    return Grid((len(frames), int(dataset.Rows), int(dataset.Columns)), affine)


def _ordered(path: pathlib.Path, series: str | None) -> tuple[Series, list[Frame], np.ndarray | None]:
    files = dicom_files(path) if path.is_dir() else [path]
    chosen = one_series(path, read_headers(files), series=series)
    frames = [frame for header in chosen.headers for frame in frames_of(header)]
    return chosen, *sort_frames(chosen, frames)


def _voxels(series: Series, frames: list[Frame]) -> np.ndarray:
    """`(d, h, w)` or `(d, h, w, 3)`; each file is decoded once and let go."""
    places: dict[pathlib.Path, list[int]] = {}
    for place, frame in enumerate(frames):
        places.setdefault(frame.path, []).append(place)
    result: np.ndarray | None = None
    whole = all(frame.slope == 1 and frame.intercept == int(frame.intercept) for frame in frames)
    for path, here in places.items():
        planes = _decode(path, count=len(here))
        for place in here:
            plane = _rescaled(planes[frames[place].index], frames[place], whole=whole)
            if result is None:
                result = np.empty((len(frames), *plane.shape), dtype=plane.dtype)
            if result.shape[1:] != plane.shape:
                raise ImageError(f"{path}: has another size or colour than {series.headers[0].path.name}: {DAMAGED}.")
            if not np.can_cast(plane.dtype, result.dtype):
                result = result.astype(np.promote_types(plane.dtype, result.dtype))
            result[place] = plane
    if result is None:
        raise ImageError(f"{series.folder}: holds no frame: {DAMAGED}.")
    return result


def _rescaled(plane: np.ndarray, frame: Frame, *, whole: bool) -> np.ndarray:
    if not whole or plane.dtype.kind == "f":
        return plane.astype(np.float32) * np.float32(frame.slope) + np.float32(frame.intercept)
    plane = plane.astype(plane.dtype.newbyteorder("="), copy=False)
    if frame.intercept == 0:
        return plane
    shifted = plane.astype(np.int64) + int(frame.intercept)
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    return shifted.astype(np.int16 if low <= shifted.min() and shifted.max() <= high else np.int32)


def _decode(path: pathlib.Path, *, count: int) -> np.ndarray:
    """Planes `(n, h, w)` or `(n, h, w, 3)` of one file, colours as RGB."""
    import pydicom
    from pydicom.pixels.processing import apply_color_lut

    with reading(path, remedy=DAMAGED):
        dataset = pydicom.dcmread(path, force=True)
        if "PixelData" not in dataset and "FloatPixelData" not in dataset and "DoubleFloatPixelData" not in dataset:
            raise ImageError(f"{path}: states a size but holds no pixels: {DAMAGED}.")
        _state_syntax(dataset)
    compressed = bool(dataset.file_meta.TransferSyntaxUID.is_compressed)
    with reading(path, remedy=_COMPRESSED if compressed else DAMAGED):
        array: Any = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            array = apply_color_lut(array, dataset)
        return array if count > 1 or int(dataset.get("NumberOfFrames") or 1) > 1 else array[None]


def _state_syntax(dataset: Any) -> None:
    """Files without a preamble do not say how they are encoded, but the parser found out."""
    from pydicom import uid
    from pydicom.dataset import FileMetaDataset

    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        names = {(True, True): "ImplicitVRLittleEndian", (False, True): "ExplicitVRLittleEndian"}
        name = names.get((bool(implicit), bool(little)), "ExplicitVRBigEndian")
        dataset.file_meta.TransferSyntaxUID = getattr(uid, name)
