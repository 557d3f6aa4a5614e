"""Voxel sizes of files that do not state them: multi-page TIF, HDF5, plain arrays."""

import dataclasses
import json
import pathlib

import numpy as np

from data_preparation.collections.base import CaseSource, read_channels
from imaging import ImageError, Volume
from imaging.paths import stem_of
from imaging.volume import picture_affine


@dataclasses.dataclass(frozen=True)
class ChannelReader:
    """Reads the channels of a case; where the files state no spacing, a sidecar or the user does.

    The sidecar is nnU-Net's: `<name of the image>.json` or `<case>.json` with `{"spacing": [x, y, z]}` in mm.

    Attributes:
        spacing_mm: Of `(d, h, w)`, for files that state none and have no sidecar.
    """

    spacing_mm: tuple[float, float, float] | None = None

    def __call__(self, case: CaseSource) -> Volume:
        """The image; errors as `read_channels`, and a sidecar that cannot be read."""
        volume = read_channels(case)
        if volume.has_geometry:
            return volume
        steps = _sidecar(case) or self.spacing_mm
        return volume if steps is None else with_spacing(volume, steps)


def with_spacing(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """The volume in canonical orientation with voxels of this size, depth first."""
    affine = picture_affine() @ np.diag([*spacing_mm, 1.0])
    return dataclasses.replace(volume, affine=affine, has_geometry=True)


def _sidecar(case: CaseSource) -> tuple[float, float, float] | None:
    image: pathlib.Path = case.images[0]
    for path in (image.with_name(f"{stem_of(image)}.json"), image.with_name(f"{case.id}.json")):
        if path.is_file():
            try:
                x, y, z = (float(step) for step in json.loads(path.read_text(encoding="utf-8"))["spacing"])
            except (ValueError, KeyError, TypeError) as error:
                raise ImageError(f'{path}: cannot be read ({error}): write {{"spacing": [x, y, z]}} in mm.') from error
            return z, y, x
    return None
