"""Where samples come from: the protocol every loader reads through, and slices of prepared volumes."""

import functools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeGuard, runtime_checkable

import cv2
import numpy as np

from data_generators.halves import stack_planes
from data_generators.labels import foreground_slices
from data_generators.manifest import ManifestError, load_manifest
from data_generators.records import Case

Sample = tuple[np.ndarray, np.ndarray | None]
OPEN_FILES = 400


@runtime_checkable
class Source(Protocol):
    """Samples by number.

    `shape` is `(*s, c)` of every image, or `None` where images may differ. `has_labels` says whether `read` gives
    labels; without them it gives `None`.
    """

    shape: tuple[int, ...] | None
    has_labels: bool

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, index: int) -> Sample:
        """Image `(*s, c)` float32 and label `(*s, 1)` uint8, both the caller's to change."""
        ...

    def name(self, index: int) -> str:
        """What the sample is called in messages and tables."""
        ...

    @property
    def foreground(self) -> np.ndarray:
        """Which samples hold foreground; bool, `(len(self),)`."""
        ...


class RandomSource(Source, Protocol):
    """A source that cuts patches at random places; `read` gives one fixed patch, or the whole.

    `patch` is the spatial shape of a patch, `foreground_share` the usual share of patches around foreground.
    """

    patch: tuple[int, ...]
    foreground_share: float

    def draw(
        self, index: int, rng: np.random.Generator, *, foreground: bool, shape: Sequence[int] | None = None
    ) -> Sample:
        """A patch of sample `index`, in the middle of a region of spatial shape `shape`."""
        ...


def is_random(source: Source) -> TypeGuard[RandomSource]:
    """Whether a source cuts patches at random."""
    return hasattr(source, "draw")


def open_array(path: pathlib.Path) -> np.ndarray:
    """A `.npy` file mapped into memory, read only; the last `OPEN_FILES` stay open.

    Raises:
        ManifestError: The file is missing or damaged.
    """
    try:
        return _mapped(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, EOFError) as error:
        raise ManifestError(
            f"{path} cannot be read ({error}): run prepare.py again, it redoes only this case."
        ) from error


@functools.lru_cache(maxsize=OPEN_FILES)
def _mapped(path: pathlib.Path, written: int) -> np.ndarray:  # noqa: ARG001 (a file written anew is mapped anew)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def write_slice_stack(volume: np.ndarray, index: int, out: np.ndarray) -> None:
    """Writes slice `index` with its neighbours as channels; beyond the ends the last slice is repeated.

    Args:
        volume: `(d, h, w, c)`, any real type.
        index: The centre slice.
        out: Where to write, `(h, w, n * c)` float32, contiguous, `n` odd: channel `k * c + j` is channel `j` of slice
            `index + k - n // 2`.
    """
    reach = out.shape[-1] // volume.shape[-1] // 2
    last = volume.shape[0] - 1
    stack_planes([volume[min(max(place, 0), last)] for place in range(index - reach, index + reach + 1)], out)


class SliceSource:
    """Slices of prepared volumes, each with its neighbours as channels (2.5D), and the label of the centre slice.

    Volumes stay on disk, mapped into memory; a sample reads `slices` slices and nothing else.

    Args:
        root: The prepared collection.
        case_ids: Cases in order; `None` takes all of them.
        slices: Neighbouring slices that make up the channels, odd; 1 is plain 2D.
        label_table: uint8, `(256,)`, from stored values to classes (`labels.label_lut`); `None` keeps them.
        foreground_values: Stored label values that count as foreground for sampling; `None` takes every value that
            the table sends to a class other than 0 and 255.

    Raises:
        ManifestError: The collection or a case does not exist, or cases differ in their channels.
        ValueError: `slices` is even or below 1.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        case_ids: Iterable[str] | None = None,
        *,
        slices: int = 3,
        label_table: np.ndarray | None = None,
        foreground_values: Sequence[int] | None = None,
    ) -> None:
        if slices < 1 or slices % 2 == 0:
            raise ValueError(f"INPUT.SLICES is {slices}: give an odd number, 1 for plain 2D, 3 for both neighbours.")
        self.root = pathlib.Path(root)
        self.slices = slices
        self.label_table = identity_table() if label_table is None else np.asarray(label_table, np.uint8)
        self.cases = select_cases(self.root, case_ids)
        self.foreground_values = foreground_of(self.label_table, foreground_values)
        self.has_labels = all(case.label is not None for case in self.cases)
        self.shape = self._common_shape()
        self._ends = np.cumsum([case.shape[0] for case in self.cases])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int) -> tuple[Case, int]:
        """The case that sample `index` belongs to, and its slice there."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        place = int(np.searchsorted(self._ends, index, side="right"))
        case = self.cases[place]
        return case, index - (int(self._ends[place]) - case.shape[0])

    def name(self, index: int) -> str:
        """`<case>_<slice>`, slices counted from 0."""
        case, place = self.locate(index)
        return f"{case.id}_{place}"

    def shape_of(self, index: int) -> tuple[int, int, int]:
        """`(h, w, c)` of one image."""
        case, _ = self.locate(index)
        return (case.shape[1], case.shape[2], case.channels * self.slices)

    def read(self, index: int) -> Sample:
        """Image `(h, w, slices * c)` float32 and label `(h, w, 1)` uint8, `None` without labels."""
        image = np.empty(self.shape_of(index), np.float32)
        label = np.empty((*image.shape[:2], 1), np.uint8) if self.has_labels else None
        self.read_into(index, image, label)
        return image, label

    def read_into(self, index: int, image: np.ndarray, label: np.ndarray | None) -> None:
        """Like `read`, into arrays of the right shape; nothing is allocated."""
        case, place = self.locate(index)
        write_slice_stack(open_array(self.root / case.image), place, image)
        if label is not None and case.label is not None:
            cv2.LUT(open_array(self.root / case.label)[place], self.label_table, label[..., 0])

    @property
    def foreground(self) -> np.ndarray:
        """Which slices hold foreground, from the collection's index; bool, `(len(self),)`."""
        return self._foreground

    @functools.cached_property
    def _foreground(self) -> np.ndarray:
        return np.concatenate([foreground_slices(self.root, case, self.foreground_values) for case in self.cases])

    def _common_shape(self) -> tuple[int, int, int] | None:
        channels = {case.channels for case in self.cases}
        if len(channels) > 1:
            raise ManifestError(f"Cases of {self.root} differ in channels ({sorted(channels)}): prepare them alike.")
        sizes = {case.shape[1:] for case in self.cases}
        return (*sizes.pop(), channels.pop() * self.slices) if len(sizes) == 1 else None


def select_cases(root: pathlib.Path, case_ids: Iterable[str] | None) -> tuple[Case, ...]:
    """Cases of a prepared collection in the order asked for; `ManifestError` where one is unknown or there is none."""
    manifest = load_manifest(root)
    cases = manifest.cases if case_ids is None else tuple(manifest.case(case_id) for case_id in case_ids)
    if not cases:
        raise ManifestError(f"No case of {root} was asked for: check this part of its splits.json.")
    return cases


def identity_table() -> np.ndarray:
    """The label table that changes nothing; uint8, `(256,)`."""
    return np.arange(256, dtype=np.uint8)


def foreground_of(table: np.ndarray, values: Sequence[int] | None) -> tuple[int, ...]:
    """Stored label values that count as foreground: those given, else all that become a class."""
    if values is not None:
        return tuple(values)
    return tuple(int(value) for value in np.flatnonzero((table != 0) & (table != 255)))
