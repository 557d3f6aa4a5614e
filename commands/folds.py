"""The folds of a cross-validation: those that go on, and those that start."""

import logging
import pathlib
from collections.abc import Callable

from omegaconf import DictConfig, open_dict

from configs import ConfigError
from configs.runs import find_run, with_run

_LOG = logging.getLogger("train")

Plan = Callable[[DictConfig], DictConfig]


def folds_to_train(cfg: DictConfig, count: int, plan: Plan) -> list[DictConfig]:
    """One configuration for each fold, in order.

    With `RESUME=True` folds that were started go on (a finished one ends at once), and the others start with the
    configuration of those, changed by what was typed now.

    Args:
        cfg: With `FOLD=all`.
        count: Folds.
        plan: Fills in what the collection's plan knows.
    """
    if not cfg.RESUME:
        planned = plan(cfg)
        return [_fold(planned, number) for number in range(count)]
    folds = [_fold(cfg, number) for number in range(count)]
    started = [_started(fold) for fold in folds]
    known = next((run for run in started if run is not None), None)
    for number, run in enumerate(started):
        if run is None:
            _LOG.info("Fold %d was not started yet: it starts now.", number)
            folds[number] = _like(folds[number], number, known, plan)
    return folds


def _fold(cfg: DictConfig, number: int) -> DictConfig:
    one = cfg.copy()
    one.FOLD = number
    one.RUN_NAME = None if cfg.RUN_NAME is None else f"{cfg.RUN_NAME}_fold{number}"
    return one


def _started(cfg: DictConfig) -> pathlib.Path | None:
    try:
        return find_run(cfg)
    except ConfigError:
        return None


def _like(cfg: DictConfig, number: int, run: pathlib.Path | None, plan: Plan) -> DictConfig:
    """A fold that starts anew, as another one did."""
    new = cfg.copy()
    new.RESUME = False
    if run is None:
        return plan(new)
    new = with_run(new, run)
    with open_dict(new):
        new.FOLD, new.RESUME = number, False
    return new
