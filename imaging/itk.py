"""NRRD, MHA and MHD by SimpleITK."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from imaging.atomic import replacing
from imaging.errors import ImageError, reading
from imaging.volume import Grid, Volume, checked_affine

_DAMAGED = "the file is truncated, or its data file is missing beside it: copy or export it again"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_itk(path: pathlib.Path) -> Volume:
    """Reads voxels and affine; vectors become channels, a fourth axis becomes channels, float64 becomes float32.

    Raises:
        ImageError: Damaged, data file missing, complex voxels, five axes, singular affine.
    """
    import SimpleITK

    with reading(path, remedy=_DAMAGED):
        reader = _header(path)
        if reader.GetPixelID() in (SimpleITK.sitkFloat64, SimpleITK.sitkVectorFloat64):
            reader.SetOutputPixelType(
                SimpleITK.sitkVectorFloat32 if reader.GetNumberOfComponents() > 1 else SimpleITK.sitkFloat32
            )
        array = SimpleITK.GetArrayFromImage(reader.Execute())
        if np.iscomplexobj(array):
            raise ImageError(f"{path}: has complex voxels: save magnitude or another real image instead.")
        grid = _grid(path, reader)
    extra = reader.GetDimension() - 3
    if extra == 1:
        array = np.moveaxis(array, 0, -1)
        array = array.reshape(*array.shape[:3], -1)
    elif extra == -1:
        array = array[None]
    return Volume(np.ascontiguousarray(array), grid.affine, source=str(path))


def read_itk_grid(path: pathlib.Path) -> Grid:
    """Shape and affine from the header alone."""
    with reading(path, remedy=_DAMAGED):
        return _grid(path, _header(path))


def write_itk(path: pathlib.Path, volume: Volume, *, fields: Mapping[str, str]) -> None:
    """Writes `.nrrd`, `.mha` (compressed) or `.mhd` with its data file beside it.

    Args:
        path: Target.
        volume: Right-angled axes; channels become vector components.
        fields: Text entries of the header.

    Raises:
        ImageError: The affine is sheared, which these formats do not hold.
    """
    import SimpleITK

    spacing = np.array(volume.spacing_mm)
    directions = (_LPS_TO_RAS @ volume.affine)[:3, :3] / spacing
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise ImageError(f"{path}: {path.suffix} does not hold sheared axes: write .nii.gz instead.")
    image = SimpleITK.GetImageFromArray(volume.array, isVector=volume.array.ndim == 4)
    image.SetSpacing(spacing[::-1].tolist())
    image.SetOrigin((_LPS_TO_RAS @ volume.affine)[:3, 3].tolist())
    image.SetDirection(directions[:, ::-1].ravel().tolist())
    for key, value in fields.items():
        image.SetMetaData(key, value)
    with replacing(path) as partial:
        if path.suffix.lower() != ".mhd":
            SimpleITK.WriteImage(image, str(partial), useCompression=True)
            return
        _write_pair(path, partial, image)


def _write_pair(path: pathlib.Path, partial: pathlib.Path, image: Any) -> None:
    """The data file goes first under its final name, then the header that names it."""
    import SimpleITK

    SimpleITK.WriteImage(image, str(partial), useCompression=False)
    partial.with_suffix(".raw").replace(path.with_suffix(".raw"))
    text = partial.read_text().replace(partial.with_suffix(".raw").name, path.with_suffix(".raw").name)
    partial.write_text(text)


def _header(path: pathlib.Path) -> Any:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _grid(path: pathlib.Path, reader: Any) -> Grid:
    rank = reader.GetDimension()
    if not 2 <= rank <= 4:
        raise ImageError(f"{path}: has {rank} axes: one volume, or one with a time axis, is needed; split it first.")
    size, spacing, origin = reader.GetSize(), reader.GetSpacing(), reader.GetOrigin()
    direction = np.array(reader.GetDirection()).reshape(rank, rank)
    used = min(rank, 3)
    lps = np.eye(4)
    lps[:used, :used] = direction[:used, :used] * np.array(spacing[:used])
    lps[:used, 3] = origin[:used]
    affine = (_LPS_TO_RAS @ lps)[:, [2, 1, 0, 3]]
    w, h, d = (*size[:used], 1)[:3]
    return Grid((d, h, w), checked_affine(affine, source=str(path)))
