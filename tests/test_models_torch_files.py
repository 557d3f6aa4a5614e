import collections
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from models.torch_files import WeightsFileError, read_tensors, without_prefixes


class Storage:
    """Stands for a storage while a checkpoint is pickled."""

    def __init__(self, kind, key, count):
        self.reference = ("storage", kind, key, "cpu", count)


class FakeName:
    """Pickled as the global `module name`."""

    def __init__(self, module, name, arguments=None):
        self.module, self.name, self.arguments = module, name, arguments


class Pickler(pickle._Pickler):
    """Writes what torch.save writes, without torch."""

    def persistent_id(self, item):
        return item.reference if isinstance(item, Storage) else None

    def save(self, item, save_persistent_id=True):
        if isinstance(item, FakeName):
            self.write(f"c{item.module}\n{item.name}\n".encode())
            if item.arguments is not None:
                super().save(item.arguments)
                self.write(b"R")
            return
        super().save(item, save_persistent_id)


def tensor(key, kind, array, *, offset=0, stride=None):
    steps = tuple(step // array.itemsize for step in array.strides) if stride is None else stride
    storage = Storage(FakeName("torch", kind), key, array.size)
    return FakeName("torch._utils", "_rebuild_tensor_v2", (storage, offset, array.shape, steps, False, {}))


def write(path, content, storages):
    stream = io.BytesIO()
    Pickler(stream, 2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def test_nested_checkpoint_with_numbers_beside_the_weights(tmp_path, rng):
    weight = rng.normal(size=(2, 3)).astype(np.float32)
    content = {
        "epoch": 7,
        "best": FakeName("numpy.core.multiarray", "scalar", (FakeName("numpy", "dtype", ("f8",)), b"\0" * 8)),
        "network_weights": collections.OrderedDict({"module.a.weight": tensor("0", "FloatStorage", weight)}),
    }
    found = read_tensors(write(tmp_path / "checkpoint_final.pth", content, {"0": weight.tobytes()}))
    assert list(found) == ["a.weight"]
    np.testing.assert_array_equal(found["a.weight"], weight)


def test_strides_and_offsets_of_a_shared_storage(tmp_path):
    # The storage holds 0..5; the tensor starts at 1 and runs down the columns of a 2 x 2 matrix.
    held = np.arange(6, dtype=np.float32)
    content = {"w": tensor("0", "FloatStorage", held[:4].reshape(2, 2), offset=1, stride=(1, 2))}
    found = read_tensors(write(tmp_path / "w.pt", content, {"0": held.tobytes()}))
    np.testing.assert_array_equal(found["w"], [[1, 3], [2, 4]])


def test_bfloat16_becomes_float32(tmp_path):
    # 1.5 is 0x3FC0 in bfloat16.
    content = {"w": tensor("0", "BFloat16Storage", np.zeros(1, np.float16))}
    found = read_tensors(write(tmp_path / "w.pt", content, {"0": struct.pack("<H", 0x3FC0)}))
    assert found["w"].tolist() == [1.5]
    assert found["w"].dtype == np.float32


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("torch", "load")]
)
def test_code_is_refused_by_name_and_not_run(tmp_path, module, name):
    witness = tmp_path / "ran"
    content = {"w": FakeName(module, name, (f"touch {witness}",))}
    with pytest.raises(WeightsFileError, match=rf"calls {module}\.{name}, which is no tensor.*nothing of it was run"):
        read_tensors(write(tmp_path / "w.pth", content, {}))
    assert not witness.exists()


def test_a_real_pickle_that_runs_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.system, ("false",)

    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": Trap()}))
    with pytest.raises(WeightsFileError, match=r"calls (posix|nt)\.system"):
        read_tensors(tmp_path / "w.pth")


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    content = {"w": tensor("0", "FloatStorage", np.zeros((2, 2), np.float32))}
    with pytest.raises(WeightsFileError, match="reaches beyond its storage of 3 values"):
        read_tensors(write(tmp_path / "w.pth", content, {"0": b"\0" * 12}))


def test_old_format_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(WeightsFileError, match=r"before PyTorch 1\.6[^\n]*torch\.load\(file, weights_only=True\)"):
        read_tensors(tmp_path / "old.pth")


def test_safetensors_as_the_library_writes_them(tmp_path, rng):
    safetensors = pytest.importorskip("safetensors.numpy")
    wanted = {"a.weight": rng.normal(size=(2, 3)).astype(np.float32), "b": np.arange(4, dtype=np.int64)}
    safetensors.save_file(wanted, tmp_path / "w.safetensors")
    found = read_tensors(tmp_path / "w.safetensors")
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("content", [b"", b"\xff" * 32, struct.pack("<Q", 2) + b"{]", struct.pack("<Q", 4) + b"null"])
def test_damaged_safetensors_are_one_line(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsFileError, match=r"^[^\n]*w\.safetensors (is damaged|holds no tensors)[^\n]*$"):
        read_tensors(tmp_path / "w.safetensors")


def test_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([{}], dtype=object))
    with pytest.raises(WeightsFileError, match="is damaged"):
        read_tensors(tmp_path / "w.npz")


def test_prefixes_go_only_where_every_key_has_them():
    one = np.zeros(1)
    assert list(without_prefixes({"_orig_mod.module.a": one, "_orig_mod.module.b": one})) == ["a", "b"]
    assert list(without_prefixes({"module.a": one, "b": one})) == ["module.a", "b"]


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(WeightsFileError, match="There is no weights file .*: correct SOURCE"):
        read_tensors(tmp_path / "none.pth")
