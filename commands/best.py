"""Every cross-validation that a collection's runs allow: each model and configuration, and all pairs of them."""

import itertools
import logging

from omegaconf import DictConfig

from commands.splits import find_splits
from configs import ConfigError
from configs.facts import LOW, prepared_folder
from configs.members import member
from configs.runs import complete_folds

_LOG = logging.getLogger("evaluate")


def candidates(cfg: DictConfig) -> list[DictConfig]:
    """What can be cross-validated, as configurations with `FOLD=all`; nnU-Net's `find_best_configuration`.

    Args:
        cfg: With `EVALUATION.FIND_BEST`; its collection and what it says of inference and evaluation hold for all.

    Returns:
        Single models first, then pairs of those that read the same arrays. Networks with a pretrained encoder are left
        to `FOLD=all` and `RUN_NAME`.

    Raises:
        ConfigError: There is no prepared collection, or no model has all its folds.
    """
    root = prepared_folder(cfg)
    if root is None or cfg.FOLD != "all":
        raise ConfigError("EVALUATION.FIND_BEST=True compares the folds of a prepared collection: type FOLD=all.")
    folds = len(find_splits(cfg, root).folds)
    names = complete_folds(cfg, folds)
    if not names:
        raise ConfigError(
            f"No model has all {folds} folds of {cfg.DATASET.NAME} in {cfg.OUTPUT_PATH}: type python train.py ... "
            "FOLD=all for each that is to be compared."
        )
    singles = [_one(cfg, name) for name in names]
    arrays = [prepared_folder(one) for one in singles]
    pairs = [
        _pair(singles[first], names[second])
        for first, second in itertools.combinations(range(len(names)), 2)
        if arrays[first] == arrays[second]
    ]
    _LOG.info("%d models (%s) and %d pairs of them.", len(names), ", ".join(names), len(pairs))
    if any(name.endswith(f"/{LOW}") for name in names) and len(names) > 1:
        _LOG.info("%s reads other arrays and is in no pair.", LOW)
    return [*singles, *pairs]


def _one(cfg: DictConfig, name: str) -> DictConfig:
    one = member(cfg, name, is_run=False)
    one.EVALUATION.FIND_BEST, one.FOLD = False, "all"
    one.OVERRIDES = [text for text in one.OVERRIDES if not str(text).startswith("EVALUATION.FIND_BEST")]
    return one


def _pair(one: DictConfig, other: str) -> DictConfig:
    pair = one.copy()
    pair.ENSEMBLE = [other]
    pair.OVERRIDES = [*one.OVERRIDES, f"ENSEMBLE=[{other}]"]
    return pair
