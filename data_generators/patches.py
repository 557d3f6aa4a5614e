"""Patches at random places of prepared volumes, with foreground as often as asked for."""

import functools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from data_generators.halves import stack_planes, widen
from data_generators.labels import foreground_voxels
from data_generators.records import IGNORE, Case
from data_generators.sources import Sample, foreground_of, identity_table, open_array, select_cases

if TYPE_CHECKING:
    from data_generators.previous import PreviousStage

_ATTEMPTS = 10


class PatchSource:
    """Patches of prepared volumes, 3D or single slices (with neighbours as channels).

    Where patches lie follows nnU-Net: without foreground anywhere inside the volume; with foreground around a voxel of
    a class, the class uniform among those the case holds, the voxel uniform in the sample of them that the preparation
    stored. Patches stay inside the volume, at both ends of every axis; one that is longer than the volume is centred.
    Around the patch as much more is read as asked for, so that rotation has something to turn in; outside the volume
    the image is 0 and the label `outside_label`. Only the region asked for is read from disk.

    Args:
        root: The prepared collection.
        case_ids: Cases in order; `None` takes all of them.
        patch: `(d, h, w)`, or `(h, w)` for slices.
        slices: Neighbouring slices as channels of a 2D patch, odd.
        label_table: uint8, `(256,)`, from stored values to classes; `None` keeps them.
        outside_label: Label outside the volume.
        previous: What an earlier network said of the cases; `finish` makes further channels of it.

    Raises:
        ManifestError: The collection or a case does not exist, or no label was prepared.
        ValueError: The patch has neither two nor three sides.
    """

    foreground_share = 0.33

    def __init__(
        self,
        root: str | os.PathLike[str],
        case_ids: Iterable[str] | None = None,
        *,
        patch: Sequence[int],
        slices: int = 1,
        label_table: np.ndarray | None = None,
        outside_label: int = 0,
        previous: "PreviousStage | None" = None,
    ) -> None:
        if len(patch) not in (2, 3) or min(patch) < 1 or (slices != 1 and len(patch) == 3) or slices % 2 == 0:
            raise ValueError(
                f"INPUT.PATCH is {list(patch)} with INPUT.SLICES={slices}: give [depth, height, width] and one slice, "
                "or [height, width] and an odd number of slices."
            )
        self.root = pathlib.Path(root)
        self.patch = tuple(patch)
        self.slices = slices
        self.cases = select_cases(self.root, case_ids)
        self.label_table = identity_table() if label_table is None else np.asarray(label_table, np.uint8)
        self.outside_label = outside_label
        self.has_labels = all(case.label is not None for case in self.cases)
        self.previous = previous
        further = 0 if previous is None else previous.classes
        self.shape: tuple[int, ...] | None = (*self.patch, self.cases[0].channels * slices + further)
        self._voxels = functools.lru_cache(maxsize=None)(self._load_voxels)

    def __len__(self) -> int:
        return len(self.cases)

    def name(self, index: int) -> str:
        """The case's id."""
        return self.cases[index].id

    @property
    def foreground(self) -> np.ndarray:
        """Which cases hold foreground; bool, `(len(self),)`."""
        values = foreground_of(self.label_table, None)
        return np.array([any(case.voxels.get(value, 0) for value in values) for case in self.cases], bool)

    def read(self, index: int) -> Sample:
        """The patch at the centre of case `index`."""
        corner = [(size - side) // 2 for size, side in zip(self.cases[index].shape, self._box, strict=True)]
        return self._region(self.cases[index], corner, self._box)

    def draw(
        self, index: int, rng: np.random.Generator, *, foreground: bool, shape: Sequence[int] | None = None
    ) -> Sample:
        """A random patch of case `index`.

        Args:
            index: The case.
            rng: Where randomness comes from.
            foreground: Around a foreground voxel, where the case has one.
            shape: What is read, centred on the patch, with as many sides; `None` reads the patch.

        Returns:
            Image `(*shape, c)` float32 and label `(*shape, 1)` uint8; with an earlier network its classes are the
            last channel of the label, until `finish`.
        """
        case = self.cases[index]
        corner = self._corner(case, rng, foreground=foreground)
        wanted = self._box if shape is None else (*self._box[: 3 - len(shape)], *shape)
        start = [low - (size - side) // 2 for low, size, side in zip(corner, wanted, self._box, strict=True)]
        return self._region(case, start, wanted)

    def finish(self, image: np.ndarray, label: np.ndarray | None, rng: np.random.Generator) -> Sample:
        """A sample as the network takes it, from one that was drawn and augmented."""
        if self.previous is None or label is None:
            return image, label
        return self.previous.finish(image, label, rng)

    @property
    def _box(self) -> tuple[int, ...]:
        return (1,) * (3 - len(self.patch)) + self.patch

    def _corner(self, case: Case, rng: np.random.Generator, *, foreground: bool) -> list[int]:
        classes = self._voxels(case.id) if foreground else []
        if classes:
            voxels = classes[rng.integers(len(classes))]
            return patch_around(voxels[rng.integers(len(voxels))], self._box, case.shape)
        corner = random_corner(rng, self._box, case.shape)
        for _ in range(_ATTEMPTS):
            if not self._is_ignored(case, corner):
                break
            corner = random_corner(rng, self._box, case.shape)
        return corner

    def _is_ignored(self, case: Case, corner: Sequence[int]) -> bool:
        """Whether the patch's centre is a voxel that no loss sees."""
        ignored = np.flatnonzero(self.label_table == IGNORE)
        if case.label is None or not any(case.voxels.get(int(value), 0) for value in ignored):
            return False
        centre = [
            min(max(low + side // 2, 0), size - 1)
            for low, side, size in zip(corner, self._box, case.shape, strict=True)
        ]
        return bool(self.label_table[open_array(self.root / case.label)[tuple(centre)]] == IGNORE)

    def _load_voxels(self, case_id: str) -> list[np.ndarray]:
        """Per class that the case holds, the stored sample of its voxels, `(n, 3)`."""
        case = next(case for case in self.cases if case.id == case_id)
        held = [value for value in foreground_of(self.label_table, None) if case.voxels.get(value, 0)]
        by_class: dict[int, list[np.ndarray]] = {}
        for value in held:
            by_class.setdefault(int(self.label_table[value]), []).append(foreground_voxels(self.root, case, value))
        return [np.concatenate(found) for _, found in sorted(by_class.items())]

    def _region(self, case: Case, start: Sequence[int], shape: Sequence[int]) -> Sample:
        image = read_region(open_array(self.root / case.image), start, shape, slices=self.slices)
        label = None
        if self.has_labels and case.label is not None:
            label = read_label_region(
                open_array(self.root / case.label), start, shape, table=self.label_table, outside=self.outside_label
            )
        if self.previous is not None:
            found = self.previous.region(case, start, shape)
            label = found if label is None else np.concatenate([label, found], axis=-1)
        if len(self.patch) == 2:
            return image[0], None if label is None else label[0]
        return image, label


def random_corner(rng: np.random.Generator, patch: Sequence[int], size: Sequence[int]) -> list[int]:
    """Lowest corner of a patch anywhere inside a volume; centred along axes where the patch is longer."""
    return [
        int(rng.integers(whole - side + 1)) if whole > side else (whole - side) // 2
        for side, whole in zip(patch, size, strict=True)
    ]


def patch_around(voxel: Sequence[int] | np.ndarray, patch: Sequence[int], size: Sequence[int]) -> list[int]:
    """Lowest corner of the patch centred on a voxel, moved so far that it lies inside the volume."""
    return [
        min(max(int(place) - side // 2, 0), whole - side) if whole > side else (whole - side) // 2
        for place, side, whole in zip(voxel, patch, size, strict=True)
    ]


def read_region(volume: np.ndarray, start: Sequence[int], shape: Sequence[int], *, slices: int = 1) -> np.ndarray:
    """A box of `(d, h, w, c)`, which may hang over its edges, as float32; 0 outside.

    With `slices > 1` the box is one slice deep, and its neighbours (the last one repeated) are further channels.
    """
    inside, place = overlap(start, shape, volume.shape)
    held = tuple(part.stop - part.start for part in inside)
    found = np.empty((*held, volume.shape[-1] * slices), np.float32)
    if slices == 1:
        widen(volume[inside], found)
    elif found.size:
        near = range(start[0] - slices // 2, start[0] + slices // 2 + 1)
        planes = [volume[min(max(number, 0), len(volume) - 1)][inside[1:]] for number in near]
        stack_planes(planes, found[0])
    if held == tuple(shape):
        return found
    whole = np.zeros((*shape, found.shape[-1]), np.float32)
    whole[place] = found
    return whole


def read_label_region(
    labels: np.ndarray, start: Sequence[int], shape: Sequence[int], *, table: np.ndarray, outside: int
) -> np.ndarray:
    """The same box of `(d, h, w)` labels as classes, `(*shape, 1)` uint8; `outside` outside."""
    inside, place = overlap(start, shape, labels.shape)
    whole = np.full((*shape, 1), outside, np.uint8)
    cut = np.ascontiguousarray(labels[inside])
    if cut.size:
        whole[(*place, 0)] = cv2.LUT(cut.reshape(len(cut), -1), table).reshape(cut.shape)
    return whole


def overlap(
    start: Sequence[int], shape: Sequence[int], size: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a box and a volume meet: `(part of the volume, part of the box)`."""
    lows = [min(max(low, 0), whole) for low, whole in zip(start, size, strict=False)]
    highs = [
        max(min(low + side, whole), first) for low, side, whole, first in zip(start, shape, size, lows, strict=False)
    ]
    inside = tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))
    place = tuple(slice(low - first, high - first) for low, high, first in zip(lows, highs, start, strict=True))
    return inside, place
