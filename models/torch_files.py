"""Tensors out of weight files of other frameworks: PyTorch zip checkpoints, safetensors, npz. No code of a file runs.

    read_tensors(path) -> {key: array}

PyTorch files are pickles, which may name any function; `models.pickles` reads them without running them. Formats:
https://pytorch.org/docs/stable/notes/serialization.html, https://huggingface.co/docs/safetensors.
"""

import json
import math
import pathlib
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from models.pickles import Held, Name, UnsafeFileError, read_pickle

NESTS = ("state_dict", "network_weights", "model_state_dict", "model_state", "model", "net", "weights", "params")
PREFIXES = ("module.", "_orig_mod.")
SUFFIXES = (".pth", ".pt", ".model", ".ckpt", ".bin", ".safetensors", ".npz")

_BFLOAT16 = "bfloat16"
_STORAGES: Mapping[str, str] = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?",
}  # fmt: skip
_SAFE: Mapping[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": _BFLOAT16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_LONGEST_HEADER = 100_000_000


class WeightsFileError(ValueError):
    """A weights file that cannot be used; one line with the file and the remedy."""


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of a weights file.

    Args:
        path: `.safetensors`, `.npz`, or a PyTorch checkpoint of version 1.6 or later under any name. A checkpoint may
            be the state dict, or hold it under one of `NESTS`.

    Returns:
        Key to array; bfloat16 becomes float32. Prefixes that all keys share (`module.`) are taken off.

    Raises:
        WeightsFileError: The file is missing, damaged, of an old format, holds no tensors, or asks for anything but
            tensors, numbers, texts and containers.
    """
    if not path.is_file():
        raise WeightsFileError(f"There is no weights file {path}: correct SOURCE.")
    read = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(path.suffix.lower(), _read_torch)
    try:
        tensors = read(path)
    except UnsafeFileError as error:
        raise WeightsFileError(
            f"{path} {error}: it is refused, nothing of it was run. Save the state dict alone "
            "(torch.save(model.state_dict(), ...)), or as .safetensors."
        ) from error
    except WeightsFileError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        struct.error,
    ) as error:
        reason = " ".join(str(error).split())
        raise WeightsFileError(f"{path} is damaged ({reason}): copy or download it again.") from error
    if not tensors:
        raise WeightsFileError(f"{path} holds no tensors: give a checkpoint, or the state dict alone.")
    return without_prefixes(tensors)


def without_prefixes(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Takes `module.` and `_orig_mod.` off, as often as every key begins with it."""
    stripped = dict(tensors)
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in stripped)), None):
        stripped = {key.removeprefix(prefix): tensor for key, tensor in stripped.items()}
    return stripped


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(_LONGEST_HEADER, path.stat().st_size):
            raise ValueError(f"its header would be {length} bytes long")
        header = json.loads(stream.read(length))
        start = 8 + length
        return {key: _safe_tensor(stream, start, key, entry) for key, entry in header.items() if key != "__metadata__"}


def _safe_tensor(stream: BinaryIO, start: int, key: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _SAFE:
        raise ValueError(f"{key} has the type {entry['dtype']}, which is none of {', '.join(_SAFE)}")
    low, high = entry["data_offsets"]
    stream.seek(start + low)
    values = _numbers(stream.read(high - low), _SAFE[entry["dtype"]])
    if high < low or values.size != math.prod(entry["shape"]):
        raise ValueError(f"{key} should hold {math.prod(entry['shape'])} values and holds {values.size}")
    return values.reshape(entry["shape"])


def _numbers(data: bytes, kind: str) -> np.ndarray:
    if kind == _BFLOAT16:  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, kind)


@dataclass(frozen=True)
class _Storage:
    values: np.ndarray


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise WeightsFileError(
            f"{path} is no PyTorch zip checkpoint: files from before PyTorch 1.6 cannot be read safely. Convert it "
            "once with torch.save(torch.load(file, weights_only=True), new_file), or to .safetensors."
        )
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickle = next((name for name in names if name.split("/", 1)[-1] == "data.pkl"), None)
        if pickle is None:
            raise ValueError("it has no data.pkl")
        root = pickle[: -len("data.pkl")]
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("it was written big-endian")

        def storage(reference: Any) -> _Storage:
            word, kind, key, *_ = reference
            name = kind.name if isinstance(kind, Name) else str(kind)
            if word != "storage" or not isinstance(kind, Name) or kind.module != "torch" or name not in _STORAGES:
                raise UnsafeFileError(f"refers to {kind}, which is no storage of numbers")
            return _Storage(_numbers(archive.read(f"{root}data/{key}"), _STORAGES[name]))

        content = read_pickle(archive.read(pickle), calls=_CALLS, persistent=storage)
    return _state_dict(content)


def _tensor(arguments: tuple[Any, ...]) -> np.ndarray:
    """`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`, copied out of its storage."""
    storage, offset, size, stride = arguments[:4]
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= storage.values.size):
        raise ValueError(f"a tensor of {size} reaches beyond its storage of {storage.values.size} values")
    itemsize = storage.values.itemsize
    steps = [step * itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage.values[offset:], tuple(size), steps, writeable=False).copy()


def _number(arguments: tuple[Any, ...]) -> Any:
    """A NumPy scalar, from its type and its bytes."""
    kind, data = arguments
    return np.frombuffer(data, kind.value)[0].item() if isinstance(kind, Held) else None


def _kind(arguments: tuple[Any, ...]) -> Held:
    return Held(str(np.dtype(str(arguments[0]))) if str(arguments[0])[:1] in "fiub" else "u1")


_CALLS: Mapping[str, Any] = {
    "collections.OrderedDict": lambda arguments: dict(*arguments),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda arguments: arguments[0],
    "torch.Size": lambda arguments: tuple(*arguments),
    "torch.device": lambda arguments: ":".join(str(part) for part in arguments),
    "numpy.dtype": _kind,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "_codecs.encode": lambda arguments: str(arguments[0]).encode("latin1"),
}


def _state_dict(content: Any) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint, wherever it keeps them."""
    if not isinstance(content, dict):
        return {}
    tensors = {str(key): value for key, value in content.items() if isinstance(value, np.ndarray)}
    nested = next((content[name] for name in NESTS if isinstance(content.get(name), dict)), None)
    return _state_dict(nested) if nested is not None and not tensors else tensors
