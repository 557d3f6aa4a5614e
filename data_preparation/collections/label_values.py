"""Labels as whole numbers that the collection knows: rounding noise of float files, and values that are no label."""

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np

from data_preparation.collections.base import CaseSource, PreparationError
from imaging import ImageError, Volume, read_volume

IGNORE = 255
ROUNDING = 1e-2
STRAY_RULES = ("refuse", "ignore", "background")
_SHOWN = 6
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LabelReader:
    """Reads the label of a case and makes it whole.

    Values within 0.01 of a known one are that one: float files hold 0.9999999 for 1. Every other value is a stray one:
    `refuse` raises, `ignore` makes it 255, which no loss and no metric sees, `background` makes it 0. Both are logged
    with the case, the values and the number of voxels: nothing changes silently.

    Attributes:
        labels: Known values and their names.
        stray: What becomes of other values.
        ignored: Value of the published files that means "not annotated"; it becomes 255.

    Raises:
        PreparationError: A known value that a byte does not hold.
    """

    labels: Mapping[int, str]
    stray: str = "refuse"
    ignored: int | None = None

    def __post_init__(self) -> None:
        beyond = [value for value in self.labels if not 0 <= value <= IGNORE]
        if beyond:
            raise PreparationError(
                f"Label {beyond[0]} ({self.labels[beyond[0]]}) cannot be stored: labels are 0 to 254, and 255 for "
                "ignored voxels. Renumber the label files."
            )

    def __call__(self, case: CaseSource) -> Volume | None:
        """uint8 label of the case, or `None` where it has none.

        Raises:
            ImageError: The file cannot be read, has several channels, NaN, or stray values that are refused.
        """
        if case.label is None:
            return None
        return self.tidy(read_volume(case.label), case.id)

    def tidy(self, volume: Volume, case_id: str) -> Volume:
        """The label as uint8; errors as `__call__`."""
        if volume.array.ndim == 4:
            raise ImageError(
                f"{volume.source}: case {case_id} has a label of four axes, {volume.channels} channels or points in "
                "time; a label is one volume of label values: export it again, or merge them."
            )
        array = volume.array
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ImageError(
                f"{volume.source}: case {case_id} holds NaN or infinite label values: replace them by 0, or by the "
                "value of the ignored label."
            )
        whole = np.rint(array) if array.dtype.kind == "f" else array
        known = [value for value in self.labels if value != IGNORE] + ([] if self.ignored is None else [self.ignored])
        strange = ~np.isin(whole, known)
        if array.dtype.kind == "f":
            strange |= np.abs(array - whole) > ROUNDING
        result = np.where(strange, 0, whole).astype(np.uint8)
        if self.ignored is not None:
            result[(whole == self.ignored) & ~strange] = IGNORE
        if strange.any():
            self._judge(volume, case_id, array[strange])
            result[strange] = IGNORE if self.stray == "ignore" else 0
        return dataclasses.replace(volume, array=result)

    def _judge(self, volume: Volume, case_id: str, values: np.ndarray) -> None:
        found = np.unique(values)
        shown = ", ".join(f"{value:g}" for value in found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        said = f"{volume.source}: case {case_id} has {values.size} voxels of unexpected label values {shown}"
        listed = ", ".join(f"{value} = {name}" for value, name in sorted(self.labels.items()))
        if self.stray == "refuse":
            raise ImageError(
                f"{said}; this collection has {listed}. Correct the label, or type DATA_PREPARATION.STRAY_LABELS=ignore"
                " (no loss and no metric sees them) or =background."
            )
        _log.warning("%s: they are %s.", said, "ignored" if self.stray == "ignore" else "background")
