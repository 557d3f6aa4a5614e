"""Makes a run of weights of the original network, which predict.py and evaluate.py then use.

python import_weights.py MODEL.TYPE=unet SOURCE=checkpoint_final.pth RUN_NAME=imported DATASET.LABELS={liver: 1}
python import_weights.py SOURCE=spleen.domain.npz ADD_TO=<run> RUN_NAME=merged      # a domain joins a network for many

Reads PyTorch zip checkpoints, safetensors and npz without running anything that a file says. IMPORT.STRICT=False takes
what fits and lists the rest. Of domains SOURCE may be a list or {new name: file}; DOMAINS=[spleen] keeps these alone.
"""

import hashlib
import json
import logging
import pathlib
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.domain_exchange import is_domain_file, merge_domains
from commands.initial_weights import twin
from configs import ConfigError, entry
from configs.facts import checkpoint_folder, class_count, model_choice, place, plain
from configs.runs import new_run, save_config
from data_generators.labels import label_lut
from data_generators.manifest import load_manifest

if TYPE_CHECKING:
    import keras

    from models.keras_files import Transfer

_LOG = logging.getLogger("import_weights")
_SHOWN = 20


def check(cfg: DictConfig) -> None:
    """Answers mistakes before anything slow is imported."""
    from models import check_options

    if cfg.SOURCE is None:
        raise ConfigError("SOURCE is not set: type SOURCE=<weights file, .pth, .safetensors or .npz>.")
    if not is_domain_file(cfg.SOURCE):
        check_options(*model_choice(cfg))


def main(cfg: DictConfig) -> int:
    """Imports and reports; 1 where tensors were left out."""
    if is_domain_file(cfg.SOURCE):
        run, added = merge_domains(cfg)
        for name, parameters in added.items():
            print(f"{name}: {parameters:,} parameters on top of what is shared.")
        typed = f"RUN_NAME={run.name} DOMAIN={next(iter(added))}"
        print(f"Predict with: python predict.py {typed} INPUT_PATH=<file or folder>")
        return 0
    run, report = import_weights(cfg)
    print(f"{len(report.loaded)} tensors loaded, {len(report.unused)} unused, {len(report.missing)} missing.")
    left = (("Of another shape", report.differing), ("Unused", report.unused), ("Missing", report.missing))
    for word, keys in left:
        for key in keys[:_SHOWN]:
            print(f"{word}: {key}")
        if len(keys) > _SHOWN:
            print(f"{word}: and {len(keys) - _SHOWN} more")
    print(f"Predict with: python predict.py RUN_NAME={run.name} INPUT_PATH=<file or folder>")
    return 0 if report.complete() else 1


def import_weights(cfg: DictConfig) -> "tuple[pathlib.Path, Transfer]":
    """Builds the configured network, loads the file into it and writes a run.

    Args:
        cfg: A composed configuration, see `configs.compose`.

    Returns:
        The run's folder, and which tensors were loaded, of another shape, unused and missing.

    Raises:
        ValueError: The file cannot be read safely, or does not fit the network; nothing is written then.
    """
    from models.originals import load_original
    from models.torch_files import read_tensors

    source = place(cfg, str(cfg.SOURCE))
    tensors = read_tensors(source)
    network = _network(cfg)
    report = load_original(network, tensors, strict=cfg.IMPORT.STRICT, trained=twin(cfg, network))
    if not report.loaded:
        raise ConfigError(f"No tensor of {source} fits {network.name}: choose the MODEL.TYPE that it was trained as.")
    run = new_run(cfg)
    for name in ("best", "last"):
        path = checkpoint_folder(cfg, run) / f"{name}.weights.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        network.save_weights(path)
    save_config(cfg, run)
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    record = {
        "imported_from": str(source),
        "sha256": digest,
        "loaded": len(report.loaded),
        "unused": report.unused,
        "missing": report.missing,
        "of_another_shape": report.differing,
        "parameters": network.count_params(),
    }
    (run / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return run, report


def _network(cfg: DictConfig) -> "keras.Model":
    """The configured network; no weights are downloaded for it."""
    from models import build_model
    from models.signatures import takes

    kind, options = model_choice(cfg)
    kept = {name: value for name, value in options.items() if name != "backbone_weights"}
    size = tuple(plain(cfg.INPUT.PATCH) or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH))
    if not takes(kind, "num_classes"):
        return build_model(kind, input_shape=size, **kept)
    return build_model(kind, input_shape=(*size, cfg.INPUT.CHANNELS), num_classes=_outputs(cfg), **kept)


def _outputs(cfg: DictConfig) -> int:
    """Outputs by OUTPUT.CLASSES, DATASET.LABELS or the prepared collection."""
    folder = None if cfg.DATASET.PREPARED_PATH is None else place(cfg, cfg.DATASET.PREPARED_PATH)
    prepared = folder is not None and (folder / "manifest.json").is_file()
    labels: Any = load_manifest(folder).labels if prepared and folder is not None else {}
    if not labels and cfg.DATASET.LABELS is None:
        if cfg.OUTPUT.CLASSES is not None:
            return int(cfg.OUTPUT.CLASSES)
        raise ConfigError(
            "The classes have no names: type DATASET.LABELS={liver: 1}, in the order of the outputs, or OUTPUT.CLASSES."
        )
    return class_count(cfg, label_lut(labels, plain(cfg.DATASET.LABELS))[1][1:])


if __name__ == "__main__":
    entry(main, checks=[check])
