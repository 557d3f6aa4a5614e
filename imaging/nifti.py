"""NIfTI-1 and NIfTI-2: single files, gzipped files and .hdr/.img pairs.

Which affine holds: the sform where its code is above 0, otherwise the qform where its code is above 0, otherwise
spacing only with nibabel's default orientation. Where both are coded and disagree a warning says so. Metres and
micrometres of `xyzt_units` become millimetres.
"""

import logging
import math
import pathlib
from typing import Any, cast

import numpy as np

from imaging.atomic import replacing
from imaging.errors import ImageError, reading
from imaging.volume import Grid, Shape, Volume, checked_affine

_LOG = logging.getLogger(__name__)
_CHUNK = 1 << 22
_DAMAGED = "the file is truncated or not NIfTI: copy or download it again"
_MM_PER_UNIT = {"meter": 1000.0, "micron": 1e-3}


def read_nifti(path: pathlib.Path) -> Volume:
    """Reads voxels and affine.

    Integers without scaling keep their type, everything else becomes float32, 3 or 4 RGB bytes become channels.
    Memory: the result, plus a few MB; four-dimensional files twice the result.

    Raises:
        ImageError: Damaged or truncated, `.img` missing, five or more axes, complex numbers, singular affine,
            CIFTI or Analyze instead of NIfTI.
    """
    with reading(path, remedy=_DAMAGED):
        image = _open(path)
        shape = _array_shape(path, image)
        affine = _affine(path, image)
        flat = _voxels(path, image)
    array = flat.reshape(tuple(reversed(_nominal_shape(image))) + flat.shape[1:])
    array = _channels_last(array, shape, rgb=flat.ndim == 2)
    return Volume(array, affine, source=str(path))


def read_nifti_grid(path: pathlib.Path) -> Grid:
    """Shape and affine from the header alone; errors as `read_nifti`, damaged voxels excepted."""
    with reading(path, remedy=_DAMAGED):
        image = _open(path)
        return Grid(_array_shape(path, image)[0], _affine(path, image))


