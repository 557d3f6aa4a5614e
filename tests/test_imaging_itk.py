"""NRRD, MHA and MHD of other programs: types, ranks, components."""

import numpy as np
import pytest
import SimpleITK

from imaging import ImageError, read_grid, read_volume, same_grid


def save(path, array, *, vector=False):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), str(path))
    return path


@pytest.mark.parametrize("vector", [False, True])
def test_double_precision_becomes_float32(tmp_path, rng, vector):
    x = rng.normal(size=(2, 3, 4, 5) if vector else (2, 3, 4))
    volume = read_volume(save(tmp_path / "a.nrrd", x, vector=vector))
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, x.astype(np.float32))


def test_a_fourth_axis_becomes_channels(tmp_path, rng):
    x = rng.integers(0, 99, (2, 3, 4, 5)).astype(np.int16)  # (t, z, y, x)
    path = save(tmp_path / "a.mha", x, vector=False)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, np.moveaxis(x, 0, -1))
    assert same_grid(volume, read_grid(path))


def test_a_plane_is_one_slice(tmp_path):
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read_volume(save(tmp_path / "a.mha", x)).array, x[None])


def test_complex_voxels_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"a\.nrrd: has complex voxels"):
        read_volume(save(tmp_path / "a.nrrd", np.ones((2, 3, 4), np.complex64)))


def test_truncated_files_are_refused(tmp_path, rng):
    path = save(tmp_path / "a.nrrd", rng.normal(size=(9, 9, 9)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ImageError, match=r"a\.nrrd: cannot be read"):
        read_volume(path)
