"""What is trained on, as the configuration says it."""

import logging
import pathlib
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.splits import find_splits
from configs.cascade import earlier_folder
from configs.facts import image_files, place, plain, prepared_folder, slices_and_channels
from data_generators.manifest import Splits, label_lut, load_manifest

if TYPE_CHECKING:
    from data_generators.previous import PreviousStage
    from training.data import Data
    from training.loaders import Batching

_LOG = logging.getLogger("train")


def find_data(cfg: DictConfig) -> "Data":
    """The prepared collection, or image files, that the configuration names."""
    from data_generators.augmentation import check_recipe
    from data_generators.pictures import PictureOptions
    from training.data import Pictures, picture_data, prepared_data

    root, labels = prepared_folder(cfg), plain(cfg.DATASET.LABELS)
    crop = check_recipe(plain(cfg.AUGMENTATION)).get("CROP")
    if root is not None:
        fold = int(cfg.FOLD or 0) if cfg.FOLD is not None or cfg.DATASET.SPLIT != "official" else None
        patch = plain(cfg.INPUT.PATCH) or (crop or {}).get("SIZE")
        volumes = patch is not None and len(patch) == 3
        previous = _previous(cfg, root)
        slices = 1 if volumes else slices_and_channels(cfg, len(load_manifest(root).channels))[0]
        splits = find_splits(cfg, root)
        _warn_of_empty_classes(root, splits, fold, labels)
        return prepared_data(
            root, fold=fold, labels=labels, splits=splits, slices=slices, patch=patch, crop=crop, previous=previous
        )
    said = cfg.PREPROCESS_DATA
    options = PictureOptions(
        channels=cfg.INPUT.CHANNELS,
        size=(said.RESIZE.HEIGHT, said.RESIZE.WIDTH) if said.RESIZE.VALUE else None,
        normalize=said.IMAGE_PREPROCESSING_TYPE == "normalize",
        mask_divisor=said.NORMALIZE_MASK.NORMALIZE_VALUE if said.NORMALIZE_MASK.VALUE else None,
        mask_threshold=said.MASK_THRESHOLD,
    )
    train, given = image_files(cfg, "TRAIN"), cfg.DATASET.VAL.IMAGES_PATH
    held = given is not None and (not isinstance(given, str) or place(cfg, given).exists())
    validation = image_files(cfg, "VAL") if held else None
    return picture_data(
        Pictures(train.images, train.masks),
        None if validation is None else Pictures(validation.images, validation.masks),
        options=options,
        labels=labels,
        share=cfg.DATASET.VALIDATION_SHARE,
        seed=cfg.SEED,
        patient_pattern=said.PATIENT_PATTERN,
        crop=crop,
    )


def _warn_of_empty_classes(root: pathlib.Path, splits: Splits, fold: int | None, labels: Any) -> None:
    """Says which classes nothing is learnt of here, or cannot be validated."""
    from data_preparation.fold_check import empty_in

    manifest = load_manifest(root)
    table, names = label_lut(manifest.labels, labels)
    labelled = [case for case in manifest.cases if case.voxels]
    voxels: dict[str, dict[int, int]] = {case.id: {} for case in labelled}
    for case in labelled:
        for value, count in case.voxels.items():
            voxels[case.id][int(table[value])] = voxels[case.id].get(int(table[value]), 0) + count
    parts = splits.official if fold is None else splits.fold(fold)
    where = "the official split" if fold is None else f"fold {fold}"
    seen = {part: parts[part] for part in ("train", "validation") if part in parts}
    for finding in empty_in(seen, where, dict(enumerate(names)), voxels):
        _LOG.warning("%s", finding)


def _previous(cfg: DictConfig, root: pathlib.Path) -> "PreviousStage | None":
    """What the first stage of a cascade said, to be disturbed where anything is."""
    from data_generators.augmentation import check_recipe
    from data_generators.previous import PreviousStage

    folder = earlier_folder(cfg)
    if folder is None:
        return None
    _, names = label_lut(load_manifest(root).labels, plain(cfg.DATASET.LABELS))
    return PreviousStage(folder, len(names) - 1, disturbed=bool(check_recipe(plain(cfg.AUGMENTATION))))


def make_batching(cfg: DictConfig) -> "Batching":
    """How batches are made."""
    from training.loaders import Batching

    return Batching(
        loader=cfg.DATA_GENERATOR_TYPE,
        batch_size=cfg.HYPER_PARAMETERS.BATCH_SIZE,
        seed=cfg.SEED,
        shuffle=cfg.PREPROCESS_DATA.SHUFFLE.TRAIN.VALUE,
        foreground_share=cfg.SAMPLING.FOREGROUND_SHARE,
        steps_per_epoch=cfg.HYPER_PARAMETERS.STEPS_PER_EPOCH,
        threads=cfg.DATALOADER_WORKERS,
        ignore_label=cfg.DATASET.IGNORE_LABEL,
    )


def scored_names(cfg: DictConfig, data: "Data") -> tuple[tuple[str, ...], list[list[int]] | None]:
    """Names of what is scored, and the classes of each where it is overlapping regions."""
    from data_generators.regions import collection_regions

    wanted, labels = plain(cfg.DATASET.REGIONS), plain(cfg.DATASET.LABELS)
    regions = collection_regions(prepared_folder(cfg), labels=labels, wanted=wanted)
    return (tuple(regions), [list(values) for values in regions.values()]) if regions else (data.class_names, None)


def input_size(cfg: DictConfig) -> tuple[int, int, int]:
    """What INPUT says of whole slices and pictures."""
    return cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH, cfg.INPUT.CHANNELS
