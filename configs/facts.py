"""Turns a configuration into plain facts: no room below the scripts sees a configuration."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from configs.errors import ConfigError
from configs.schema import Config

LOW, CASCADE = "3d_lowres", "3d_cascade_fullres"


@dataclass(frozen=True)
class ImageFiles:
    """Image files without preparation: folders or lists, masks may be missing."""

    images: pathlib.Path | list[pathlib.Path]
    masks: pathlib.Path | list[pathlib.Path] | None


def plain(node: Any) -> Any:
    """A configuration node as plain dicts and lists, interpolations resolved; other values as they are."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def options(section: DictConfig, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """An open section as keyword arguments.

    Args:
        section: Such as `cfg.MODEL`.
        without: Upper-case keys to leave out.

    Returns:
        Lower-case names and plain values.
    """
    return {str(name).lower(): value for name, value in plain(section).items() if name not in without}


def model_choice(cfg: DictConfig) -> tuple[str, dict[str, Any]]:
    """The type and the options of `models.build_model`, without the input shape and the number of classes.

    `MODEL.BACKBONE.TYPE` and `.WEIGHTS` become `backbone` and `backbone_weights` when they are set.
    """
    chosen = options(cfg.MODEL, without=("TYPE", "WEIGHTS_FILE_NAME", "BACKBONE"))
    backbone = cfg.MODEL.BACKBONE
    if backbone.get("TYPE") is not None:
        chosen["backbone"] = backbone.TYPE
    if backbone.get("WEIGHTS") is not None:
        chosen["backbone_weights"] = backbone.WEIGHTS
    return str(cfg.MODEL.TYPE), chosen


def plan_changes(cfg: DictConfig) -> dict[str, Any]:
    """Lines of the plan to change; a line that is null stays as planned."""
    return {name: value for name, value in plain(cfg.PLAN).items() if value is not None}


def place(cfg: DictConfig, path: str | pathlib.Path) -> pathlib.Path:
    """Where a configured path lies.

    An existing absolute path is itself; anything else lies under `WORK_DIR`, a leading slash notwithstanding (so that
    `/data/train/images` means `WORK_DIR/data/train/images`, as it always did).
    """
    given = pathlib.Path(path).expanduser()
    if given.is_absolute() and given.exists():
        return given
    root = pathlib.Path(cfg.WORK_DIR).expanduser().resolve()
    return root / str(given).lstrip("/") if str(given).startswith("/") else root / given


def places(cfg: DictConfig, value: Any) -> pathlib.Path | list[pathlib.Path] | None:
    """`place` of a folder or of each file of a list; `None` stays `None`."""
    if value is None:
        return None
    if isinstance(value, str):
        return place(cfg, value)
    return [place(cfg, item) for item in plain(value)]


def checkpoint_folder(cfg: DictConfig, run: pathlib.Path) -> pathlib.Path:
    """Where the checkpoints of a run lie: in its folder, or in one of its name where another place was given."""
    given = cfg.CALLBACKS.MODEL_CHECKPOINT.PATH
    return run / "checkpoints" if given is None else place(cfg, given) / run.name


def prepared_folder(cfg: DictConfig) -> pathlib.Path | None:
    """The prepared collection to use, or `None` when image files are meant.

    Image paths that were changed from their defaults win over a prepared collection; `DATASET.PREPARED_PATH=null` asks
    for image files outright.

    Raises:
        ConfigError: There is neither a prepared collection nor the image folder.
    """
    default = Config().DATASET.TRAIN
    changed = plain(cfg.DATASET.TRAIN.IMAGES_PATH) != default.IMAGES_PATH
    if not changed and (folder := prepared_at(cfg)) is not None:
        return folder
    images = places(cfg, cfg.DATASET.TRAIN.IMAGES_PATH)
    if isinstance(images, list) or (images is not None and images.is_dir()):
        return None
    looked = (
        ""
        if cfg.DATASET.PREPARED_PATH is None
        else f"no prepared collection in {place(cfg, cfg.DATASET.PREPARED_PATH)} and "
    )
    raise ConfigError(
        f"There is {looked}no image folder {images}. Type `python prepare.py dataset={cfg.DATASET.NAME} "
        "DATA_PREPARATION.SOURCE=...` first, or DATASET.PREPARED_PATH=..., or DATASET.TRAIN.IMAGES_PATH=..."
    )


def prepared_at(cfg: DictConfig) -> pathlib.Path | None:
    """The prepared collection of `DATASET.PREPARED_PATH`, where there is one; of 3d_lowres the part of a cascade."""
    if cfg.DATASET.PREPARED_PATH is None:
        return None
    folder = place(cfg, cfg.DATASET.PREPARED_PATH)
    places = [folder / LOW, folder] if cfg.DATA_PREPARATION.CONFIGURATION == LOW else [folder]
    return next((path for path in places if (path / "manifest.json").is_file()), None)


def image_files(cfg: DictConfig, part: str) -> ImageFiles:
    """The image files of `TRAIN` or `VAL`.

    Raises:
        ConfigError: The folder, or a file of the list, does not exist.
    """
    section = cfg.DATASET[part]
    images, masks = places(cfg, section.IMAGES_PATH), places(cfg, section.MASK_PATH)
    for name, found in (("IMAGES_PATH", images), ("MASK_PATH", masks)):
        missing = [
            item for item in (found if isinstance(found, list) else [found]) if item is not None and not item.exists()
        ]
        if missing or (name == "IMAGES_PATH" and found is None):
            raise ConfigError(
                f"DATASET.{part}.{name}: {missing[0] if missing else None} does not exist; "
                f"type DATASET.{part}.{name}=..."
            )
    return ImageFiles(images, masks)  # type: ignore[arg-type]


def slices_and_channels(cfg: DictConfig, modalities: int) -> tuple[int, int]:
    """Neighbouring slices and input channels of a slice network on prepared volumes.

    Args:
        cfg: `INPUT.CHANNELS` is slices times modalities.
        modalities: Channels of the prepared volumes.

    Returns:
        Slices (odd) and channels.

    Raises:
        ConfigError: `INPUT.CHANNELS` is not an odd multiple of the modalities.
    """
    slices, rest = divmod(int(cfg.INPUT.CHANNELS), modalities)
    if rest or slices % 2 == 0:
        fitting = ", ".join(str(modalities * count) for count in (1, 3, 5))
        raise ConfigError(
            f"INPUT.CHANNELS={cfg.INPUT.CHANNELS} does not fit {modalities} modalities: it is an odd number of slices "
            f"times {modalities}. Type INPUT.CHANNELS= one of {fitting}."
        )
    return slices, int(cfg.INPUT.CHANNELS)


def network_input(cfg: DictConfig, modalities: int) -> tuple[tuple[int, ...], int]:
    """What a network that was trained on prepared volumes takes.

    Args:
        cfg: `INPUT.PATCH`, or `AUGMENTATION.CROP.SIZE`, of three sizes means volumes; else slices are meant, of the
            patch or of `INPUT.HEIGHT` and `INPUT.WIDTH`.
        modalities: Channels of the prepared volumes.

    Returns:
        Shape `(*s, c)`, and neighbouring slices.

    Raises:
        ConfigError: As `slices_and_channels`.
    """
    crop = plain(cfg.AUGMENTATION).get("CROP") or {}
    patch = plain(cfg.INPUT.PATCH) or crop.get("SIZE")
    if patch is not None and len(patch) == 3:
        return (*patch, modalities), 1
    slices, channels = slices_and_channels(cfg, modalities)
    return (*(patch or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)), channels), slices


def class_count(cfg: DictConfig, class_names: Sequence[str], *, regions: int = 0) -> int:
    """Outputs of the network: `OUTPUT.CLASSES`, or the classes with background when it is not set.

    Args:
        cfg: `OUTPUT.CLASSES` is null, 1 (one sigmoid for one foreground class) or the classes with background.
        class_names: Foreground classes, from `DATASET.LABELS` or the manifest.
        regions: How many overlapping regions are declared: as many outputs, a sigmoid each.

    Raises:
        ConfigError: `OUTPUT.CLASSES` contradicts the classes.
    """
    if regions:
        if cfg.OUTPUT.CLASSES not in (None, regions):
            raise ConfigError(
                f"OUTPUT.CLASSES={cfg.OUTPUT.CLASSES} contradicts {regions} regions, which are a sigmoid each: type "
                f"OUTPUT.CLASSES={regions}, or DATASET.REGIONS={{}}."
            )
        return regions
    wanted, expected = cfg.OUTPUT.CLASSES, len(class_names) + 1
    if wanted is None or wanted == expected:
        return expected
    if wanted == 1 and expected == 2:
        return 1
    raise ConfigError(
        f"OUTPUT.CLASSES={wanted} contradicts the {expected} classes background, {', '.join(class_names)}. "
        f"Type OUTPUT.CLASSES={expected}, or change DATASET.LABELS."
    )