def write_nifti(path: pathlib.Path, volume: Volume) -> None:
    """Writes `.nii` or `.nii.gz` (NIfTI-1; NIfTI-2 where a size is above 32767), sform and qform alike, in mm."""
    import nibabel as nib

    affine = volume.affine[:, [2, 1, 0, 3]]
    order = (2, 1, 0, 3)[: volume.array.ndim]
    kind: Any = nib.Nifti1Image if max(volume.array.shape) <= 32767 else nib.Nifti2Image
    image = kind(np.transpose(volume.array, order), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    if _orthogonal(affine):
        image.set_qform(affine, code="scanner")
    with replacing(path) as partial:
        nib.save(image, partial)


def _open(path: pathlib.Path) -> Any:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.imageglobals import LoggingOutputSuppressor

    _find_partner(path)
    try:
        with LoggingOutputSuppressor():
            image = nib.load(path)
    except ImageFileError as error:
        raise ImageError(f"{path}: is not a NIfTI file, whatever its name says: {_DAMAGED}.") from error
    nifti = (nib.Nifti1Image, nib.Nifti1Pair, nib.Nifti2Image, nib.Nifti2Pair)
    if isinstance(image, nib.Cifti2Image):
        raise ImageError(f"{path}: is a CIFTI-2 table, not an image: give the NIfTI volume it was made from.")
    if not isinstance(image, nifti):
        raise ImageError(
            f"{path}: is an Analyze file, which does not say left from right: convert it to NIfTI (.nii.gz) first."
        )
    return image


def _find_partner(path: pathlib.Path) -> None:
    name = path.name[: -len(".gz")] if path.name.endswith(".gz") else path.name
    partner = {".hdr": ".img", ".img": ".hdr"}.get(pathlib.PurePath(name).suffix)
    if partner is None:
        return
    stem = path.with_name(pathlib.PurePath(name).stem)
    wanted = [stem.with_name(stem.name + partner + end) for end in ("", ".gz")]
    if not any(file.is_file() for file in wanted):
        raise ImageError(f"{path}: {wanted[0].name} is missing beside it: put both halves into one folder.")


def _nominal_shape(image: Any) -> tuple[int, ...]:
    """Shape in the file, i fastest, padded to three axes and without trailing axes of size 1."""
    shape = tuple(int(size) for size in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 5 and shape[3] == 1:
        shape = (*shape[:3], shape[4])
    return shape + (1,) * (3 - len(shape))


def _array_shape(path: pathlib.Path, image: Any) -> tuple[Shape, int]:
    """`(d, h, w)` and the number of channels; 0 channels for a volume without that axis."""
    shape = _nominal_shape(image)
    if not 3 <= len(shape) <= 4 or len(image.shape) < 2 or 0 in shape:
        raise ImageError(
            f"{path}: has shape {tuple(image.shape)}: one volume, or one with a channel or time axis, is needed; "
            "split the file first."
        )
    return cast(Shape, shape[2::-1]), shape[3] if len(shape) == 4 else 0


def _channels_last(array: np.ndarray, shape: tuple[Shape, int], *, rgb: bool) -> np.ndarray:
    """`(t, d, h, w)` to `(d, h, w, t)`; `(t, d, h, w, 3)` to `(d, h, w, 3 * t)`."""
    if shape[1] == 0:
        return array
    moved = np.moveaxis(array, 0, -2 if rgb else -1)
    return np.ascontiguousarray(moved).reshape(*shape[0], -1)


def _affine(path: pathlib.Path, image: Any) -> np.ndarray:
    header = image.header
    if int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0:
        apart = float(np.abs(header.get_sform() - header.get_qform()).max())
        if apart > 1e-2:
            _LOG.warning("%s: sform and qform differ by up to %.3g mm; the sform is used.", path, apart)
    if int(header["sform_code"]) <= 0:
        _check_spacing(path, image)
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= _MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    return checked_affine(affine[:, [2, 1, 0, 3]], source=str(path))


def _check_spacing(path: pathlib.Path, image: Any) -> None:
    """nibabel would quietly make a spacing of 0 into 1."""
    from nibabel.openers import ImageOpener

    with ImageOpener(image.file_map.get("header", image.file_map["image"]).filename, "rb") as file:
        header = type(image.header).from_fileobj(file, check=False)
    spacing = np.abs(header["pixdim"][1 : 1 + min(3, len(image.shape))])
    if not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ImageError(
            f"{path}: states a spacing of {', '.join(f'{size:g}' for size in spacing)}: "
            "write the right voxel spacing into the header, or export the file again."
        )


def _voxels(path: pathlib.Path, image: Any) -> np.ndarray:
    """Flat voxels in file order, `(n,)` or `(n, 3 or 4)`, read piece by piece: never a float64 volume."""
    from nibabel.openers import ImageOpener

    stored = image.dataobj.dtype
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    scaled = (slope, inter) != (1.0, 0.0)
    if stored.names is None and stored.kind not in "iuf":
        raise ImageError(f"{path}: has voxels of type {stored}: save magnitude or another real image instead.")
    count = math.prod(image.shape)
    parts = len(stored.names or ())
    result_type = np.dtype(np.uint8) if parts else _result_type(stored, scaled=scaled)
    flat = np.empty((count, parts) if parts else (count,), dtype=result_type)
    with ImageOpener(image.file_map["image"].filename, "rb") as file:
        file.seek(image.dataobj.offset)
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            raw = file.read((stop - start) * stored.itemsize)
            if len(raw) < (stop - start) * stored.itemsize:
                raise ImageError(f"{path}: ends before its {count} voxels do: {_DAMAGED}.")
            piece = np.frombuffer(raw, dtype=np.uint8).reshape(-1, parts) if parts else np.frombuffer(raw, dtype=stored)
            flat[start:stop] = piece * np.float32(slope) + np.float32(inter) if scaled and not parts else piece
        while file.read(_CHUNK):  # gzip compares its checksum at the end of the file only.
            pass
    return flat


def _result_type(stored: np.dtype, *, scaled: bool) -> np.dtype:
    if scaled or stored.kind == "f":
        return np.dtype(np.float32)
    return stored.newbyteorder("=")


def _orthogonal(affine: np.ndarray) -> bool:
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-4))
