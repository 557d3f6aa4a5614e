"""The cases to evaluate, and how they are scored."""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from commands.splits import find_splits
from configs import ConfigError
from configs.facts import image_files, network_input, place, plain, prepared_folder
from data_generators.manifest import label_lut, load_manifest
from data_generators.regions import class_regions

if TYPE_CHECKING:
    from data_generators.folders import FolderSource
    from inference.scoring import Policy
    from inference.tasks import Cohort


def find_cohort(cfg: DictConfig) -> "Cohort":
    """The cases of the part of the split that the configuration names."""
    root = prepared_folder(cfg)
    return _find_pictures(cfg) if root is None else find_prepared(cfg, root)


def find_prepared(cfg: DictConfig, root: pathlib.Path, *, fold: int | None = None) -> "Cohort":
    """Cases of a prepared collection; of a fold its validation cases."""
    from data_preparation.originals import case_label_reader
    from inference.tasks import Cohort, chosen_cases, prepared_tasks

    manifest, splits = load_manifest(root), find_splits(cfg, root)
    table, names = label_lut(manifest.labels, plain(cfg.DATASET.LABELS))
    regions = class_regions(plain(cfg.DATASET.REGIONS), manifest=manifest, table=table, names=names)
    if fold is None and (cfg.FOLD is not None or cfg.DATASET.SPLIT != "official"):
        fold = 0 if cfg.FOLD in (None, "all") else int(cfg.FOLD)
    case_ids, part = chosen_cases(splits, fold=fold, part="validation" if cfg.FOLD == "all" else cfg.EVALUATION.SPLIT)
    read_label = case_label_reader(manifest, mask_threshold=cfg.DATA_PREPARATION.MASK_THRESHOLD)
    tasks = prepared_tasks(root, case_ids, table=table, read_label=read_label)
    shape, slices = network_input(cfg, len(manifest.channels))
    part = f"{manifest.collection}, {part}"
    own = not regions and cfg.DATASET.LABELS is None
    declared = class_regions(None, manifest=manifest, table=table, names=names) if own else {}
    return Cohort(tasks, dict(enumerate(names)), shape, slices, part, regions=regions, declared=declared)


def _find_pictures(cfg: DictConfig) -> "Cohort":
    from inference.tasks import Cohort, picture_tasks

    if cfg.DATASET.LABELS is None:
        raise ConfigError("Mask values have no names: type DATASET.LABELS={liver: 1}, or with more classes.")
    table, names = label_lut({}, plain(cfg.DATASET.LABELS))
    regions = class_regions(plain(cfg.DATASET.REGIONS), manifest=None, table=table, names=names)
    source, part = _picture_source(cfg, table)
    shape = (*(plain(cfg.INPUT.PATCH) or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)), cfg.INPUT.CHANNELS)
    return Cohort(picture_tasks(source), dict(enumerate(names)), shape, 1, part, "pixels", regions)


def _picture_source(cfg: DictConfig, table: Any) -> "tuple[FolderSource, str]":
    """The validation pictures: those of DATASET.VAL, or the patients that training left out."""
    from data_generators.folders import FolderSource
    from inference.reading import picture_options
    from training.data import held_out

    options = picture_options(plain(cfg.PREPROCESS_DATA), channels=cfg.INPUT.CHANNELS, table=table)
    images, training = cfg.DATASET.VAL.IMAGES_PATH, cfg.EVALUATION.SPLIT == "train"
    given = images is not None and (not isinstance(images, str) or place(cfg, images).exists())
    files = image_files(cfg, "VAL" if given and not training else "TRAIN")
    patients = cfg.PREPROCESS_DATA.PATIENT_PATTERN
    everything = FolderSource(files.images, files.masks, options=options, patient_pattern=patients)
    if given:
        return everything, "training pictures" if training else "validation pictures"
    held = held_out(everything.patients, share=cfg.DATASET.VALIDATION_SHARE, seed=cfg.SEED)
    chosen = everything.select(np.flatnonzero(held != training))
    return chosen, "training pictures" if training else "pictures of held-out patients"


def make_policy(cfg: DictConfig, cohort: "Cohort") -> "Policy":
    """What is measured, and what counts where a class is empty.

    Raises:
        ValueError: Lesions or a challenge of classes that there are not.
    """
    from inference.details import DetailRules, challenge_rules, lesion_classes
    from inference.scoring import Policy

    said = cfg.EVALUATION
    names = list(cohort.regions) or [name for value, name in cohort.names.items() if value]
    challenge = challenge_rules(said.CHALLENGE, cohort.names)
    if cohort.regions:
        challenge.pop("sets", None)
    elif cohort.declared and said.CHALLENGE == "auto":
        challenge["sets"] = dict(cohort.declared)
    details = DetailRules(
        lesions=lesion_classes(plain(said.LESIONS), [*names, *challenge.get("sets", {})]),
        lesion_iou=tuple(float(value) for value in plain(said.LESION_IOU)),
        smallest_lesion_ml=said.LESION_MIN_ML,
        calibration=said.CALIBRATION,
        **challenge,
    )
    return Policy(
        names=cohort.names,
        tolerance_mm=tuple(float(value) for value in plain(cfg.EVALUATION.TOLERANCE_MM)),
        empty=cfg.EVALUATION.EMPTY,
        ignore_label=cfg.DATASET.IGNORE_LABEL,
        unit=cohort.unit,
        regions=cohort.regions,
        details=details,
    )
