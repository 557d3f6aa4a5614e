"""Checkpoints: what a run needs to go on exactly, and weights that inference reads.

`last.state.npz` holds everything: weights, optimizer, averaged weights, loss scale, metrics of an unfinished epoch,
random generators, position and history. It is one file, so that a run killed at any moment finds either the old state
or the new one. `best.weights.h5` and `last.weights.h5` are plain Keras weights of the network (the averaged ones where
there are any), read by `model.load_weights`.
"""

import contextlib
import json
import logging
import os
import pathlib
import random
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from training.optimizers import inner_optimizer

log = logging.getLogger(__name__)

STATE = "last.state.npz"
_META = "meta.json"


class CheckpointError(ValueError):
    """A checkpoint cannot be written, read, or does not fit; one line with the remedy."""


@dataclass
class Progress:
    """Where a run is, and what it has seen.

    Attributes:
        epoch: Finished epochs.
        step: Batches done in the epoch after them.
        seconds: Time spent training, over all continuations.
        best: Best value of the metric that is followed, `None` before the first.
        waited: Validations since then.
        plateau: What the plateau schedule has multiplied the rate by.
        plateau_waited: Validations since the best value or the last such multiplication.
        trained: What training of an epoch gave, while its validation is not done yet.
        history: One row for each finished epoch.
        facts: Facts about the run that a continuation must share, such as batches in an epoch.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    waited: int = 0
    plateau: float = 1.0
    plateau_waited: int = 0
    trained: dict[str, float] | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def save_state(path: pathlib.Path, model: keras.Model, progress: Progress) -> None:
    """Writes everything a run needs to go on, atomically.

    Args:
        path: File to write.
        model: Compiled, its variables made. On JAX its state must be synchronised.
        progress: Position and history.

    Raises:
        CheckpointError: The file cannot be written; the previous one is intact.
    """
    arrays, names = {}, {}
    for group, variables in variable_groups(model).items():
        names[group] = [_name(variable) for variable in variables]
        arrays |= {f"{group}/{place}": np.asarray(variable.numpy()) for place, variable in enumerate(variables)}
    generator: list[Any] = list(np.random.get_state())
    meta = {
        "version": 1,
        "names": names,
        "progress": asdict(progress),
        "python": random.getstate(),
        "numpy": [generator[0], generator[1].tolist(), *generator[2:]],
    }
    arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)

    def write(temporary: pathlib.Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    write_atomically(path, write)


def load_state(path: pathlib.Path, model: keras.Model) -> Progress:
    """Puts a run back where `save_state` found it.

    Args:
        path: A file of `save_state`.
        model: Made and compiled as the one that was saved.

    Returns:
        Position and history.

    Raises:
        CheckpointError: The file is missing, damaged, or of another network or optimizer.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            meta = json.loads(bytes(stored[_META]))
            arrays = {name: stored[name] for name in stored.files if name != _META}
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no {path} to continue from. Train without RESUME=True.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it and train without RESUME=True.") from error
    for group, variables in variable_groups(model).items():
        _check(path, group, variables, meta["names"].get(group, []), arrays)
        for place, variable in enumerate(variables):
            variable.assign(arrays[f"{group}/{place}"])
    version, internal, gauss = meta["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = meta["numpy"]
    np.random.set_state((kind, np.asarray(keys, np.uint32), *rest))
    return Progress(**meta["progress"])


def read_metrics(model: keras.Model) -> list[np.ndarray]:
    """Values of the metrics' variables; among TensorFlow's processes sums over all, so that all must read them."""
    return [np.asarray(variable.numpy()) for variable in model.metrics_variables]


def variable_groups(model: keras.Model) -> Mapping[str, Sequence[Any]]:
    """All state of a compiled model: the network with its seed generators, the optimizer, the metrics."""
    return {
        "network": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }


def save_weights(path: pathlib.Path, network: keras.Model) -> None:
    """Writes the network's weights for `load_weights`, atomically.

    Args:
        path: Ends in `.weights.h5`, or in `.keras` for the whole network.
        network: Without optimizer and metrics.

    Raises:
        CheckpointError: The file cannot be written; the previous one is intact.
    """
    write_atomically(path, network.save if path.suffix == ".keras" else network.save_weights)


def load_network_weights(path: pathlib.Path, network: keras.Model) -> None:
    """Loads weights of the same network, strictly.

    Raises:
        CheckpointError: The file is missing or damaged, or its network has other layers, widths or classes.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no weights file {path}.")
    try:
        network.load_weights(path)
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path} does not fit {network.name} with {network.output_shape} outputs: {reason[:300]} "
            "Give the MODEL options and the number of classes it was trained with."
        ) from error


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Generator[None]:
    """Inside, the network has the averaged weights where the optimizer keeps any."""
    optimizer = inner_optimizer(model.optimizer)
    averages = optimizer._model_variables_moving_average if optimizer.use_ema else []
    # Before the first update the averages are zeros.
    if not averages or int(optimizer.iterations.numpy() if hasattr(optimizer.iterations, "numpy") else 0) == 0:
        yield
        return
    weights = [variable.numpy() for variable in model.trainable_variables]
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        variable.assign(average.numpy())
    try:
        yield
    finally:
        for variable, weight in zip(model.trainable_variables, weights, strict=True):
            variable.assign(weight)


def write_atomically(path: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
    """Writes beside the file and renames, so that a reader, or a crash, sees the old file or the new one.

    Args:
        path: Its folder is made.
        write: Writes the file it is given; the name keeps the suffixes of `path`.

    Raises:
        CheckpointError: Writing failed, for instance because the disk is full; `path` is as it was.
    """
    stem, dot, suffixes = path.name.partition(".")
    temporary = path.with_name(f".{stem}-writing{dot}{suffixes}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} could not be written ({error}); the previous one is intact. "
            "Make room and type RESUME=True to go on from it."
        ) from error


def _name(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name))


def _check(
    path: pathlib.Path, group: str, variables: Sequence[Any], names: Sequence[str], arrays: Mapping[str, np.ndarray]
) -> None:
    wanted = [tuple(variable.shape) for variable in variables]
    stored = [arrays[f"{group}/{place}"].shape for place in range(len(names))]
    if wanted == stored:
        return
    differing = next((place for place, pair in enumerate(zip(wanted, stored, strict=False)) if pair[0] != pair[1]), -1)
    detail = (
        f"{_name(variables[differing])} is {wanted[differing]} here and {stored[differing]} there"
        if differing >= 0
        else f"there are {len(wanted)} here and {len(stored)} there"
    )
    raise CheckpointError(
        f"{path} is of another run: of the {group}'s variables, {detail}. "
        "Continue with the configuration the run was started with, or train without RESUME=True."
    )
