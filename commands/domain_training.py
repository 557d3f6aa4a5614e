"""One network on many domains: what trains it."""

import dataclasses
import logging
import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.base_runs import BaseRun, base_network, find_base
from commands.data import find_data, make_batching, scored_names
from commands.domain_plans import prepared_domain
from commands.domains import domain_configuration, domains_of, trained_names
from commands.training import Job, make_objective, make_optimizer, make_pictures, make_rules, make_validation
from configs import ConfigError
from configs.facts import model_choice, plain

if TYPE_CHECKING:
    import keras

    from data_generators.domains import DomainLoader
    from training.data import Data
    from training.domains import DomainChoice
    from training.runtime import Runtime
    from training.samples import SamplePictures
    from training.session import Validate
    from training.tensorboard import Pictures

FACTS_OF = "domains"
"""Folder of a run that holds what each of its collections is."""
_LOG = logging.getLogger("train")


def make_domains_job(cfg: DictConfig, runtime: "Runtime") -> Job:
    """One network on the domains of `DOMAINS`, as `commands.domain_plans.with_domains` filled them in."""
    from training.assembly import initial_rate
    from training.domain_feeds import domain_feed
    from training.domains import assemble_domains

    own = {name: domain_configuration(cfg, name) for name in domains_of(cfg)}
    data = {name: _data(cfg, one) for name, one in own.items()}
    loader = _loader(cfg, own, data, runtime=runtime)
    rules = make_rules(cfg, devices=runtime.replicas * runtime.process[1])
    base = find_base(cfg) if cfg.ADD_DOMAINS and not cfg.RESUME else None
    model = assemble_domains(
        lambda: _network(cfg, _size(data), base),
        {name: _choice(own[name], data[name]) for name in own},
        optimizer=make_optimizer(cfg),
        learning_rate=initial_rate(rules.schedule, rules.budget, steps_per_epoch=len(loader)),
        runtime=runtime,
        remat=cfg.OPTIMIZATION.REMAT,
    )
    facts = _facts(data, model, base)
    validate, pictures = _validation(own, data, runtime=runtime)
    _LOG.info("universal_unet with %s parameters, %s of them trained.", *_counted(facts))
    return Job(
        model=model,
        loader=loader,
        feed=domain_feed(loader, make_batching(cfg), runtime=runtime),
        rules=rules,
        validate=validate,
        facts=facts,
        collections=_collections(own, base),
        pictures=pictures,
    )


def _data(cfg: DictConfig, one: DictConfig) -> "Data":
    """Patches of one domain at its own spacing, or resized to those of all domains."""
    from data_generators.resized import ResizedSource

    data = find_data(one)
    _LOG.info("%s: %s", one.DOMAIN, data.describe())
    wanted = next(entry for entry in plain(cfg.MODEL.DOMAINS) if entry["name"] == one.DOMAIN)
    if int(wanted["channels"]) != data.modalities:
        raise ConfigError(
            f"Domain {one.DOMAIN} has {wanted['channels']} channels in this run, its collection "
            f"{one.DATASET.PREPARED_PATH} has {data.modalities}: prepare it as before, or train a new run."
        )
    if cfg.INPUT.UNIFY != "resize":
        return data
    size = plain(cfg.INPUT.PATCH)
    train: Any = ResizedSource(data.train, size)
    validation: Any = None if data.validation is None else ResizedSource(data.validation, size)
    return dataclasses.replace(data, train=train, validation=validation)


def _loader(
    cfg: DictConfig, own: Mapping[str, DictConfig], data: "Mapping[str, Data]", *, runtime: "Runtime"
) -> "DomainLoader":
    from data_generators.augmentation import build_augmentation
    from data_generators.domains import DomainLoader, DomainOrder
    from training.loaders import training_loader

    batching = {name: dataclasses.replace(make_batching(one), loader="SEQUENCE") for name, one in own.items()}
    devices = runtime.replicas * runtime.process[1]
    once = sum(math.ceil(len(data[name].train) / (batching[name].batch_size * devices)) for name in own)
    steps = int(cfg.HYPER_PARAMETERS.STEPS_PER_EPOCH or once)
    loaders: dict[str, Any] = {}
    for name, one in own.items():
        found = data[name]
        augment = build_augmentation(
            plain(one.AUGMENTATION), modalities=found.modalities, class_names=found.class_names
        )
        way = dataclasses.replace(batching[name], steps_per_epoch=steps)
        loaders[name] = training_loader(found.train, way, runtime=runtime, augment=augment)
    order = DomainOrder(
        [len(found.train) for found in data.values()],
        steps,
        kind=cfg.SAMPLING.DOMAINS,
        temperature=cfg.SAMPLING.TEMPERATURE,
        seed=cfg.SEED,
    )
    return DomainLoader(loaders, order)


