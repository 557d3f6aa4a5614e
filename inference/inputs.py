"""What there is to predict: pictures and volumes in files, folders and lists, with or without masks."""

import logging
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from data_generators.pairing import pair_files
from imaging import find_images, natural_key, read_grid
from imaging.paths import ARCHIVES, DICOM, PICTURES, stem_of, suffix_of
from inference.channels import ChannelFiles, channel_files

Paths = pathlib.Path | Sequence[pathlib.Path | Sequence[pathlib.Path]]
Kind = Literal["picture", "volume"]

_LOG = logging.getLogger(__name__)
_PARTNERS = (("", ""), ("image", "mask"), ("volume", "segmentation"), ("image", "label"))
_SEVERAL_PAGES = (".tif", ".tiff", ".gif")


class InputError(ValueError):
    """There is nothing to predict, or masks do not fit; one line with the remedy."""


@dataclass(frozen=True)
class Item:
    """One thing to predict.

    Attributes:
        name: Unique; what its results are called.
        path: File, or folder of a DICOM series; of several files that of the first channel.
        kind: A picture is one plane without geometry.
        mask: Its reference, or None.
        others: Files of the further channels, in order.
        problem: Why it cannot be read; empty where nothing is known against it.
    """

    name: str
    path: pathlib.Path
    kind: Kind
    mask: pathlib.Path | None = None
    others: tuple[pathlib.Path, ...] = ()
    problem: str = ""

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        """All its files, one per channel or one with all of them."""
        return (self.path, *self.others)


def find_items(images: Paths, masks: Paths | None = None, *, channels: Sequence[str] = ("",)) -> list[Item]:
    """Everything to predict, in natural order (a list keeps its own).

    A folder holds pictures and volumes, or is itself a DICOM series, or holds folders that are. Files called
    `CASE_0000`, `CASE_0001` and so on (nnU-Net's way) are the channels of one case; so are the files of a list within
    the list. A case whose channels are not complete carries the problem, and the others go on. Two lists are paired in
    order. Otherwise the mask of a picture or volume is called like it, with `image` replaced by `mask` or `label`, or
    `volume` by `segmentation`. Masks that lie between the images are not predicted.

    Args:
        images: File, folder or list.
        masks: The same, or None.
        channels: Names of the network's modalities.

    Raises:
        InputError: A path does not exist, nothing is found, masks are missing or too many, or two results would have
            one name.
        PairingError: Pictures and masks that do not fit together.
    """
    paths = _listed(images, "INPUT_PATH or DATASET.VAL.IMAGES_PATH")
    found = [] if masks is None else _flat(_listed(masks, "DATASET.VAL.MASK_PATH"))
    items = [_item(case) for case in channel_files(_without_masks(paths, set(found)), channels)]
    if not items:
        raise InputError(f"There is nothing to predict in {images}: give a file, a folder or a list of images.")
    if masks is not None and not found:
        raise InputError(f"There is no mask in {masks}: type DATASET.VAL.MASK_PATH=<folder or list>, or None.")
    if found:
        items = _paired(items, images, masks, found)
    return _named(items)


def kind_of(path: pathlib.Path) -> Kind:
    """Whether a path is a picture (one plane) or a volume, by its suffix; TIF and GIF are asked for their pages."""
    suffix = suffix_of(path)
    if path.is_dir() or suffix not in PICTURES:
        return "volume"
    return "volume" if suffix in _SEVERAL_PAGES and read_grid(path).shape[0] > 1 else "picture"


def _item(case: ChannelFiles) -> Item:
    first, *others = case.files
    return Item(case.name, first, kind_of(first), others=tuple(others), problem=case.problem)


def _listed(paths: Paths, key: str) -> list[pathlib.Path | Sequence[pathlib.Path]]:
    if isinstance(paths, pathlib.Path):
        if not paths.exists():
            raise InputError(f"{paths} does not exist: type {key}=<file, folder or list>.")
        return [*_in_folder(paths)] if paths.is_dir() else [paths]
    missing = [str(path) for path in _flat(paths) if not path.exists()]
    if missing:
        raise InputError(f"{', '.join(missing[:5])} of the list does not exist: correct {key}.")
    return list(paths)


def _flat(paths: Sequence[pathlib.Path | Sequence[pathlib.Path]]) -> list[pathlib.Path]:
    return [file for path in paths for file in ([path] if isinstance(path, pathlib.Path) else path)]


def _in_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    """Images and archives of a folder; else the folder as a DICOM series; else the folders in it."""
    visible = sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: natural_key(path.name)
    )
    images = [path for path in find_images(folder) if suffix_of(path) not in DICOM]
    images += [path for path in visible if path.is_file() and suffix_of(path) in ARCHIVES]
    if images:
        return sorted(images, key=lambda path: natural_key(path.name))
    files = [path for path in visible if path.is_file()]
    return [folder] if files else [path for path in visible if path.is_dir()]


def _without_masks(
    paths: list[pathlib.Path | Sequence[pathlib.Path]], masks: set[pathlib.Path]
) -> list[pathlib.Path | Sequence[pathlib.Path]]:
    """Leaves out references that lie beside their images, such as segmentation-1.nii beside volume-1.nii."""
    single = [path for path in paths if isinstance(path, pathlib.Path)]
    stems = {stem_of(path) for path in single}
    names = {stem.replace(word, other, 1) for stem in stems for word, other in _PARTNERS[1:] if word in stem} & stems
    left_out = [path for path in single if stem_of(path) in names or (path in masks and len(masks) < len(paths))]
    if left_out and len(left_out) < len(paths):
        _LOG.info("%d files are references of others and are not predicted.", len(left_out))
        return [path for path in paths if path not in left_out]
    return paths


def _paired(items: list[Item], images: Paths, masks: Paths | None, found: list[pathlib.Path]) -> list[Item]:
    by_order = not isinstance(images, pathlib.Path) and not isinstance(masks, pathlib.Path)
    if by_order or len(items) == len(found) == 1:
        if len(items) != len(found):
            raise InputError(f"There are {len(items)} images and {len(found)} masks: list them in the same order.")
        return [replace(item, mask=mask) for item, mask in zip(items, found, strict=True)]
    if isinstance(masks, pathlib.Path) and all(item.kind == "picture" for item in items):
        pairs = dict(pair_files([item.path for item in items], masks))
        return [replace(item, mask=pairs[item.path]) for item in items]
    by_stem = {stem_of(path): path for path in found}
    return [replace(item, mask=_partner(item, by_stem)) for item in items]


def _partner(item: Item, by_stem: dict[str, pathlib.Path]) -> pathlib.Path:
    for word, other in _PARTNERS:
        name = item.name.replace(word, other, 1) if word else item.name
        if name in by_stem and by_stem[name] != item.path:
            return by_stem[name]
    raise InputError(
        f"No mask for {item.path.name}: it is called like its image, or segmentation-N for volume-N; for other names "
        "give two lists, or type DATASET.VAL.MASK_PATH=None."
    )


def _named(items: list[Item]) -> list[Item]:
    names = [item.name for item in items]
    if len(set(names)) == len(names):
        return items
    longer = [replace(item, name=f"{item.path.parent.name}_{item.name}") for item in items]
    doubled = sorted({item.name for item in longer if [other.name for other in longer].count(item.name) > 1})
    if doubled:
        raise InputError(
            f"Several inputs are called {', '.join(doubled[:5])}: rename them, their results would collide."
        )
    return longer
