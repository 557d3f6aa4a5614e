"""One network for many domains: the configuration of each of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from configs import ConfigError
from configs.compose import OPEN, REPLACED, leaves
from configs.errors import suggestion
from configs.facts import plain
from configs.schema import Config

SHORT = {"PREPARED_PATH": "DATASET.PREPARED_PATH", "LABELS": "DATASET.LABELS", "REGIONS": "DATASET.REGIONS"}
"""What may be said of a domain without its section."""


def domains_of(cfg: DictConfig) -> list[str]:
    """The domains that are trained together; none where one collection is trained.

    Raises:
        ConfigError: One is named twice, or no name of a domain.
    """
    said = plain(cfg.DOMAINS)
    names = [said] if isinstance(said, str) else [str(name) for name in said or ()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"DOMAINS names {', '.join(twice)} twice: two domains of one network have two names.")
    odd = [name for name in names if not name.isidentifier() or "__" in name]
    if odd:
        raise ConfigError(
            f"DOMAINS: {odd[0]!r} is no name of a domain, which has letters, digits and single underscores. Type "
            f"another one, and DOMAIN_SETTINGS.<name>.PREPARED_PATH=data/prepared/{odd[0]}."
        )
    unknown = [name for name in cfg.DOMAIN_SETTINGS if names and name not in [*names, *trained_names(cfg)]]
    if unknown:
        hint = suggestion(str(unknown[0]), names)
        raise ConfigError(f"DOMAIN_SETTINGS.{unknown[0]} is of no domain.{hint} DOMAINS={','.join(names)}.")
    return names


def trained_names(cfg: DictConfig) -> list[str]:
    """Domains that the network of a run has, in its order."""
    return [str(domain["name"]) for domain in plain(cfg.MODEL.get("DOMAINS")) or ()]


def domain_configuration(cfg: DictConfig, name: str) -> DictConfig:
    """The configuration of one domain, as if its collection were trained alone.

    Args:
        cfg: Of the whole network. `DOMAIN_SETTINGS.<name>` has keys that differ for the domain; what a command line
            says of `DATASET.PREPARED_PATH`, `.LABELS` and `.REGIONS` outweighs them.
        name: A domain.

    Returns:
        A copy with `DOMAIN`, `DATASET.NAME`, `.PREPARED_PATH`, `.LABELS`, `.REGIONS` and `INPUT.PATCH` of the domain.
        With `INPUT.UNIFY=resize` the patch is that of the domain's own spacing, before it is resized.

    Raises:
        ConfigError: `DOMAIN_SETTINGS` has a key that there is not.
    """
    one = cfg.copy()
    typed = {key for key in SHORT.values() if any(str(text).startswith(f"{key}=") for text in cfg.OVERRIDES)}
    values: dict[str, Any] = dict.fromkeys(SHORT.values()) | {"DATASET.PREPARED_PATH": f"data/prepared/{name}"}
    if cfg.INPUT.UNIFY == "resize":
        values["INPUT.PATCH"] = None
        one.OVERRIDES = [text for text in cfg.OVERRIDES if not str(text).startswith("INPUT.PATCH=")]
    values |= dict(_said(name, plain(cfg.DOMAIN_SETTINGS.get(name)) or {}))
    values |= {"DATASET.NAME": name, "DOMAIN": name}
    with open_dict(one):
        for key, value in values.items():
            if key not in typed:
                OmegaConf.update(one, key, value, merge=False)
    return one


def _said(name: str, settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of the configuration and their values, from what is nested or dotted."""
    known = {leaf for leaf, _ in leaves(Config)}
    for word, value in settings.items():
        key = SHORT.get(str(word), f"{prefix}{word}")
        if key in known or key in REPLACED or key.startswith(tuple(f"{section}." for section in OPEN)):
            yield key, value
        elif isinstance(value, Mapping) and any(leaf.startswith(f"{key}.") for leaf in known):
            yield from _said(name, value, f"{key}.")
        else:
            hint = suggestion(key, [*SHORT, *sorted(known)])
            raise ConfigError(f"DOMAIN_SETTINGS.{name}.{key} is not a key.{hint} All keys: --help.")
