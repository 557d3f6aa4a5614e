"""What a network of many domains is to be, from the collections that it is trained on."""

import math
import pathlib
from typing import Any

from omegaconf import DictConfig, open_dict

from commands.base_runs import find_base
from commands.domains import domain_configuration, domains_of, trained_names
from configs import ConfigError
from configs.errors import suggestion
from configs.facts import class_count, place, plain, prepared_at
from configs.plans import with_plan
from data_generators.manifest import fold_count, label_lut, load_manifest
from data_generators.regions import collection_regions

PUBLISHED_PATCH = [128, 128, 128]


def with_domains(cfg: DictConfig) -> DictConfig:
    """The configuration with what the collections and their plans say.

    Args:
        cfg: `DOMAINS` are trained. With `ADD_DOMAINS` they come after those of the run that is added to, whose network
            and way of unifying patches are taken over.

    Returns:
        A copy. `MODEL.DOMAINS` has name, channels and classes of all domains; `DOMAIN_SETTINGS` of each the collection,
        the patch and what else its plan says. With `INPUT.UNIFY=spacing` patches are made multiples of the network's
        strides; with `resize` `INPUT.PATCH` is what they are resized to.

    Raises:
        ConfigError: A domain is not prepared, has no patch, is there already, or contradicts `MODEL.DOMAINS`.
    """
    names = domains_of(cfg)
    filled = _added_to_base(cfg, names) if cfg.ADD_DOMAINS else cfg.copy()
    if filled.INPUT.UNIFY == "resize" and filled.INPUT.PATCH is None:
        filled.INPUT.PATCH = PUBLISHED_PATCH
    multiples = _multiples(filled)
    if filled.INPUT.UNIFY == "resize" and any(
        side % step for side, step in zip(filled.INPUT.PATCH, multiples, strict=False)
    ):
        raise ConfigError(f"INPUT.PATCH={plain(filled.INPUT.PATCH)} has to be a multiple of {multiples}.")
    kept = trained_names(filled) if cfg.ADD_DOMAINS else []
    entries = {entry["name"]: entry for entry in plain(filled.MODEL.get("DOMAINS")) or ()}
    found = {name: entry for name, entry in entries.items() if name in kept}
    settings = dict(plain(filled.DOMAIN_SETTINGS))
    for name in names:
        one = _planned(filled, name, multiples)
        found[name] = _entry(one, name)
        if name in entries and entries[name] != found[name]:
            raise ConfigError(
                f"MODEL.DOMAINS has {entries[name]}, the prepared collection is {found[name]}. Leave MODEL.DOMAINS out."
            )
        settings[name] = _kept(filled, one, settings.get(name) or {})
    with open_dict(filled):
        filled.MODEL.DOMAINS = list(found.values())
        filled.DOMAIN_SETTINGS = settings
    return filled


def check_domains(cfg: DictConfig) -> None:
    """Answers mistakes in the names of domains and collections, before anything slow is imported.

    Raises:
        ConfigError: As `with_domains`; or `DOMAINS` for a network of one.
    """
    names = domains_of(cfg)
    if cfg.MODEL.TYPE != "universal_unet":
        raise ConfigError(f"DOMAINS={names} needs a network for many domains: type experiment=universal_unet.")
    if str(cfg.DATA_GENERATOR_TYPE).startswith("DALI"):
        raise ConfigError("Several domains are read by the Sequence loader: type DATA_GENERATOR_TYPE=SEQUENCE or AUTO.")
    if cfg.VALIDATION.WHOLE_VOLUME and cfg.INPUT.UNIFY == "resize":
        raise ConfigError("INPUT.UNIFY=resize is validated on patches: type VALIDATION.WHOLE_VOLUME=False.")
    if not cfg.RESUME:
        filled = _added_to_base(cfg, names) if cfg.ADD_DOMAINS else cfg
        for name in names:
            prepared_domain(domain_configuration(filled, name), name)


def prepared_domain(one: DictConfig, name: str) -> pathlib.Path:
    """The prepared collection of a domain.

    Raises:
        ConfigError: There is none; lists those beside it.
    """
    root = prepared_at(one)
    if root is not None:
        return root
    wanted = place(one, one.DATASET.PREPARED_PATH)
    there = sorted(file.parent.name for file in wanted.parent.glob("*/manifest.json"))
    listed = f" Prepared there: {', '.join(there)}.{suggestion(name, there)}" if there else ""
    raise ConfigError(
        f"Domain {name}: {wanted} is no prepared collection.{listed} Type `python prepare.py dataset=... "
        f"DATASET.NAME={name} DATA_PREPARATION.SOURCE=...`, or DOMAIN_SETTINGS.{name}.PREPARED_PATH=..."
    )


