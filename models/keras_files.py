"""Weights in Keras files by the names of their layers: read without the network, and put into one that differs.

    read_weights(path) -> {"layer/place": array}          `.weights.h5` or `.keras`; nothing but arrays is read
    transfer(network, stored, strict=True) -> Transfer     every array whose layer and shape fit

Keras itself finds layers by their kind and order, so that one layer more makes a file useless.
"""

import contextlib
import math
import pathlib
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import keras
import numpy as np

from models.grids import GRID
from models.state_dicts import some


@dataclass(frozen=True)
class Transfer:
    """What became of stored weights.

    Attributes:
        loaded: Arrays that the network took.
        differing: Arrays of other shapes, with both shapes in words; the network keeps its own.
        missing: Arrays of the network that are not in the file.
        unused: Arrays of the file that the network has no place for.
    """

    loaded: list[str] = field(default_factory=list[str])
    differing: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    unused: list[str] = field(default_factory=list[str])

    def complete(self) -> bool:
        """Whether everything fitted."""
        return not (self.differing or self.missing or self.unused)


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by layer and place: `x0_0_conv/0`, `encoder0_block0_attention/attention/mix/0`.

    Raises:
        ValueError: The file is no Keras weights file.
    """
    with _opened(path) as file:
        return {name: np.asarray(item) for name, item in _arrays(file).items()}


def finest_grid(path: pathlib.Path) -> tuple[int, ...] | None:
    """The finest grid whose voxels weights of the file belong to, or `None` where none do."""
    with _opened(path) as file:
        grids = [item for name, item in _arrays(file).items() if name.endswith(f"/{GRID}")]
        finest = max((tuple(int(edge) for edge in np.asarray(item)) for item in grids), key=math.prod, default=None)
    return finest


def transfer(network: keras.Model, stored: Mapping[str, np.ndarray], *, strict: bool = True) -> Transfer:
    """Gives a network every stored array that fits one of its own by name and shape.

    Positions and token projections of another grid (UNETR++ at another patch size) fit as well: they are resized.

    Args:
        network: Keeps its own values where nothing fits.
        stored: See `read_weights`.
        strict: Whether anything that does not fit is an error; the network is unchanged then.

    Raises:
        ValueError: With `strict`, something is missing, unused or of another shape.
    """
    found = Transfer()
    with tempfile.TemporaryDirectory() as folder:
        own = pathlib.Path(folder) / "own.weights.h5"
        network.save_weights(own)
        with h5py.File(own, "r+") as file:
            arrays = _arrays(file)
            for name, item in arrays.items():
                _merge(name, item, stored, found, gridded=f"{name.rpartition('/')[0]}/{GRID}" in arrays)
        found.unused.extend(name for name in stored if name not in arrays)
        if strict and not found.complete():
            raise ValueError(
                f"The weights do not fit {network.name}: {some('of another shape', found.differing)}; "
                f"{some('missing', found.missing)}; {some('unused', found.unused)}."
            )
        network.load_weights(own)
    return found


def _merge(name: str, item: Any, stored: Mapping[str, np.ndarray], found: Transfer, *, gridded: bool) -> None:
    """Replaces one array of the network's own file, or says why not."""
    if name not in stored:
        found.missing.append(name)
        return
    value = stored[name]
    same = value.shape == item.shape or (gridded and value.shape[-1:] == item.shape[-1:] and value.ndim == item.ndim)
    if not same:
        found.differing.append(f"{name} {value.shape} against {item.shape}")
        return
    parent, place = item.parent, item.name.rpartition("/")[2]
    del parent[place]
    parent.create_dataset(place, data=value)
    found.loaded.append(name)


def _arrays(file: h5py.File) -> dict[str, Any]:
    """Layer and place to data set; random generators of dropout are left out."""
    found: dict[str, Any] = {}

    def visit(path: str, item: Any) -> None:
        parts = path.split("/")
        if not isinstance(item, h5py.Dataset) or "vars" not in parts or "seed_generator" in parts:
            return
        layer = file["/".join([*parts[:2], "vars"])] if len(parts) > 2 and parts[0] == "layers" else item.parent
        name = str(layer.attrs.get("name", parts[1]))
        found["/".join([name, *(part for part in parts[2:] if part != "vars")])] = item

    file.visititems(visit)
    return found


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Generator[h5py.File]:
    """The HDF5 file, also within a `.keras` archive."""
    try:
        if path.suffix != ".keras":
            with h5py.File(path) as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as stream, h5py.File(stream) as file:
            yield file
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no Keras weights file ({reason}): give .weights.h5 or .keras.") from error
