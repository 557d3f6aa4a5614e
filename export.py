"""Writes a trained network as a file of its own, whole or pruned.

python export.py MODEL.TYPE=unetplusplus MODEL.PRUNE_AT=L3              # the part of a UNet++ up to head L3
python export.py MODEL.TYPE=unetplusplus INFERENCE.HEADS=accurate       # the mean of all heads
python export.py RUN_NAME=<run> EXPORT.FORMATS=[keras,savedmodel,onnx]
python export.py experiment=universal_unet DOMAIN=spleen EXPORT.FORMATS=[domain]   # what the domain adds, alone

Inputs are images as the run's configuration prepares them, outputs are logits. Every file is compared with the network;
the JSON file beside it says what it holds. To load a `.keras` file, `import models.export` first: it has our layers.
A `.domain.npz` file is put on the network it was added to by import_weights.py.
"""

import json
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from commands.domain_exchange import FORMAT, SUFFIX, OneDomain, open_domain
from commands.domains import trained_names
from configs import ConfigError, entry
from configs.facts import (
    checkpoint_folder,
    class_count,
    model_choice,
    place,
    plain,
    prepared_at,
    slices_and_channels,
)
from configs.runs import find_run, with_run
from data_generators.labels import label_lut
from data_generators.manifest import load_manifest

if TYPE_CHECKING:
    import keras

_LEVEL = "MODEL.PRUNE_AT"


def check(cfg: DictConfig) -> None:
    """Answers mistakes before anything slow is imported."""
    if not isinstance(plain(cfg.EXPORT.FORMATS), list) or not plain(cfg.EXPORT.FORMATS):
        raise ConfigError("EXPORT.FORMATS is a list such as [keras,onnx].")
    if _level(cfg) is not None and cfg.INFERENCE.HEADS is not None:
        raise ConfigError(f"{_LEVEL} and INFERENCE.HEADS both choose a head: leave one of them out.")


def main(cfg: DictConfig) -> int:
    """Exports and says what each file is."""
    files = export(cfg)
    for entry_of in files:
        apart = entry_of["difference"]
        said = "not compared: onnxruntime is not installed" if apart is None else f"differs by {apart:.1e}"
        print(f"{entry_of['file']}  {entry_of['parameters']:,} parameters, {said}")
    return 0


