"""NIfTI in all its forms, NRRD, MHA, and what is written back."""

import gzip
import json
import logging

import nibabel as nib
import numpy as np
import pytest

from imaging import ImageError, Volume, axis_codes, read_grid, read_label, read_volume, same_grid, write_volume

AFFINE = np.array([[-0.8, 0, 0.1, 10], [0, 0.7, 0, -20], [0.05, 0, 2.5, 30], [0, 0, 0, 1]])  # of (x, y, z)


def save(path, array, *, affine=AFFINE, kind=nib.Nifti1Image, **header):
    image = kind(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.fixture
def voxels(rng):
    return rng.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)  # (x, y, z)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.img"])
@pytest.mark.parametrize("version", [1, 2])
def test_single_files_and_pairs_of_both_versions(tmp_path, voxels, name, version):
    single, pair = (nib.Nifti1Image, nib.Nifti1Pair) if version == 1 else (nib.Nifti2Image, nib.Nifti2Pair)
    path = save(tmp_path / name, voxels, kind=single if "nii" in name else pair)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, voxels.T)
    assert volume.array.dtype == np.int16
    assert volume.array.flags.c_contiguous
    assert volume.spacing_mm == pytest.approx(np.linalg.norm(AFFINE[:3, :3], axis=0)[::-1], rel=1e-6)
    np.testing.assert_allclose((volume.affine @ [5, 4, 3, 1])[:3], (AFFINE @ [3, 4, 5, 1])[:3], atol=1e-5)
    assert same_grid(volume, read_grid(path))


def test_big_endian_voxels_become_native(tmp_path, voxels):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nib.Nifti1Image(voxels, AFFINE, header=header)
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.array.dtype == np.dtype(np.int16) and volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, voxels.T)


def test_slope_and_intercept_are_applied_in_float32(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 1, 1), np.int16), AFFINE)
    image.header.set_slope_inter(0.5, -1024)
    path = tmp_path / "a.nii"
    image.to_filename(path)
    raw = bytearray(path.read_bytes())
    raw[352:356] = np.array([0, 100], np.int16).tobytes()
    path.write_bytes(raw)
    volume = read_volume(path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array.ravel(), [-1024, -974])


def test_double_precision_becomes_float32(tmp_path, rng):
    x = rng.normal(size=(3, 4, 5))
    volume = read_volume(save(tmp_path / "a.nii.gz", x))
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, x.T.astype(np.float32))


def test_a_time_axis_becomes_channels(tmp_path, rng):
    x = rng.integers(0, 9, (2, 3, 4, 5)).astype(np.uint8)
    volume = read_volume(save(tmp_path / "a.nii.gz", x))
    np.testing.assert_array_equal(volume.array, np.transpose(x, (2, 1, 0, 3)))


def test_a_vector_axis_becomes_channels(tmp_path, rng):
    x = rng.integers(0, 9, (2, 3, 4, 1, 5)).astype(np.uint8)
    assert read_volume(save(tmp_path / "a.nii.gz", x)).array.shape == (4, 3, 2, 5)


def test_axes_of_size_one_are_dropped_and_missing_ones_added(tmp_path):
    assert read_volume(save(tmp_path / "a.nii", np.zeros((2, 3, 4, 1), np.uint8))).array.shape == (4, 3, 2)
    assert read_volume(save(tmp_path / "b.nii", np.zeros((2, 3), np.uint8))).array.shape == (1, 3, 2)


def test_rgb_voxels_become_channels(tmp_path):
    x = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    x["G"][1, 2, 3] = 7
    volume = read_volume(save(tmp_path / "a.nii", x))
    assert volume.array.shape == (4, 3, 2, 3)
    assert volume.array[3, 2, 1].tolist() == [0, 7, 0]


def test_metres_become_millimetres(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").spacing_mm == pytest.approx((3, 2, 1))


def test_where_sform_and_qform_disagree_the_sform_holds_and_a_warning_says_so(tmp_path, caplog):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=1)
    image.set_qform(np.diag([-1.0, -1, 1, 1]), code=1)
    nib.save(image, tmp_path / "a.nii")
    with caplog.at_level(logging.WARNING):
        volume = read_volume(tmp_path / "a.nii")
    assert volume.spacing_mm == (2, 2, 2)
    assert "sform and qform differ" in caplog.text and "a.nii" in caplog.text


