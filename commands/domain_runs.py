"""Runs of a network for many domains: the one domain that is meant, with its own configuration."""

import pathlib
from typing import Any

from omegaconf import DictConfig

from commands.domains import domain_configuration, trained_names
from configs import ConfigError
from configs.facts import model_choice
from configs.runs import Trained, find_trained, with_run
from data_generators.manifest import load_facts
from data_generators.records import Manifest

FACTS = "domains"
"""Folder of a run that holds what each of its collections is."""


def find_models(cfg: DictConfig, *, folds: int) -> list[Trained]:
    """What `configs.runs.find_trained` finds; of a network for many domains the configuration is that of `DOMAIN`.

    Args:
        cfg: A composed configuration.
        folds: How many there are.

    Raises:
        ConfigError: There is no such run; or `DOMAIN` is missing, or none that was trained (lists those that were).
    """
    return [of_domain(model, cfg.DOMAIN) for model in find_trained(cfg, folds=folds)]


def of_domain(model: Trained, name: str | None) -> Trained:
    """The model with the configuration of one of its domains; one without domains is itself.

    Raises:
        ConfigError: As `find_models`.
    """
    run, names = model.runs[0].name, trained_names(model.cfg)
    if not names:
        if name is not None:
            raise ConfigError(f"DOMAIN={name}: {run} is a {model.cfg.MODEL.TYPE} without domains. Leave DOMAIN out.")
        return model
    if name not in names:
        given = "DOMAIN is not set" if name is None else f"DOMAIN={name} was not trained"
        raise ConfigError(f"{given}: {run} knows {', '.join(names)}. Type DOMAIN= one of them.")
    return Trained(domain_configuration(model.cfg, name), model.runs)


def each_domain(cfg: DictConfig) -> list[DictConfig]:
    """The configuration once for every domain that is meant: `DOMAIN`, or else all that were trained.

    An ordinary network is meant once; so is one that is not found, which whoever looks for it says in its own words;
    so are label files that exist already.
    """
    if cfg.DOMAIN is not None or cfg.EVALUATION.PREDICTIONS is not None:
        return [cfg]
    try:
        names = trained_names(find_trained(cfg, folds=1)[0].cfg)
    except ConfigError:
        names = []
    return [_meaning(cfg, name) for name in names] or [cfg]


def narrowed(cfg: DictConfig) -> DictConfig:
    """The configuration, before the folds are known: that of `DOMAIN` in the first fold's run, or as it is."""
    return cfg if cfg.DOMAIN is None else find_models(cfg, folds=1)[0].cfg


def check_network(cfg: DictConfig) -> None:
    """Answers a misspelt network or option before anything slow is imported. The domains are those of the run."""
    from models import check_options
    from models.signatures import takes

    kind, options = model_choice(cfg)
    check_options(kind, {"domains": [], **options} if takes(kind, "domains") else options)


def chosen_network(cfg: DictConfig, *, channels: int, outputs: int) -> tuple[str, dict[str, Any]]:
    """Type and options of the network, with the `domain` of a network for many.

    Args:
        cfg: Of one domain, or of an ordinary network.
        channels: Of the images.
        outputs: Wanted of the network.

    Raises:
        ConfigError: The domain was trained with other channels or classes.
    """
    kind, options = model_choice(cfg)
    domain = next((item for item in options.get("domains", ()) if item["name"] == cfg.DOMAIN), None)
    if domain is None:
        return kind, options
    for what, has, wanted in (("channels", domain["channels"], channels), ("classes", domain["classes"], outputs)):
        if int(has) != wanted:
            raise ConfigError(
                f"DOMAIN={cfg.DOMAIN} was trained with {has} {what}, its collection "
                f"{cfg.DATASET.PREPARED_PATH} has {wanted}. Type the collection it was trained on as "
                "DATASET.PREPARED_PATH=..., or another DOMAIN."
            )
    return kind, {**options, "domain": str(cfg.DOMAIN)}


def unified_size(model: Trained) -> tuple[int, ...] | None:
    """Size that patches of every domain were resized to; None where each kept its own."""
    if model.cfg.INPUT.UNIFY != "resize" or not trained_names(model.cfg):
        return None
    stored = with_run(model.cfg, model.runs[0])  # the domain's configuration has the patch before it was resized
    return tuple(int(size) for size in stored.INPUT.PATCH)


def facts_folder(run: pathlib.Path, cfg: DictConfig) -> pathlib.Path:
    """Where a run keeps what its collection is; of a domain a folder of its own."""
    return run / FACTS / str(cfg.DOMAIN) if trained_names(cfg) else run


def known_facts(run: pathlib.Path, cfg: DictConfig) -> Manifest | None:
    """What a run remembers of its collection, or of that of its domain."""
    return load_facts(facts_folder(run, cfg))


def results_folder(run: pathlib.Path, kind: str, cfg: DictConfig) -> pathlib.Path:
    """`evaluation` or `predictions` of a run; of a domain a folder of its own in it."""
    return run / kind / str(cfg.DOMAIN) if trained_names(cfg) else run / kind


def _meaning(cfg: DictConfig, name: str) -> DictConfig:
    one = cfg.copy()
    one.DOMAIN = name
    one.OVERRIDES = [*cfg.OVERRIDES, f"DOMAIN={name}"]
    return one
