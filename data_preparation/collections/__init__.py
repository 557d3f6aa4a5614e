"""Collections by name. A new one is a module with an `open_...` function and a line in the table."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping

from data_generators.manifest import Manifest
from data_preparation.collections.abdomen import open_btcv, open_synapse
from data_preparation.collections.acdc import open_acdc, read_frame_label
from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    with_threshold,
)
from data_preparation.collections.brats import open_brats
from data_preparation.collections.chase_db1 import LAYOUT as CHASE_DB1
from data_preparation.collections.chase_db1 import open_chase_db1
from data_preparation.collections.drive import LAYOUT as DRIVE
from data_preparation.collections.drive import open_drive
from data_preparation.collections.dsb2018 import open_dsb2018, read_merged
from data_preparation.collections.hrf import LAYOUT as HRF
from data_preparation.collections.hrf import open_hrf
from data_preparation.collections.image_folder import open_image_folder
from data_preparation.collections.ircad import open_ircad, read_masks
from data_preparation.collections.isbi2012 import open_isbi2012, read_membranes
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.lits import open_lits
from data_preparation.collections.lung import open_lung
from data_preparation.collections.msd import open_msd
from data_preparation.collections.nnunet_raw import open_nnunet_raw
from data_preparation.collections.retina import Layout, read_observer
from data_preparation.collections.stare import LAYOUT as STARE
from data_preparation.collections.stare import open_stare
from data_preparation.collections.volume_folder import open_volume_folder
from imaging import Volume

RETINA: Mapping[str, Layout] = {layout.name: layout for layout in (DRIVE, STARE, CHASE_DB1, HRF)}

__all__ = [
    "COLLECTIONS",
    "RETINA",
    "CaseSource",
    "Collection",
    "Finding",
    "PreparationError",
    "SourceOptions",
    "open_collection",
    "original_label_reader",
]


def open_phantom(options: SourceOptions) -> Collection:
    """The synthetic volumes, read exactly as LiTS is."""
    return dataclasses.replace(open_lits(options), name="phantom", licence="synthetic, free of rights")


COLLECTIONS: Mapping[str, Callable[[SourceOptions], Collection]] = {
    "lits": open_lits,
    "phantom": open_phantom,
    "ircad": open_ircad,
    "image_folder": open_image_folder,
    "chase_db1": open_chase_db1,
    "drive": open_drive,
    "dsb2018": open_dsb2018,
    "hrf": open_hrf,
    "isbi2012": open_isbi2012,
    "stare": open_stare,
    "msd": open_msd,
    "nnunet_raw": open_nnunet_raw,
    "volume_folder": open_volume_folder,
    "acdc": open_acdc,
    "brats": open_brats,
    "btcv": open_btcv,
    "lung": open_lung,
    "synapse": open_synapse,
}


def open_collection(name: str, options: SourceOptions) -> Collection:
    """Finds a collection's cases on disk.

    Raises:
        PreparationError: The name is unknown, or nothing was found; says what to type.
    """
    if name not in COLLECTIONS:
        close = difflib.get_close_matches(name, COLLECTIONS, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise PreparationError(f"DATASET.COLLECTION={name} is unknown.{hint} Type one of {', '.join(COLLECTIONS)}.")
    return COLLECTIONS[name](options)


def original_label_reader(
    manifest: Manifest, *, mask_threshold: int | None = None
) -> Callable[[CaseSource], Volume | None]:
    """How the published labels of a prepared collection are read: the way its preparation read them.

    Args:
        manifest: Of the prepared collection.
        mask_threshold: For collections of grey masks.
    """
    own: dict[str, Callable[[CaseSource], Volume | None]] = {
        "ircad": read_masks,
        "acdc": read_frame_label,
        "dsb2018": read_merged,
        "isbi2012": read_membranes,
        **{name: functools.partial(read_observer, layout=layout) for name, layout in RETINA.items()},
    }
    values = manifest.preparation.get("label_values")
    if manifest.collection in own:
        return own[manifest.collection]
    return with_threshold(mask_threshold) if values is None else LabelReader(manifest.labels, **values)
