"""Domains of a network for many as files of their own: written from a run, merged into another."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from commands.base_runs import BaseRun, base_network, find_base
from commands.domain_runs import FACTS as FOLDER
from commands.domain_runs import known_facts, of_domain, unified_size
from commands.domains import domains_of, trained_names
from configs import ConfigError
from configs.facts import model_choice, place, plain, prepared_at
from configs.runs import Trained, new_run, save_config, weights_folders, with_run
from data_generators.labels import label_lut
from data_generators.manifest import FACTS, load_manifest, save_json

if TYPE_CHECKING:
    import keras

    from models.domain_files import DomainPart

FORMAT, SUFFIX = "domain", ".domain.npz"
"""Of EXPORT.FORMATS: what a domain adds, as a small file; and how its name ends."""


@dataclasses.dataclass(frozen=True)
class OneDomain:
    """One domain of a trained network.

    Attributes:
        whole: The network of all domains.
        name: The domain.
        options: Options of the whole network.
        size: Spatial size of its input in training.
        classes: Names, background first.
        facts: What its file says of it: the collection without its cases, its settings, the run.
    """

    whole: "keras.Model"
    name: str
    options: Mapping[str, Any]
    size: Sequence[int]
    classes: Sequence[str]
    facts: Mapping[str, Any]

    def network(self) -> "keras.Model":
        """The network of this domain alone."""
        from models.universal_unet import domain_model

        return domain_model(self.whole, self.name)

    def part(self) -> "DomainPart":
        """What the domain adds to the shared part."""
        from models.domain_files import domain_part

        return domain_part(self.whole, self.name, options=self.options, facts=self.facts)


def open_domain(cfg: DictConfig, run: pathlib.Path) -> OneDomain:
    """The domain of a run that `DOMAIN` names.

    Raises:
        ValueError: `DOMAIN` is missing or was not trained, the run is none of a network for many domains, or its
            weights do not fit.
    """
    from inference.loading import checkpoint_path, load_model

    trained = Trained(with_run(cfg, run), (run,))
    if not trained_names(trained.cfg) and cfg.DOMAIN is None:
        raise ConfigError(f"EXPORT.FORMATS=[domain]: {run.name} is a {trained.cfg.MODEL.TYPE} without domains.")
    model = of_domain(trained, cfg.DOMAIN)
    folder, name = prepared_at(model.cfg), str(cfg.DOMAIN)
    manifest = load_manifest(folder) if folder is not None else known_facts(run, model.cfg)
    size = list(unified_size(model) or plain(model.cfg.INPUT.PATCH))
    kind, options = model_choice(trained.cfg)
    whole = load_model(
        (kind, options),
        input_shape=(*([None] * 3 if cfg.EXPORT.FREE_SIZE else size), None),
        num_classes=0,
        weights=checkpoint_path(weights_folders(model)[0], cfg.CHECKPOINT),
    )
    _, names = label_lut(manifest.labels if manifest else {}, plain(model.cfg.DATASET.LABELS))
    settings = dict(plain(trained.cfg.DOMAIN_SETTINGS.get(name)) or {})
    settings.pop("PREPARED_PATH", None)  # of this machine
    facts = {
        "run": run.name,
        "settings": settings,
        "collection": None if manifest is None else dataclasses.replace(manifest, cases=()).to_dict(),
    }
    return OneDomain(whole, name, options, size, list(names), facts)


def is_domain_file(source: Any) -> bool:
    """Whether SOURCE means domains: files of that suffix, alone, in a list, or by new names."""
    return any(path.endswith(SUFFIX) for _, path in _sources(source))


def merge_domains(cfg: DictConfig) -> tuple[pathlib.Path, dict[str, int]]:
    """A run of the network of `ADD_TO` with the domains of `SOURCE` on top.

    Args:
        cfg: `SOURCE` is a domain's file, a list of them, or `{new name: file}`; `DOMAINS` may name those to keep.

    Returns:
        The new run's folder, and what every new domain adds to the parameters.

    Raises:
        ValueError: A file is damaged, was trained on other shared tensors, or its name is taken; nothing is written.
    """
    from models.domain_files import load_domain, with_domains

    if cfg.ADD_TO is None:
        raise ConfigError("A domain's file needs the network it was added to: type ADD_TO=<run>.")
    base = find_base(cfg)
    files = [(name, place(cfg, path)) for name, path in _sources(cfg.SOURCE)]
    loaded = [(name, load_domain(path)) for name, path in files]
    parts = [part if name is None else dataclasses.replace(part, name=name) for name, part in loaded]
    keep = domains_of(cfg) or None
    options = model_choice(base.cfg)[1]
    network = with_domains(base_network(base), parts, options=options, keep=keep)
    run = new_run(cfg)
    for choice in ("best", "last"):
        path = run / "checkpoints" / f"{choice}.weights.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        network.save_weights(path)
    _save_facts(run, base, parts)
    merged = _configuration(base, parts, keep)
    with open_dict(merged):
        merged.RUN_NAME = cfg.RUN_NAME
    save_config(merged, run)
    record = {
        "merged_into": str(base.weights),
        "domains": {part.name: {"sha256": _digest(path)} for part, (_, path) in zip(parts, files, strict=True)},
        "parameters": network.count_params(),
    }
    (run / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return run, {part.name: part.parameters for part in parts}


def _sources(source: Any) -> list[tuple[str | None, str]]:
    """New name, where one is given, and file of everything that SOURCE names."""
    given = plain(source)
    if isinstance(given, dict):
        return [(str(name), str(path)) for name, path in given.items()]
    return [(None, str(path)) for path in (given if isinstance(given, list) else [given])]


def _configuration(base: BaseRun, parts: "Sequence[DomainPart]", keep: Sequence[str] | None) -> DictConfig:
    """The base's configuration with the new domains, and without those that are left behind."""
    merged = base.cfg.copy()
    entries = [*plain(merged.MODEL.DOMAINS), *[part.entry for part in parts]]
    entries = [entry for entry in entries if keep is None or entry["name"] in keep]
    settings = {**plain(merged.DOMAIN_SETTINGS), **{part.name: part.facts.get("settings") or {} for part in parts}}
    with open_dict(merged):
        merged.MODEL.DOMAINS = entries
        merged.DOMAINS = [entry["name"] for entry in entries]
        merged.DOMAIN_SETTINGS = {name: settings.get(name) or {} for name in merged.DOMAINS}
        merged.ADD_DOMAINS = merged.ADD_TO = None
        merged.CHECKPOINT = "best"
        merged.OVERRIDES = []
    return merged


def _save_facts(run: pathlib.Path, base: BaseRun, parts: "Sequence[DomainPart]") -> None:
    """What the collection of every domain is."""
    if (base.folder / FOLDER).is_dir():
        shutil.copytree(base.folder / FOLDER, run / FOLDER)
    for part in parts:
        if part.facts.get("collection"):
            (run / FOLDER / part.name).mkdir(parents=True, exist_ok=True)
            save_json(run / FOLDER / part.name / FACTS, part.facts["collection"])


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
