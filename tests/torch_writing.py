"""Writes what torch.save writes, without PyTorch: a zip archive with a pickle and one file per storage."""

import collections
import io
import pickle
import zipfile

import numpy as np

KINDS = {"float32": "FloatStorage", "int64": "LongStorage", "float64": "DoubleStorage"}


class Name:
    """Pickled as the global `module name`, called with `arguments` where there are any."""

    def __init__(self, module, name, arguments=None):
        self.module, self.name, self.arguments = module, name, arguments


class Reference:
    """Pickled as a reference to data outside the pickle."""

    def __init__(self, content):
        self.content = content


class Pickler(pickle._Pickler):
    """Protocol 2, as PyTorch's."""

    def persistent_id(self, item):
        return item.content if isinstance(item, Reference) else None

    def save(self, item, save_persistent_id=True):
        if not isinstance(item, Name):
            super().save(item, save_persistent_id)
            return
        self.write(f"c{item.module}\n{item.name}\n".encode())
        if item.arguments is not None:
            super().save(item.arguments)
            self.write(b"R")


def tensor(key, array):
    """A tensor whose storage is the file `data/{key}`."""
    storage = Reference(("storage", Name("torch", KINDS[str(array.dtype)]), str(key), "cpu", array.size))
    steps = tuple(step // array.itemsize for step in array.strides)
    hooks = Name("collections", "OrderedDict", ())
    return Name("torch._utils", "_rebuild_tensor_v2", (storage, 0, array.shape, steps, False, hooks))


def numpy_number(value):
    """A NumPy scalar, as training logs hold them."""
    kind = Name("numpy", "dtype", ("f8", 0, 1))
    return Name("numpy.core.multiarray", "scalar", (kind, np.float64(value).tobytes()))


def write_checkpoint(path, tensors, *, prefix="", nested=True, beside=None):
    """A checkpoint of the trainer's layout; tensors of one array share its storage, as a module registered twice.

    Args:
        path: File to write.
        tensors: Key to array.
        prefix: Before every key, such as `module.`.
        nested: Under `state_dict` beside what the trainer keeps, or the state dict alone.
        beside: More entries of the checkpoint.
    """
    storages, keys = {}, {}
    for array in tensors.values():
        keys.setdefault(id(array), len(keys))
        storages[keys[id(array)]] = np.ascontiguousarray(array)
    pickled = {f"{prefix}{key}": tensor(keys[id(array)], array) for key, array in tensors.items()}
    content = collections.OrderedDict(pickled)
    if nested:
        momentum = np.zeros(3, np.float32)
        storages["momentum"] = momentum
        content = {
            "epoch": 1000,
            "state_dict": content,
            "optimizer_state_dict": {
                "state": {0: {"momentum_buffer": tensor("momentum", momentum)}},
                "param_groups": [{"lr": 0.01, "nesterov": True, "params": [0]}],
            },
            "lr_scheduler_state_dict": None,
            "plot_stuff": ([1.5, numpy_number(0.25)], [], [], [numpy_number(0.5)]),
            "best_stuff": (numpy_number(0.8), None, -0.9),
            "amp_grad_scaler": {"scale": 65536.0},
            **(beside or {}),
        }
    stream = io.BytesIO()
    Pickler(stream, 2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data.tobytes())
        archive.writestr("archive/version", "3\n")
    return path