def _added_to_base(cfg: DictConfig, names: list[str]) -> DictConfig:
    """The configuration with the network of the run that is added to."""
    base = find_base(cfg)
    known = trained_names(base.cfg)
    again = [name for name in names if name in known]
    if again:
        path = domain_configuration(cfg, again[0]).DATASET.PREPARED_PATH
        raise ConfigError(
            f"{base.folder.name} has a domain {again[0]} already (it knows {', '.join(known)}): name the new one "
            f"otherwise, with DOMAIN_SETTINGS.<name>.PREPARED_PATH={path}."
        )
    typed = [str(text) for text in cfg.OVERRIDES if str(text).startswith(("MODEL.", "INPUT.UNIFY="))]
    if typed:
        raise ConfigError(f"{typed[0]}: the network is that of {base.folder.name}. Leave {typed[0]} out.")
    filled = cfg.copy()
    with open_dict(filled):
        filled.MODEL = base.cfg.MODEL
        filled.INPUT.UNIFY = base.cfg.INPUT.UNIFY
        if base.cfg.INPUT.UNIFY == "resize":
            filled.INPUT.PATCH = base.cfg.INPUT.PATCH
        filled.DOMAIN_SETTINGS = {**plain(base.cfg.DOMAIN_SETTINGS), **plain(cfg.DOMAIN_SETTINGS)}
        filled.ADD_TO, filled.CHECKPOINT = str(cfg.ADD_TO or cfg.CHECKPOINT), "best"
    return filled


def _planned(cfg: DictConfig, name: str, multiples: list[int]) -> DictConfig:
    """The configuration of one domain with its plan; its patch fits the network."""
    from data_preparation.planning.use import planned_training

    one = domain_configuration(cfg, name)
    root = prepared_domain(one, name)
    if one.DATASET.SPLIT == "folds" and cfg.FOLD is None and not fold_count(root):
        one.DATASET.SPLIT = "official"  # a collection too small for folds
    one = with_plan(one, planned_training)
    patch = plain(one.INPUT.PATCH)
    if patch is None or len(patch) != 3:
        planned = "is planned for slices" if patch else "was prepared without a plan"
        raise ConfigError(
            f"Domain {name}: {root} {planned}, so that no patch is known. Type DOMAIN_SETTINGS.{name}.INPUT.PATCH="
            "[depth,height,width]."
        )
    if cfg.INPUT.UNIFY == "spacing":
        one.INPUT.PATCH = [math.ceil(side / step) * step for side, step in zip(patch, multiples, strict=True)]
    return one


def _entry(one: DictConfig, name: str) -> dict[str, Any]:
    root = prepared_domain(one, name)
    manifest, labels = load_manifest(root), plain(one.DATASET.LABELS)
    _, classes = label_lut(manifest.labels, labels)
    regions = collection_regions(root, labels=labels, wanted=plain(one.DATASET.REGIONS))
    return {
        "name": name,
        "channels": len(manifest.channels),
        "classes": class_count(one, classes[1:], regions=len(regions or ())),
    }


def _kept(cfg: DictConfig, one: DictConfig, said: dict[str, Any]) -> dict[str, Any]:
    """The settings of a domain as the run keeps them: what was said, and what the plan filled in."""
    settings: dict[str, Any] = {
        **said,
        "PREPARED_PATH": one.DATASET.PREPARED_PATH,
        "INPUT": {**(said.get("INPUT") or {}), "PATCH": plain(one.INPUT.PATCH)},
    }
    settings.pop("INPUT.PATCH", None)
    if one.DATASET.SPLIT != cfg.DATASET.SPLIT:
        settings["DATASET"] = {**(said.get("DATASET") or {}), "SPLIT": one.DATASET.SPLIT}
    if one.HYPER_PARAMETERS.BATCH_SIZE != cfg.HYPER_PARAMETERS.BATCH_SIZE:
        own = {"BATCH_SIZE": one.HYPER_PARAMETERS.BATCH_SIZE}
        settings["HYPER_PARAMETERS"] = {**(said.get("HYPER_PARAMETERS") or {}), **own}
    if plain(one.LOSS.OPTIONS) != plain(cfg.LOSS.OPTIONS):
        settings["LOSS"] = {**(said.get("LOSS") or {}), "OPTIONS": plain(one.LOSS.OPTIONS)}
    return settings


def _multiples(cfg: DictConfig) -> list[int]:
    """What every side of a patch is a multiple of: the product of the network's strides."""
    from models.signatures import model_options

    strides = plain(cfg.MODEL.get("STRIDES")) or model_options("universal_unet")["strides"]
    return [math.prod(level[axis] for level in strides) for axis in range(3)]
