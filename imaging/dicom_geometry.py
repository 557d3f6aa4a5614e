"""Where DICOM frames lie: one affine for a series, or an error that says which slices do not fit."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from imaging.dicom_headers import DAMAGED, Header, Series
from imaging.errors import ImageError, reading

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GAP_TOLERANCE = 0.1
_ROUNDING_MM = 0.11  # Positions are often written with one decimal, which moves a gap by up to 0.1 mm.
_TILT_DEGREES = 0.5


@dataclasses.dataclass(frozen=True)
class Frame:
    """One plane of pixels.

    Attributes:
        path: Its file.
        index: Its number within the file.
        position: First pixel's centre `(3,)`, LPS mm; None where the file does not say.
        directions: `(3, 2)`: step to the next row, step to the next column, LPS mm.
        thickness_mm: Distance of slices as stated, for a single slice.
        slope: Rescale slope.
        intercept: Rescale intercept.
    """

    path: pathlib.Path
    index: int
    position: np.ndarray | None
    directions: np.ndarray
    thickness_mm: float
    slope: float
    intercept: float

    @property
    def name(self) -> str:
        """How errors call it."""
        return self.path.name if self.index == 0 else f"{self.path.name} frame {self.index + 1}"


def frames_of(header: Header) -> list[Frame]:
    """All planes of a file, in file order.

    Raises:
        ImageError: Geometry tags are damaged, or describe another number of frames than the file has.
    """
    with reading(header.path, remedy=DAMAGED):
        count = int(header.dataset.get("NumberOfFrames") or 1)
        per_frame = list(header.dataset.get("PerFrameFunctionalGroupsSequence") or [])
        if per_frame and len(per_frame) != count:
            raise ImageError(f"{header.path}: describes {len(per_frame)} frames but holds {count}: {DAMAGED}.")
        shared = list(header.dataset.get("SharedFunctionalGroupsSequence") or [])
        offsets = [float(offset) for offset in header.dataset.get("GridFrameOffsetVector") or []] if count > 1 else []
        groups = [[header.dataset, *_items(shared), *_items(per_frame[index : index + 1])] for index in range(count)]
        frames = [_frame(header, index, groups[index]) for index in range(count)]
        if len(offsets) == count:
            frames = [_shifted(frame, offset - offsets[0]) for frame, offset in zip(frames, offsets, strict=True)]
        elif count > 1 and not per_frame:
            frames = [dataclasses.replace(frame, position=None) for frame in frames]
        return frames


def sort_frames(series: Series, frames: Sequence[Frame]) -> tuple[list[Frame], np.ndarray | None]:
    """Orders planes by position and gives their affine.

    Returns:
        The planes, and `(4, 4)` array indices to RAS+ mm; None where a single file states no position.

    Raises:
        ImageError: Several files without positions, two planes at one place, uneven gaps, a tilted gantry.
    """
    if any(frame.position is None for frame in frames):
        if len(series.headers) > 1:
            raise ImageError(
                f"{series.folder}: {len(series.headers)} files of one series state no position (e.g. "
                f"{frames[0].path.name}), their order is unknown: read them one by one."
            )
        return list(frames), None
    rows, columns = frames[0].directions.T
    normal = np.cross(columns, rows)
    normal /= np.linalg.norm(normal)
    ordered = sorted(frames, key=lambda frame: float(_position(frame) @ normal))
    positions = np.stack([_position(frame) for frame in ordered])
    if len(ordered) > 1:
        _check_gaps(series, ordered, positions, normal)
        step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    else:
        step = normal * ordered[0].thickness_mm
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2], lps[:3, 3] = step, rows, columns, positions[0]
    return ordered, _LPS_TO_RAS @ lps


def _items(sequence: Sequence[Any]) -> list[Any]:
    """The datasets inside each functional group: plane position, orientation, pixel measures, ..."""
    return [item for group in sequence for element in group if element.VR == "SQ" for item in element.value]


def _frame(header: Header, index: int, groups: Sequence[Any]) -> Frame:
    def tag(name: str) -> Any:
        return next((group.get(name) for group in reversed(groups) if group.get(name) not in (None, "")), None)

    position, orientation, spacing = tag("ImagePositionPatient"), tag("ImageOrientationPatient"), tag("PixelSpacing")
    known = all(value is not None for value in (position, orientation, spacing))
    directions = np.zeros((3, 2))
    if known:
        cosines = np.array(orientation, dtype=np.float64).reshape(2, 3)
        directions = np.stack([cosines[1] * float(spacing[0]), cosines[0] * float(spacing[1])], axis=1)
        if np.linalg.norm(np.cross(directions[:, 0], directions[:, 1])) <= 0:
            raise ImageError(f"{header.path}: pixel spacing or orientation is zero: {DAMAGED}.")
    slope = tag("RescaleSlope") if tag("RescaleSlope") is not None else tag("DoseGridScaling")
    return Frame(
        path=header.path,
        index=index,
        position=np.array(position, dtype=np.float64) if known else None,
        directions=directions,
        thickness_mm=float(tag("SpacingBetweenSlices") or tag("SliceThickness") or 1.0),
        slope=1.0 if slope is None else float(slope),
        intercept=float(tag("RescaleIntercept") or 0.0),
    )


def _shifted(frame: Frame, offset_mm: float) -> Frame:
    """A dose plane: the offset runs along the normal, rows x columns order."""
    if frame.position is None:
        return frame
    normal = np.cross(frame.directions[:, 1], frame.directions[:, 0])
    return dataclasses.replace(frame, position=frame.position + normal / np.linalg.norm(normal) * offset_mm)


def _position(frame: Frame) -> np.ndarray:
    return frame.position if frame.position is not None else np.zeros(3)


def _check_gaps(series: Series, frames: Sequence[Frame], positions: np.ndarray, normal: np.ndarray) -> None:
    steps = np.diff(positions, axis=0)
    gaps = steps @ normal
    usual = float(np.median(gaps))
    for index in np.flatnonzero(gaps < 1e-3).tolist():
        raise ImageError(
            f"{series.folder}: {frames[index].name} and {frames[index + 1].name} lie at the same place: remove the "
            "doubled files, or separate the phases or echoes into folders of their own."
        )
    tolerance = max(_GAP_TOLERANCE * usual, min(_ROUNDING_MM, 0.4 * usual))
    uneven: list[int] = np.flatnonzero(np.abs(gaps - usual) > tolerance).tolist()
    if uneven:
        listed = ", ".join(f"{frames[i].name} to {frames[i + 1].name}: {gaps[i]:.4g} mm" for i in uneven[:5])
        more = f" and {len(uneven) - 5} more" if len(uneven) > 5 else ""
        raise ImageError(
            f"{series.folder}: slices are unevenly spaced, usually {usual:.4g} mm, but {listed}{more}: add the missing "
            "slices, or remove the strays."
        )
    sideways = np.linalg.norm(steps - gaps[:, None] * normal, axis=1)
    tilt = math.degrees(math.atan2(float(np.median(sideways)), usual))
    if tilt > _TILT_DEGREES:
        raise ImageError(
            f"{series.folder}: the gantry is tilted by {tilt:.1f} degrees, slices shift sideways: straighten the "
            "series first (dcm2niix does)."
        )
