"""Fills in what a prepared collection's plan knows: patch, batch, network. What the user said stays."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from configs.errors import ConfigError
from configs.facts import CASCADE, plain, plan_changes, prepared_folder
from configs.schema import Config

PlanReader = Callable[..., Mapping[str, Any] | None]
_LOG = logging.getLogger("plan")


def with_plan(cfg: DictConfig, read: PlanReader) -> DictConfig:
    """The configuration with the plan's values wherever nothing else was said.

    Said is what was typed, what an experiment sets, and whatever differs from the default.

    Args:
        cfg: A composed configuration.
        read: `data_preparation.planning.use.planned_training`.

    Returns:
        A copy; `cfg` itself where the collection has no plan.

    Raises:
        ValueError: The plan does not serve; says what to type.
    """
    root = prepared_folder(cfg)
    if root is None:
        return cfg
    found = read(
        root,
        network=str(cfg.MODEL.TYPE),
        configuration=cfg.DATA_PREPARATION.CONFIGURATION or (CASCADE if cfg.CASCADE else None),
        changes=plan_changes(cfg),
    )
    if found is None:
        return cfg
    if cfg.CASCADE and found["configuration"] != CASCADE:
        raise ConfigError(
            f"CASCADE={cfg.CASCADE} is for DATA_PREPARATION.CONFIGURATION={CASCADE}, not {found['configuration']}: "
            "leave one of them out."
        )
    filled = cfg.copy()
    filled.DATA_PREPARATION.CONFIGURATION = found["configuration"]
    filled.CASCADE = cfg.CASCADE or ("auto" if found["configuration"] == CASCADE else None)
    defaults = Config()
    _fill(filled, "INPUT.PATCH", found["patch"], default=defaults.INPUT.PATCH)
    _fill(filled, "INPUT.CHANNELS", found["modalities"], default=defaults.INPUT.CHANNELS)
    _fill(filled, "HYPER_PARAMETERS.BATCH_SIZE", found["batch_size"], default=defaults.HYPER_PARAMETERS.BATCH_SIZE)
    said = {str(name).lower() for name in cfg.MODEL}
    if cfg.MODEL.BACKBONE.get("TYPE") is None and str(cfg.MODEL.get("RECIPE", "nnunet")) == "nnunet":
        stages = len(cfg.MODEL.FILTERS) if "filters" in said else None
        with open_dict(filled):
            for name, value in found["options"].items():
                if name not in said:
                    filled.MODEL[name.upper()] = _shortened(name, value, stages)
    if cfg.LOSS.TYPE == "dice_ce" and "batch_dice" not in plain(cfg.LOSS.OPTIONS):
        with open_dict(filled):
            filled.LOSS.OPTIONS = {**plain(cfg.LOSS.OPTIONS), "batch_dice": found["batch_dice"]}
    patch, batch = plain(filled.INPUT.PATCH), filled.HYPER_PARAMETERS.BATCH_SIZE
    _LOG.info("%s: patches of %s, %d at once.", found["configuration"], " x ".join(map(str, patch)), batch)
    return filled


def _fill(cfg: DictConfig, name: str, value: Any, *, default: Any) -> None:
    typed = any(str(override).lstrip("+").startswith(f"{name}=") for override in cfg.OVERRIDES)
    if not typed and plain(OmegaConf.select(cfg, name)) == default:
        OmegaConf.update(cfg, name, value, merge=False)


def _shortened(name: str, value: Any, stages: int | None) -> Any:
    """A plan's list for a network of fewer stages than planned: its first entries."""
    if stages is None or not isinstance(value, list):
        return value
    return value[: stages - 1] if name == "decoder_convs_per_stage" else value[:stages]
