"""The name of a Decathlon task's collection."""

import pathlib
import re

from omegaconf import DictConfig

_TASK = re.compile(r"Task\d+_(\w+)")


def named_by_task(cfg: DictConfig) -> DictConfig:
    """`dataset=msd` with a folder `Task02_Heart` is called heart, unless it was named."""
    said, source = cfg.DATASET, cfg.DATA_PREPARATION.SOURCE
    found = _TASK.fullmatch(pathlib.Path(str(source)).name)
    if said.COLLECTION != "msd" or said.NAME != "msd" or found is None:
        return cfg
    named = cfg.copy()
    named.DATASET.NAME = found[1].lower()
    return named