def test_the_qform_holds_where_the_sform_is_not_coded(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=0)
    image.set_qform(np.diag([3.0, 3, 3, 1]), code=1)
    nib.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").spacing_mm == (3, 3, 3)


def refusals(tmp_path):
    zeros = np.zeros((2, 2, 2), np.float32)
    good = save(tmp_path / "good.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32))
    yield "truncated gzip", tmp_path / "cut.nii.gz", lambda p: p.write_bytes(good.read_bytes()[:-2000])
    plain = gzip.decompress(good.read_bytes())
    yield "truncated file", tmp_path / "cut.nii", lambda p: p.write_bytes(plain[:-7])
    yield "truncated header", tmp_path / "head.nii", lambda p: p.write_bytes(plain[:200])
    yield "text", tmp_path / "text.nii", lambda p: p.write_text("no image" * 100)
    yield "not gzip", tmp_path / "text.nii.gz", lambda p: p.write_text("no image" * 100)
    yield "empty", tmp_path / "empty.nii.gz", lambda p: p.write_bytes(b"")
    yield (
        "corrupt gzip",
        tmp_path / "bad.nii.gz",
        lambda p: p.write_bytes(good.read_bytes()[:3000] + bytes(500) + good.read_bytes()[3500:]),
    )
    yield "5D", tmp_path / "5d.nii", lambda p: save(p, np.zeros((2, 2, 2, 2, 2), np.uint8))
    yield "complex", tmp_path / "c.nii", lambda p: save(p, zeros.astype(np.complex64))
    yield "singular", tmp_path / "s.nii", lambda p: save(p, zeros, affine=None, sform_code=1, srow_x=[0, 0, 0, 0])
    yield (
        "no numbers",
        tmp_path / "n.nii",
        lambda p: save(p, zeros, affine=None, sform_code=1, srow_x=[np.nan, 0, 0, 0]),
    )
    yield (
        "zero spacing",
        tmp_path / "z.nii",
        lambda p: save(p, zeros, affine=None, qform_code=1, pixdim=[1, 0, 1, 1, 1, 1, 1, 1]),
    )
    yield "lfs", tmp_path / "l.nii.gz", lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    yield "missing", tmp_path / "none.nii", lambda p: None
    yield "half a pair", tmp_path / "half.hdr", lambda p: p.write_bytes(plain[:348])


def test_unusable_files_are_refused_by_name_in_one_line(tmp_path):
    for what, path, make in refusals(tmp_path):
        make(path)
        try:
            volume = read_volume(path)
        except ImageError as error:
            message = str(error)
        else:
            pytest.fail(f"{what}: read as {volume.shape} with affine {volume.affine.tolist()}")
        assert str(path) in message and "\n" not in message and message.endswith("."), (what, message)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_what_is_written_is_read_back(tmp_path, rng, name, dtype):
    # 30 degrees about the axis of slices, so the affine is oblique but its axes are at right angles.
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    affine = np.array([[0, -2 * s, c, 5], [0, 2 * c, s, -7], [3, 0, 0, 11], [0, 0, 0, 1.0]])
    volume = Volume(rng.integers(0, 100, (4, 5, 6)).astype(dtype), affine)
    path = write_volume(tmp_path / "new" / name, volume)
    back = read_volume(path)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == dtype
    assert same_grid(back, volume, tolerance_mm=1e-4) and same_grid(read_grid(path), volume, tolerance_mm=1e-4)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_channels_are_written_and_read_back(tmp_path, rng, name):
    volume = Volume(rng.normal(size=(4, 5, 6, 2)).astype(np.float32), np.eye(4))
    np.testing.assert_array_equal(read_volume(write_volume(tmp_path / name, volume)).array, volume.array)


def test_sheared_affines_survive_in_nifti_and_are_refused_by_nrrd(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.3
    volume = Volume(np.zeros((2, 2, 2), np.uint8), affine)
    assert same_grid(read_volume(write_volume(tmp_path / "a.nii.gz", volume)), volume)
    with pytest.raises(ImageError, match="sheared"):
        write_volume(tmp_path / "a.nrrd", volume)


def test_both_forms_of_the_written_header_agree(tmp_path):
    write_volume(tmp_path / "a.nii", Volume(np.zeros((2, 2, 2), np.uint8), np.diag([3.0, 2, 1, 1])))
    header = nib.load(tmp_path / "a.nii").header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-6)


def test_other_programs_see_the_same_axes(tmp_path):
    import SimpleITK

    array = np.zeros((4, 5, 6), np.uint8)
    array[3, 1, 2] = 1
    volume = Volume(array, np.array([[0, 0, -1, 9], [0, -2, 0, 8], [3, 0, 0, 7], [0, 0, 0, 1.0]]))
    for name in ("a.nii.gz", "a.nrrd"):
        image = SimpleITK.ReadImage(str(write_volume(tmp_path / name, volume)))
        assert image.GetPixel(2, 1, 3) == 1
        ras = (volume.affine @ [3, 1, 2, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((2, 1, 3)), ras, atol=1e-5)


@pytest.mark.parametrize(("largest", "dtype"), [(2, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_labels_are_written_small_with_their_names_beside(tmp_path, largest, dtype):
    label = Volume(np.full((2, 2, 2), largest, np.int64), np.eye(4))
    path = write_volume(tmp_path / "case.nii.gz", label, labels={0: "background", largest: "liver"})
    assert read_volume(path).array.dtype == dtype
    names = json.loads((tmp_path / "case.labels.json").read_text())
    assert names == {"0": "background", str(largest): "liver"}


def test_slicer_finds_segment_names_in_an_nrrd(tmp_path):
    import SimpleITK

    volume = Volume(np.ones((2, 2, 2), np.uint8), np.eye(4))
    image = SimpleITK.ReadImage(str(write_volume(tmp_path / "a.nrrd", volume, labels={0: "background", 1: "liver"})))
    assert image.GetMetaData("Segment0_Name") == "liver"
    assert image.GetMetaData("Segment0_LabelValue") == "1"


def test_negative_labels_are_not_written(tmp_path):
    with pytest.raises(ImageError, match=r"\[-1, 0\]"):
        write_volume(tmp_path / "a.nii", Volume(np.array([[[-1, 0]]]), np.eye(4)), labels={0: "background"})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_volume(tmp_path / "a.nii.gz", Volume(np.ones((2, 2, 2), np.uint8), np.eye(4)))
    before = path.read_bytes()

    def fail(image, name):
        name.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_volume(path, Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4)))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"\.xyz is not written"):
        write_volume(tmp_path / "a.xyz", Volume(np.zeros((1, 1, 1), np.uint8), np.eye(4)))


def test_whole_floats_are_labels_and_fractions_are_not(tmp_path):
    whole = save(tmp_path / "w.nii", np.array([[[0.0, 200, 500, 600]]]))
    label = read_label(whole)
    assert label.array.ravel().tolist() == [0, 200, 500, 600] and label.array.dtype == np.uint16
    with pytest.raises(ImageError, match="fractional"):
        read_label(save(tmp_path / "f.nii", np.array([[[0.0, 0.5]]])))
    with pytest.raises(ImageError, match="NaN"):
        read_label(save(tmp_path / "n.nii", np.array([[[0.0, np.nan]]])))


def test_a_label_of_different_channels_is_refused(tmp_path):
    x = np.zeros((2, 2, 2, 2), np.uint8)
    x[..., 1] = 1
    with pytest.raises(ImageError, match="2 different channels"):
        read_label(save(tmp_path / "a.nii", x))


def test_a_label_of_equal_channels_is_one(tmp_path):
    assert read_label(save(tmp_path / "a.nii", np.ones((2, 2, 2, 3), np.uint8))).array.shape == (2, 2, 2)


def test_nrrd_directions_are_turned_from_lps_to_ras(tmp_path):
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.Image(2, 3, 4, SimpleITK.sitkInt16), str(tmp_path / "a.nrrd"))
    # ITK's default runs Left, Posterior, Superior along x, y, z.
    assert axis_codes(read_volume(tmp_path / "a.nrrd").affine) == "SPL"


def test_a_header_without_its_data_file_is_refused(tmp_path):
    path = write_volume(tmp_path / "a.mhd", Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(ImageError, match=r"a\.mhd.*data file"):
        read_volume(path)
