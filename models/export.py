"""A network as a file that needs no training code: `.keras`, SavedModel, ONNX; each compared with the network."""

import importlib
import importlib.util
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from models.signatures import MODELS

TOLERANCE = 1e-3

# A .keras file names the layers of the package; importing the builders makes them known to Keras.
for _entry in MODELS.values():
    importlib.import_module(_entry.builder.split(":")[0])
importlib.import_module("models.pruning")


class ExportError(ValueError):
    """A network cannot be written so; one line with the remedy."""


def export_network(network: keras.Model, target: pathlib.Path, format: str) -> pathlib.Path:
    """Writes a network.

    Args:
        network: One input `(b, *s, c)`; its outputs are logits.
        target: Without suffix; its folder is made.
        format: A key of `FORMATS`.

    Returns:
        The file, or the folder of a SavedModel.

    Raises:
        ExportError: The format is unknown, or needs a package that is not installed.
    """
    check_format(format)
    target.parent.mkdir(parents=True, exist_ok=True)
    return FORMATS[format][0](network, target)


def check_format(format: str) -> None:
    """Refuses an unknown format, or one whose packages are not here.

    Raises:
        ExportError: As said.
    """
    if format not in FORMATS:
        raise ExportError(f"EXPORT.FORMATS={format} is unknown. Type a list of {', '.join(FORMATS)}.")
    missing = [name for name in _PACKAGES[format] if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"The format {format} needs {' and '.join(missing)}: type pip install {' '.join(missing)}.")


def largest_difference(network: keras.Model, path: pathlib.Path, format: str, image: np.ndarray) -> float | None:
    """How far the file's answer is from the network's, relative to the network's largest logit.

    Args:
        network: What was exported.
        path: From `export_network`.
        format: Of the file.
        image: `(b, *s, c)` float32.

    Returns:
        Largest absolute difference over the largest absolute logit; None where nothing can run the file here.

    Raises:
        ExportError: It is larger than `TOLERANCE`: the file is not the network.
    """
    if format == "onnx" and importlib.util.find_spec("onnxruntime") is None:
        return None
    wanted = _as_list(network(image, training=False))
    found = _as_list(FORMATS[format][1](path, image))
    largest = max(float(np.abs(answer).max()) for answer in wanted) or 1.0
    apart = max(float(np.abs(a - b).max()) for a, b in zip(wanted, found, strict=True)) / largest
    if not apart <= TOLERANCE:
        raise ExportError(
            f"{path} answers otherwise than the network: by {apart:.2g} of the largest logit. Do not use it; export as "
            "another of EXPORT.FORMATS."
        )
    return apart


def _as_list(answer: Any) -> list[np.ndarray]:
    values = list(answer.values()) if isinstance(answer, dict) else answer
    several = values if isinstance(values, list | tuple) else [values]
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in several]


def _write_keras(network: keras.Model, target: pathlib.Path) -> pathlib.Path:
    path = target.with_name(f"{target.name}.keras")
    network.save(path)
    return path


def _write_saved_model(network: keras.Model, target: pathlib.Path) -> pathlib.Path:
    path = target.with_name(f"{target.name}.savedmodel")
    network.export(path, format="tf_saved_model", verbose=False)
    return path


def _write_onnx(network: keras.Model, target: pathlib.Path) -> pathlib.Path:
    path = target.with_name(f"{target.name}.onnx")
    network(keras.KerasTensor(network.input_shape))  # Keras exports to ONNX what was called before
    network.export(path, format="onnx", verbose=False)
    return path


def _run_keras(path: pathlib.Path, image: np.ndarray) -> Any:
    loaded: Any = keras.saving.load_model(path)
    return loaded(image, training=False)


def _run_saved_model(path: pathlib.Path, image: np.ndarray) -> Any:
    return keras.layers.TFSMLayer(path, call_endpoint="serve")(image)


def _run_onnx(path: pathlib.Path, image: np.ndarray) -> Any:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


_Format = tuple[Callable[[keras.Model, pathlib.Path], pathlib.Path], Callable[[pathlib.Path, np.ndarray], Any]]

FORMATS: Mapping[str, _Format] = {
    "keras": (_write_keras, _run_keras),
    "savedmodel": (_write_saved_model, _run_saved_model),
    "onnx": (_write_onnx, _run_onnx),
}
_PACKAGES: Mapping[str, Sequence[str]] = {
    "keras": (),
    "savedmodel": ("tensorflow",),
    "onnx": ("tensorflow", "tf2onnx"),
}
