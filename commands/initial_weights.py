"""The weights that a training starts from: of a run, a Keras file, or the original network's file."""

import logging
import pathlib
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from configs import ConfigError
from configs.facts import model_choice, place, plain
from configs.runs import CONFIG_FILE

if TYPE_CHECKING:
    import keras

    from models.keras_files import Transfer

_LOG = logging.getLogger("train")
KERAS = (".h5", ".keras")


def find_initial_weights(cfg: DictConfig) -> pathlib.Path | None:
    """The file that `INITIAL_WEIGHTS` names, or `None` where nothing is said.

    Args:
        cfg: `INITIAL_WEIGHTS` is a run's name or folder (its best weights), a `.weights.h5`, a `.keras`, or a file of
            the original network.

    Raises:
        ConfigError: There is no such run or file.
    """
    if cfg.INITIAL_WEIGHTS is None:
        return None
    said = str(cfg.INITIAL_WEIGHTS)
    for path in (place(cfg, cfg.OUTPUT_PATH) / said, place(cfg, said)):
        if path.is_file():
            return path
        files = [path / "checkpoints" / f"{name}.weights.h5" for name in ("best", "last")]
        found = next((file for file in files if (path / CONFIG_FILE).is_file() and file.is_file()), None)
        if found is not None:
            return found
    raise ConfigError(
        f"INITIAL_WEIGHTS={said}: neither a run with weights in {place(cfg, cfg.OUTPUT_PATH)} nor a file. Type the "
        "name of a run, a .weights.h5, .keras, .pth, .safetensors or .npz."
    )


def start_from(cfg: DictConfig, network: "keras.Model") -> dict[str, Any]:
    """Gives a new network the weights of `INITIAL_WEIGHTS`, says what fitted, and returns that for `run.json`.

    Raises:
        ValueError: There is no such file, or with `INITIAL_WEIGHTS_STRICT` something does not fit.
    """
    path = find_initial_weights(cfg)
    if path is None:
        return {}
    try:
        report = _load(cfg, path, network)
    except ValueError as error:
        raise ConfigError(
            f"{path}: {error} INITIAL_WEIGHTS_STRICT=False takes what fits and trains the rest."
        ) from error
    if not report.loaded:
        raise ConfigError(f"Nothing in {path} fits {network.name}: type the MODEL options that it was trained with.")
    left = {"of another shape": report.differing, "missing": report.missing, "unused": report.unused}
    _LOG.info("Starts from %s: %d arrays taken.", path, len(report.loaded))
    for what, names in left.items():
        if names:
            _LOG.warning("%d %s: %s", len(names), what, "; ".join(names))
    return {"initial_weights": {"file": str(path), "loaded": len(report.loaded), **left}}


def twin(cfg: DictConfig, network: "keras.Model") -> "keras.Model | None":
    """The same network at `IMPORT.RESIZE_FROM`, or `None` where that is not set or the size of the network itself.

    Raises:
        ConfigError: It has another number of axes.
    """
    from models import build_model

    size = plain(cfg.IMPORT.RESIZE_FROM)
    shape = tuple(network.inputs[0].shape[1:])
    if size is None or tuple(size) == shape[:-1]:
        return None
    if len(size) != len(shape) - 1:
        raise ConfigError(f"IMPORT.RESIZE_FROM={size} has {len(size)} sizes, the network {len(shape) - 1}.")
    kind, options = model_choice(cfg)
    kept = {name: value for name, value in options.items() if name != "backbone_weights"}
    classes = int(network.outputs[0].shape[-1])
    return build_model(kind, input_shape=(*size, shape[-1]), num_classes=classes, **kept)


def _load(cfg: DictConfig, path: pathlib.Path, network: "keras.Model") -> "Transfer":
    from models.fitting import advice, shapes_of
    from models.keras_files import read_weights, transfer
    from models.originals import load_original
    from models.torch_files import read_tensors

    strict = bool(cfg.INITIAL_WEIGHTS_STRICT)
    if path.suffix not in KERAS:
        return load_original(network, read_tensors(path), strict=strict, trained=twin(cfg, network))
    stored = read_weights(path)
    try:
        return transfer(network, stored, strict=strict)
    except ValueError as error:
        raise ValueError(f"{error} {advice(network, shapes_of(stored))}".strip()) from error
