"""The first stage of a cascade: which runs are meant."""

import copy
import json
import pathlib

from omegaconf import DictConfig

from configs.errors import ConfigError
from configs.facts import LOW, place, plain
from configs.runs import CROSS_VALIDATION, Trained, find_trained, with_run

NEXT_STAGE = "next_stage"
KEPT = ("INFERENCE.BATCH_SIZE=", "INFERENCE.MEMORY_GB=")
"""What was typed for the second stage and holds for the first one: nothing that changes its answers."""


def first_stage(cfg: DictConfig, *, folds: int, mirrored: bool = False) -> Trained:
    """The runs of all folds at low resolution.

    Args:
        cfg: Of the second stage; `CASCADE` is `auto`, the RUN_NAME of the folds, or the folder of their
            cross-validation.
        folds: How many there are.
        mirrored: Apply them with `TTA=True`; else as they were trained.

    Returns:
        The runs, and the configuration that they were trained with.

    Raises:
        ConfigError: Folds are not trained, with what to type; or classes are not those of the second stage.
    """
    other = copy.deepcopy(cfg)
    other.OVERRIDES = [text for text in cfg.OVERRIDES if str(text).startswith(KEPT)]
    other.CASCADE, other.ENSEMBLE, other.FOLD = None, None, "all"
    other.DATA_PREPARATION.CONFIGURATION = LOW
    if mirrored:
        other.OVERRIDES, other.TTA = [*other.OVERRIDES, "TTA=True"], True
    root, name = place(cfg, cfg.OUTPUT_PATH), str(cfg.CASCADE)
    if (root / name / CROSS_VALIDATION).is_file():
        names = json.loads((root / name / CROSS_VALIDATION).read_text("utf-8"))["runs"][0]
        found = Trained(with_run(other, root / names[0]), tuple(root / run for run in names))
    else:
        other.RUN_NAME = None if name == "auto" else name
        found = _trained(other, cfg, folds)
    for key in ("LABELS", "REGIONS"):
        mine, theirs = plain(cfg.DATASET[key]), plain(found.cfg.DATASET[key])
        if mine != theirs:
            raise ConfigError(
                f"DATASET.{key} is {mine} here and {theirs} in the first stage {found.runs[0].name}: both stages of a "
                "cascade have the same classes; train one of them again."
            )
    return found


def earlier_folder(cfg: DictConfig) -> pathlib.Path | None:
    """Where the first stage's answers to prepared cases lie; None without a cascade."""
    return place(cfg, cfg.OUTPUT_PATH) / str(cfg.CASCADE) / NEXT_STAGE if cfg.CASCADE else None


def _trained(other: DictConfig, cfg: DictConfig, folds: int) -> Trained:
    try:
        return find_trained(other, folds=folds)[0]
    except ConfigError as error:
        said = [str(text) for text in cfg.OVERRIDES if not str(text).startswith(("FOLD=", "CASCADE=", "RUN_NAME="))]
        said = [text for text in said if not text.startswith("DATA_PREPARATION.CONFIGURATION=")]
        words = " ".join(["python train.py", *said, f"DATA_PREPARATION.CONFIGURATION={LOW}", "FOLD=all"])
        problem = str(error).split(" Type:")[0].rstrip(".")
        raise ConfigError(f"The first stage of the cascade is not there ({problem}): type {words} first.") from error
