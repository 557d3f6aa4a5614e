"""Run folders: a new one, the newest that fits, and the configuration a run was trained with."""

import copy
import datetime
import pathlib
from typing import cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from configs.compose import GROUPS, OPEN, REPLACED
from configs.errors import ConfigError
from configs.facts import place, plain

CONFIG_FILE = "config.yaml"
OPEN_SECTIONS = (*OPEN, *REPLACED)
FOREIGN = ("RUN_NAME", "OUTPUT_PATH", "WORK_DIR")


def new_run(cfg: DictConfig) -> pathlib.Path:
    """Makes the folder of a new run: `RUN_NAME`, or dataset, model, fold and time.

    Raises:
        ConfigError: `RUN_NAME` names a run that exists.
    """
    root = place(cfg, cfg.OUTPUT_PATH)
    if cfg.RUN_NAME is not None:
        run = root / cfg.RUN_NAME
        if (run / CONFIG_FILE).exists():
            raise ConfigError(f"The run {run} exists. Type RESUME=True to continue it, or another RUN_NAME.")
    else:
        run = root / f"{_stem(cfg)}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    run.mkdir(parents=True, exist_ok=True)
    return run


def save_config(cfg: DictConfig, run: pathlib.Path) -> None:
    """Writes the whole configuration, interpolations resolved, to the run's `config.yaml`."""
    OmegaConf.save(OmegaConf.create(plain(cfg)), run / CONFIG_FILE)


def find_run(cfg: DictConfig) -> pathlib.Path:
    """The run that is meant: `RUN_NAME`, or the newest with the same dataset, model, encoder and fold.

    Raises:
        ConfigError: There is none; names those that exist.
    """
    root = place(cfg, cfg.OUTPUT_PATH)
    if cfg.RUN_NAME is not None:
        run = root / cfg.RUN_NAME
        if not (run / CONFIG_FILE).is_file():
            raise ConfigError(f"There is no run {run}.{_existing(root)}")
        return run
    fitting = [run for run in _runs(root) if _identity(_load(run)) == _identity(cfg)]
    if not fitting:
        raise ConfigError(f"No run of {_stem(cfg)} in {root}. Train it first, or type RUN_NAME=...{_existing(root)}")
    return fitting[-1]


def with_run(cfg: DictConfig, run: pathlib.Path) -> DictConfig:
    """The configuration a run was trained with, changed by what was typed now.

    Args:
        cfg: The configuration of this command line.
        run: A run folder.

    Returns:
        The run's configuration. Values typed now replace its own; another `dataset` typed now replaces that section;
        what says where runs lie is taken from `cfg`.
    """
    stored = _load(run)
    base = copy.deepcopy(cfg)
    OmegaConf.set_struct(base, False)
    trained = cast("DictConfig", OmegaConf.merge(base, stored))
    with open_dict(trained):
        for section in OPEN_SECTIONS:
            OmegaConf.update(trained, section, OmegaConf.select(stored, section), merge=False)
        for name in FOREIGN:
            trained[name] = cfg[name]
        for override in OverridesParser.create().parse_overrides(list(cfg.OVERRIDES)):
            name = override.key_or_group
            if name not in GROUPS:
                OmegaConf.update(trained, name, OmegaConf.select(cfg, name), merge=False)
            elif name == "dataset" and cfg.DATASET.NAME != stored.DATASET.NAME:
                OmegaConf.update(trained, "DATASET", cfg.DATASET, merge=False)
        trained.OVERRIDES = cfg.OVERRIDES
    OmegaConf.set_struct(trained, True)
    return trained


def _load(run: pathlib.Path) -> DictConfig:
    return cast("DictConfig", OmegaConf.load(run / CONFIG_FILE))


def _stem(cfg: DictConfig) -> str:
    dataset, model, backbone, fold = _identity(cfg)
    return "_".join(
        str(part) for part in (dataset, model, backbone, None if fold is None else f"fold{fold}") if part is not None
    )


def _identity(cfg: DictConfig) -> tuple[str, str, str | None, str | None]:
    fold = None if cfg.FOLD is None else str(cfg.FOLD)
    return str(cfg.DATASET.NAME), str(cfg.MODEL.TYPE), cfg.MODEL.BACKBONE.get("TYPE"), fold


def _runs(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        (path.parent for path in root.glob(f"*/{CONFIG_FILE}")), key=lambda run: (run / CONFIG_FILE).stat().st_mtime
    )


def _existing(root: pathlib.Path) -> str:
    names = [run.name for run in _runs(root)][-5:]
    return f" Newest runs: {', '.join(names)}." if names else ""
