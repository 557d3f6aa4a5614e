"""Pieces cut out of pictures at random places."""

import functools
from collections.abc import Sequence

import numpy as np

from data_generators.folders import FolderSource
from data_generators.patches import overlap, patch_around, random_corner
from data_generators.sources import Sample

_KEPT = 32  # decoded pictures


class CutSource:
    """Random cuts of the pictures of a folder; pictures may differ in size.

    Args:
        pictures: Where they come from.
        size: `(h, w)` of a cut.
        max_class_share: A cut of which one class takes more than this share is drawn again.
        attempts: How often; the last cut is kept as it is.
        outside_label: Label outside the picture; the image is 0 there.
    """

    foreground_share = 0.0

    def __init__(
        self,
        pictures: FolderSource,
        *,
        size: Sequence[int],
        max_class_share: float = 1.0,
        attempts: int = 10,
        outside_label: int = 0,
    ) -> None:
        if len(size) != 2:
            raise ValueError(f"AUGMENTATION.CROP.SIZE is {list(size)}: give [height, width].")
        self.pictures = pictures
        self.patch = tuple(size)
        self.max_class_share = max_class_share
        self.attempts = attempts
        self.outside_label = outside_label
        self.has_labels = pictures.has_labels
        self.shape: tuple[int, ...] | None = (*self.patch, pictures.options.channels)
        self.read = functools.lru_cache(maxsize=_KEPT)(pictures.read)

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        """The picture's file name."""
        return self.pictures.name(index)

    @property
    def foreground(self) -> np.ndarray:
        """Which pictures hold foreground; bool, `(len(self),)`."""
        return self.pictures.foreground

    def draw(
        self, index: int, rng: np.random.Generator, *, foreground: bool, shape: Sequence[int] | None = None
    ) -> Sample:
        """A random cut of picture `index`; arguments as in `PatchSource.draw`."""
        image, label = self.read(index)
        corner = self._corner(image, label, rng, foreground=foreground)
        wanted = self.patch if shape is None else tuple(shape)
        start = [low - (size - side) // 2 for low, size, side in zip(corner, wanted, self.patch, strict=True)]
        cut = cut_out(image, start, wanted, outside=0)
        return cut, None if label is None else cut_out(label, start, wanted, outside=self.outside_label)

    def _corner(
        self, image: np.ndarray, label: np.ndarray | None, rng: np.random.Generator, *, foreground: bool
    ) -> list[int]:
        size = image.shape[:2]
        if label is None:
            return random_corner(rng, self.patch, size)
        if foreground:
            found = np.flatnonzero((label != 0) & (label != 255))
            if len(found):
                place = np.unravel_index(found[rng.integers(len(found))], size)
                return patch_around([int(axis) for axis in place], self.patch, size)
        corner = random_corner(rng, self.patch, size)
        for _ in range(self.attempts if self.max_class_share < 1.0 else 0):
            inside = cut_out(label, corner, self.patch, outside=255)
            counts = np.bincount(inside.ravel(), minlength=256)[:255]
            if np.count_nonzero(counts) > 1 and counts.max() < self.max_class_share * counts.sum():
                break
            corner = random_corner(rng, self.patch, size)
        return corner


def cut_out(array: np.ndarray, start: Sequence[int], shape: Sequence[int], *, outside: int) -> np.ndarray:
    """A box of `(h, w, c)` that may hang over its edges; a copy."""
    whole = np.full((*shape, array.shape[-1]), outside, array.dtype)
    inside, place = overlap(start, shape, array.shape)
    whole[place] = array[inside]
    return whole