def _size(data: "Mapping[str, Data]") -> tuple[int | None, ...]:
    """The patch that all domains share, or free sizes."""
    sizes = {tuple(found.train.shape or ())[:-1] for found in data.values()}
    return sizes.pop() if len(sizes) == 1 else (None, None, None)


def _network(cfg: DictConfig, size: tuple[int | None, ...], base: BaseRun | None) -> "keras.Model":
    """The network of all domains; what is added to brings its weights, and what is shared is frozen."""
    from models import build_model
    from models.universal_unet import domain_layers, freeze_shared, inherit

    kind, options = model_choice(cfg)
    network = build_model(kind, input_shape=size, **options)
    if base is not None:
        inherit(network, base_network(base))
    if cfg.ADD_DOMAINS:
        new, *others = domains_of(cfg)
        freeze_shared(network, new=new, rule=str(cfg.ADD_DOMAINS))
        for name in others:
            for layer in domain_layers(network, name):
                layer.trainable = True
    return network


def _choice(one: DictConfig, data: "Data") -> "DomainChoice":
    from training.domains import DomainChoice

    names, regions = scored_names(one, data)
    return DomainChoice(
        make_objective(one, regions),
        class_names=names,
        patch=tuple(data.train.shape or ())[:-1],
        ignore_label=one.DATASET.IGNORE_LABEL,
        regions=regions,
    )


def _validation(
    own: Mapping[str, DictConfig], data: "Mapping[str, Data]", *, runtime: "Runtime"
) -> "tuple[Validate | None, Pictures | None]":
    """What measures all domains, and what gives the validation samples that were drawn since it was last asked."""
    from training.domains import validate_domains

    measures: dict[str, Validate] = {}
    drawn: dict[str, SamplePictures] = {}
    for name, one in own.items():
        measure = make_validation(one, data[name], make_batching(one), runtime=runtime)
        pictures = make_pictures(one, data[name], runtime)
        if measure is not None:
            measures[name] = measure if pictures is None else pictures.beside(measure)
            drawn |= {} if pictures is None else {name: pictures}

    def take() -> dict[str, Any]:
        found = {name: pictures.take() for name, pictures in drawn.items()}
        return {f"{name}/{sample}": picture for name, taken in found.items() for sample, picture in taken.items()}

    return (validate_domains(measures), take) if measures else (None, None)


def _facts(data: "Mapping[str, Data]", model: Any, base: BaseRun | None) -> dict[str, Any]:
    from training.record import fingerprint

    domains = {name: {**found.facts, "classes": list(found.class_names)} for name, found in data.items()}
    facts = {
        "domains": domains,
        "data_sha256": fingerprint([str(found["data_sha256"]) for found in domains.values()]),
        "parameters": model.network.count_params(),
        "trained_parameters": sum(math.prod(variable.shape) for variable in model.trainable_variables),
    }
    return facts if base is None else {**facts, "added_to": str(base.weights)}


def _counted(facts: Mapping[str, Any]) -> tuple[str, str]:
    return f"{facts['parameters']:,}", f"{facts['trained_parameters']:,}"


def _collections(own: Mapping[str, DictConfig], base: BaseRun | None) -> dict[str, pathlib.Path]:
    """Facts of every domain's collection, those of earlier domains from their run."""
    found = {f"{FACTS_OF}/{name}": prepared_domain(one, name) for name, one in own.items()}
    if base is None:
        return found
    return {f"{FACTS_OF}/{name}": base.folder / FACTS_OF / name for name in trained_names(base.cfg)} | found
