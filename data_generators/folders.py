"""Picture files and their masks as a source of samples."""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from data_generators.pairing import Files, list_pictures, pair_files, patients_of
from data_generators.pictures import PictureError, PictureOptions, mask_values, read_mask, read_pair, read_picture
from data_generators.sources import Sample

_MASKS_LOOKED_AT = 16
LOSSY = {".jpg", ".jpeg"}


class FolderSource:
    """Pictures of a folder, a pattern or a list, with masks or without.

    Args:
        images: Folder, pattern (`/data/*.jpg`) or list of files.
        masks: The same, or `None` where there are none; how they are paired: `pairing.pair_files`.
        options: What is done to each picture and mask.
        mask_suffix: What mask names end in.
        patient_pattern: Regular expression whose group 1 is the patient; `None`: every file is its own.

    Raises:
        PairingError: A missing or doubled partner, no file.
        PictureError: What the options say leaves no class of the masks (0 and 255 without `mask_divisor`), or masks are
            JPEG and there is no `mask_threshold`.
    """

    def __init__(
        self,
        images: Files,
        masks: Files | None = None,
        *,
        options: PictureOptions | None = None,
        mask_suffix: str | None = None,
        patient_pattern: str | None = None,
    ) -> None:
        self.options = options or PictureOptions()
        if masks is None:
            pairs = [(image, None) for image in list_pictures(images, key="IMAGES_PATH")]
        else:
            pairs = pair_files(images, masks, mask_suffix=mask_suffix)
        self.images: list[pathlib.Path] = [image for image, _ in pairs]
        self.masks: list[pathlib.Path | None] = [mask for _, mask in pairs]
        self.has_labels = masks is not None
        self.patients = patients_of(self.images, patient_pattern)
        self.shape = None if self.options.size is None else (*self.options.size, self.options.channels)
        self._check_mask_values()

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """The picture's file name."""
        return self.images[index].name

    def read(self, index: int) -> Sample:
        """Image `(h, w, channels)` float32 and label `(h, w, 1)` uint8, `None` without masks.

        Raises:
            PictureError: A file cannot be read, or picture and mask differ in size.
        """
        mask = self.masks[index]
        if mask is None:
            return read_picture(self.images[index], self.options), None
        return read_pair(self.images[index], mask, self.options)

    def select(self, indices: Sequence[int] | np.ndarray) -> "FolderSource":
        """The same source with these samples only, in this order."""
        chosen = object.__new__(FolderSource)
        chosen.__dict__.update({name: value for name, value in self.__dict__.items() if name != "_foreground"})
        chosen.images = [self.images[index] for index in indices]
        chosen.masks = [self.masks[index] for index in indices]
        chosen.patients = [self.patients[index] for index in indices]
        return chosen

    @property
    def foreground(self) -> np.ndarray:
        """Which masks hold a class other than 0 and 255; bool, `(len(self),)`. Reads every mask once."""
        return self._foreground

    @functools.cached_property
    def _foreground(self) -> np.ndarray:
        def holds(path: pathlib.Path | None) -> bool:
            if path is None:
                return False
            mask = read_mask(path, self.options)
            return bool(np.any((mask != 0) & (mask != 255)))

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.fromiter(pool.map(holds, self.masks), bool, len(self.masks))

    def _check_mask_values(self) -> None:
        """Looks at a few masks: what is said about their values must fit them, or training would see no class."""
        step = max(len(self.masks) // _MASKS_LOOKED_AT, 1)
        looked_at = [mask for mask in self.masks[::step][:_MASKS_LOOKED_AT] if mask is not None]
        if not looked_at:
            return
        _refuse_lossy(looked_at, self.options)
        stored = set[int]().union(*(mask_values(mask) for mask in looked_at))
        kept = set[int]().union(*(np.unique(read_mask(mask, self.options)).tolist() for mask in looked_at))
        if stored - {0} and kept <= {0, 255}:
            raise PictureError(
                f"The masks, such as {looked_at[0].name}, hold {_listed(stored)}, of which {_listed(kept)} is left: "
                f"0 is background and 255 ignored. {_remedy(stored)}"
            )


def _refuse_lossy(masks: Sequence[pathlib.Path], options: PictureOptions) -> None:
    lossy = [mask.name for mask in masks if mask.suffix.lower() in LOSSY]
    if lossy and options.mask_threshold is None:
        raise PictureError(
            f"The mask {lossy[0]} is a JPEG, whose values are not exact: set PREPROCESS_DATA.MASK_THRESHOLD=127 to "
            "make 0/1 of it, or save masks as PNG."
        )


def _remedy(stored: set[int]) -> str:
    if stored <= {0, 255}:
        return "Set PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True to read 255 as class 1."
    return "Correct PREPROCESS_DATA.NORMALIZE_MASK, PREPROCESS_DATA.MASK_THRESHOLD or DATASET.LABELS."


def _listed(values: set[int]) -> str:
    few = [str(value) for value in sorted(values)[:8]]
    return ", ".join(few) + (" and more" if len(values) > 8 else "")