def export(cfg: DictConfig) -> list[dict[str, Any]]:
    """Writes the network of a run in every format that is asked for.

    Args:
        cfg: A composed configuration, see `configs.compose`.

    Returns:
        One entry per file: `file`, `format`, `parameters`, `difference` and what is in `export.json`.

    Raises:
        ValueError: There is no such run or head, a format is unknown or its package missing, or a file does not answer
            as the network.
    """
    from models.export import check_format, export_network, largest_difference

    formats = [str(name) for name in plain(cfg.EXPORT.FORMATS)]
    for name in formats:
        if name != FORMAT:
            check_format(name)
    run = find_run(cfg)
    many = FORMAT in formats or cfg.DOMAIN is not None or bool(trained_names(with_run(cfg, run)))
    domain = open_domain(cfg, run) if many else None
    network, facts = trained_network(cfg, run) if domain is None else (domain.network(), _domain_facts(domain))
    folder = run / "export" if cfg.EXPORT.PATH is None else place(cfg, cfg.EXPORT.PATH)
    target = folder / "_".join([network.name, *facts["suffix"]])
    shape = [side or size for side, size in zip(network.input_shape[1:-1], facts["size"], strict=True)]
    image = np.random.default_rng(0).random((1, *shape, network.input_shape[-1]), np.float32)
    common = {
        "run": run.name,
        "input": list(network.input_shape),
        "outputs": "logits; " + ("one sigmoid" if facts["outputs"] == 1 else f"softmax of {facts['outputs']}"),
        "classes": facts["classes"],
        "head": "_".join(facts["suffix"]) or "last",
    }
    written: list[dict[str, Any]] = []
    for name in formats:
        if name == FORMAT and domain is not None:
            written.append({**_write_domain(domain, target), **common})
            continue
        path = export_network(network, target, name)
        difference = largest_difference(network, path, name, image)
        own = {"file": str(path), "format": name, "parameters": network.count_params(), "difference": difference}
        written.append({**own, **common})
    target.with_name(f"{target.name}.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return written


def trained_network(cfg: DictConfig, run: pathlib.Path) -> "tuple[keras.Model, dict[str, Any]]":
    """The network of a run with the heads that are asked for, and what is known about it."""
    from inference.loading import checkpoint_path, load_model
    from models import inference_model
    from models.pruning import choose_heads, prune

    level = _level(cfg)
    trained = with_run(_without_level(cfg), run)
    names, channels = _classes(trained)
    size = plain(trained.INPUT.PATCH) or [trained.INPUT.HEIGHT, trained.INPUT.WIDTH]
    outputs = class_count(trained, names[1:])
    whole = load_model(
        model_choice(trained),
        input_shape=(*([None] * len(size) if cfg.EXPORT.FREE_SIZE else size), channels),
        num_classes=outputs,
        weights=checkpoint_path(checkpoint_folder(trained, run), cfg.CHECKPOINT),
    )
    facts = {"size": size, "outputs": outputs, "classes": list(names), "suffix": list[str]()}
    if level is not None:
        small = prune(whole, level, output_weights=plain(trained.LOSS.OUTPUT_WEIGHTS))
        return small, {**facts, "suffix": [f"L{str(level).upper().removeprefix('L')}"]}
    heads = plain(cfg.INFERENCE.HEADS)
    if heads is None:
        return inference_model(whole), facts
    named = [str(head) for head in heads] if isinstance(heads, list) else [str(heads)]
    return choose_heads(whole, heads), {**facts, "suffix": named}


def _domain_facts(domain: OneDomain) -> dict[str, Any]:
    outputs = int(domain.network().output_shape[-1])
    return {"size": domain.size, "outputs": outputs, "classes": list(domain.classes), "suffix": [domain.name]}


def _write_domain(domain: OneDomain, target: pathlib.Path) -> dict[str, Any]:
    """Writes what the domain adds; the file is read back and compared."""
    from models.domain_files import load_domain, save_domain

    part = domain.part()
    path = save_domain(target.with_name(f"{target.name}{SUFFIX}"), part)
    found = load_domain(path).tensors
    apart = max(float(np.abs(found[key] - tensor).max()) for key, tensor in part.tensors.items())
    told = {"parameters": part.parameters, "shared_sha256": part.shared, "difference": apart}
    return {"file": str(path), "format": FORMAT, **told}


def _level(cfg: DictConfig) -> Any:
    """The head typed now; the one that a run was trained with is part of its network."""
    typed = any(str(override).startswith(f"{_LEVEL}=") for override in cfg.OVERRIDES)
    return cfg.MODEL.get("PRUNE_AT") if typed else None


def _without_level(cfg: DictConfig) -> DictConfig:
    copy = cfg.copy()
    OmegaConf.set_struct(copy, False)
    copy.MODEL.pop("PRUNE_AT", None)
    copy.OVERRIDES = [line for line in plain(cfg.OVERRIDES) if not line.startswith(f"{_LEVEL}=")]
    return copy


def _classes(cfg: DictConfig) -> tuple[list[str], int]:
    """Class names with background, and input channels."""
    folder = prepared_at(cfg)
    manifest = load_manifest(folder) if folder is not None else None
    _, names = label_lut(manifest.labels if manifest else {}, plain(cfg.DATASET.LABELS))
    if cfg.INPUT.PATCH is not None and len(cfg.INPUT.PATCH) == 3:
        further = len(names) - 1 if cfg.CASCADE else 0  # a channel for each class of the first stage
        return list(names), (len(manifest.channels) if manifest else int(cfg.INPUT.CHANNELS)) + further
    return list(names), slices_and_channels(cfg, len(manifest.channels) if manifest else 1)[1]


if __name__ == "__main__":
    entry(main, checks=[check])
