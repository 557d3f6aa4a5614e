"""From overrides to a checked configuration: Hydra composes, this module answers mistakes in one line."""

import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from configs.errors import ConfigError, suggestion
from configs.schema import Config

FOLDER = pathlib.Path(__file__).resolve().parent
GROUPS = ("dataset", "augmentation", "experiment")
OPEN = ("MODEL", "AUGMENTATION", "LOSS.OPTIONS", "PLAN", "DOMAIN_SETTINGS")
MODEL_KEYS = ("MODEL.TYPE", "MODEL.FILTERS", "MODEL.BACKBONE.TYPE", "MODEL.BACKBONE.WEIGHTS")
REPLACED = ("DATASET.LABELS", "DATASET.REGIONS")

ConfigStore.instance().store(name="schema", node=Config)


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Composes and checks a configuration.

    Args:
        overrides: What would stand on the command line, such as `["MODEL.TYPE=unet3plus", "dataset=phantom"]`.

    Returns:
        The whole configuration, interpolations resolvable, structure closed.

    Raises:
        ConfigError: An override names an unknown key or group, or its value has the wrong type or range.
    """
    parsed = parse(overrides)
    spoken = [spell(override) for override in parsed if override.key_or_group not in REPLACED]
    try:
        with hydra.initialize_config_dir(str(FOLDER), version_base="1.3"):
            cfg = hydra.compose("config", overrides=spoken)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error, parsed)) from error
    finally:
        GlobalHydra.instance().clear()
    return finish(cfg, parsed)


def finish(cfg: DictConfig, overrides: Sequence[Override]) -> DictConfig:
    """Applies what replaces a whole mapping, reads the word None as no value, and checks every value.

    Args:
        cfg: A composed configuration; changed in place.
        overrides: The parsed overrides it was composed from.

    Returns:
        `cfg`.

    Raises:
        ConfigError: A value is outside its range.
    """
    for override in overrides:
        if override.key_or_group in REPLACED:
            with open_dict(cfg):
                OmegaConf.update(cfg, override.key_or_group, override.value(), merge=False)
    for name, default in leaves(Config):
        if OmegaConf.select(cfg, name) == "None":
            OmegaConf.update(cfg, name, None)
        _check_value(name, cfg, default.metadata)
    cfg.OVERRIDES = [str(override.input_line) for override in overrides]
    return cfg


def parse(overrides: Sequence[str]) -> list[Override]:
    """Reads overrides and refuses those that name nothing.

    Args:
        overrides: `KEY=VALUE` texts.

    Returns:
        Hydra's parsed overrides.

    Raises:
        ConfigError: One is not of that form, or its key is unknown.
    """
    parser = OverridesParser.create()
    parsed: list[Override] = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ConfigError(
                f"{text!r} is not of the form KEY=VALUE; put values with spaces or commas in quotes."
            ) from error
        _check_key(override)
        parsed.append(override)
    return parsed


def spell(override: Override) -> str:
    """The text of an override as Hydra wants it: keys of open sections are added without a `+` typed by the user."""
    text = str(override.input_line)
    inside = any(override.key_or_group.startswith(f"{section}.") for section in OPEN)
    return f"++{text}" if inside and override.type is OverrideType.CHANGE else text


def leaves(schema: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields `(dotted key, dataclass field)` of every value of a schema, depth first."""
    for item in fields(schema):
        kind = item.default_factory if callable(item.default_factory) else None
        section = kind() if kind is not None else item.default
        if is_dataclass(section):
            yield from leaves(type(section), f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item


def group_options(group: str) -> list[str]:
    """Names of the files of a group, such as `dataset`."""
    return sorted(path.stem for path in (FOLDER / group).glob("*.yaml"))


def _check_key(override: Override) -> None:
    name = override.key_or_group
    if name in GROUPS:
        value = str(override.value())
        options = group_options(name)
        if value not in (*options, "None") and not override.is_sweep_override():
            raise ConfigError(
                f"{name}={value} is unknown.{suggestion(value, options)} Type one of {', '.join(options)}."
            )
        return
    if name.startswith("hydra") or any(name == section or name.startswith(f"{section}.") for section in OPEN):
        return
    known = {leaf for leaf, _ in leaves(Config)}
    sections = {leaf.rsplit(".", depth)[0] for leaf in known for depth in range(1, leaf.count(".") + 1)}
    if name not in known | sections and not any(name.startswith(f"{leaf}.") for leaf in REPLACED):
        hint = suggestion(name, [*sorted(known), *GROUPS, *OPEN, *MODEL_KEYS])
        raise ConfigError(f"{name} is not a key.{hint} All keys: --help.")


def _check_value(name: str, cfg: DictConfig, limits: Any) -> None:
    value = OmegaConf.select(cfg, name)
    if value is None:
        return
    choices, low, high = limits["choices"], limits["low"], limits["high"]
    if choices is not None and value not in choices:
        words = ", ".join(str(choice) for choice in choices)
        raise ConfigError(
            f"{name}={value} is not possible; type {name}= one of {words}.{suggestion(str(value), map(str, choices))}"
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise ConfigError(f"{name}={value} is out of range; {name} is {span}.")


def _one_line(error: Exception, overrides: Sequence[Override]) -> str:
    """Hydra's or OmegaConf's complaint about a value, in our words where the key is known."""
    full_key = getattr(error.__cause__ or error, "full_key", None) or getattr(error, "full_key", None)
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    said = {override.key_or_group: override for override in overrides}
    if full_key in said:
        kind = {leaf: item.type for leaf, item in leaves(Config)}.get(full_key, "another kind")
        words = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}.get(kind, str(kind))
        return f"{said[full_key].input_line} does not fit; {full_key} is {words}."
    return f"The configuration does not fit: {text}"
