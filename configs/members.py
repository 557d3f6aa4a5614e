"""Further members of an ensemble: what `ENSEMBLE` names, as a configuration that finds its runs."""

import copy

from omegaconf import DictConfig, open_dict

CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")
_OWN = ("MODEL", "RUN_NAME", "ENSEMBLE", "CASCADE", "DATA_PREPARATION.CONFIGURATION", "experiment")


def member(cfg: DictConfig, name: str, *, is_run: bool) -> DictConfig:
    """The configuration of another model for the same data.

    Args:
        cfg: Of the first model.
        name: A run, or the name of all its folds; or a network, a configuration of the plan (the same network), or
            both: `unet`, `2d`, `resenc_unet/2d`.
        is_run: It is the former.

    Returns:
        `cfg` without what belongs to the first model alone.
    """
    other = copy.deepcopy(cfg)
    words = [str(text) for text in cfg.OVERRIDES]
    other.ENSEMBLE, other.CASCADE = None, None
    other.RUN_NAME = name if is_run else None
    if is_run:
        other.OVERRIDES = [text for text in words if not text.lstrip("+").startswith(_OWN)]
        return other
    network, _, configuration = name.partition("/")
    if network in CONFIGURATIONS:
        network, configuration = str(cfg.MODEL.TYPE), network
    said = [f"MODEL.TYPE={network}", *([f"DATA_PREPARATION.CONFIGURATION={configuration}"] if configuration else [])]
    other.OVERRIDES = [*(text for text in words if not text.lstrip("+").startswith(_OWN)), *said]
    other.DATA_PREPARATION.CONFIGURATION = configuration or None
    if network != str(cfg.MODEL.TYPE):
        with open_dict(other):
            other.MODEL = {"TYPE": network, "BACKBONE": {"TYPE": None, "WEIGHTS": None}}
    return other
