"""Odd files of other projects' test suites: each is read rightly or refused with its name and the remedy."""

import pathlib
import warnings

import numpy as np
import pytest

from imaging import ImageError, non_finite_count, read_grid, read_label, read_volume, same_grid


@pytest.fixture(scope="module")
def edge_cases(shared):
    folder = shared / "data" / "edge_cases"
    if not folder.is_dir():
        pytest.skip("the folder of edge cases is not here")
    return folder


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def refusal(path: pathlib.Path, read=read_volume) -> str:
    with pytest.raises(ImageError) as caught:
        read(path)
    return str(caught.value)


def test_every_file_is_read_or_refused_in_one_line_that_names_it(edge_cases):
    read = refused = 0
    for path in sorted(path for path in edge_cases.rglob("*") if path.is_file()):
        try:
            volume = read_volume(path)
        except ImageError as error:
            message = str(error)
            assert str(path) in message and "\n" not in message and ": " in message, message
            refused += 1
            continue
        read += 1
        assert np.isfinite(volume.affine).all() and min(volume.spacing_mm) > 0, path
        assert volume.array.dtype != np.float64 and volume.array.dtype.isnative, path
        assert volume.array.flags.c_contiguous, path
        assert same_grid(volume, read_grid(path)), path
    assert read > 200 and refused > 80


def test_every_folder_of_slices_is_read_or_refused(edge_cases):
    for folder, shape in {"Study1": (32, 51, 35), "Study2": (35, 48, 36), "Study3": (40, 50, 34)}.items():
        series = next((edge_cases / "dicom_hippocrop" / folder).iterdir())
        assert read_volume(series).shape == shape


def test_a_series_with_a_gap_names_the_slices(edge_cases):
    assert "7106 to 7136: 202.5 mm" in refusal(edge_cases / "monai" / "CT_DICOM")


def test_lfs_pointers_are_named_as_such(edge_cases):
    for path in (edge_cases / "git_lfs_pointers").rglob("*.nii.gz"):
        assert "git lfs pull" in refusal(path)
        assert "git lfs pull" in refusal(path, read_grid)


def test_headers_without_voxels_name_the_missing_half(edge_cases):
    for stem in ("nifti1", "nifti2", "analyze"):
        assert f"{stem}.img is missing" in refusal(edge_cases / "nibabel" / f"{stem}.hdr")


def test_a_cifti_table_is_no_image(edge_cases):
    assert "CIFTI-2" in refusal(edge_cases / "nibabel" / "row_major.dconn.nii")


def test_four_dimensions_become_channels(edge_cases):
    assert read_volume(edge_cases / "nibabel" / "example4d.nii.gz").array.shape == (24, 96, 128, 2)
    assert read_volume(edge_cases / "nibabel" / "example_nifti2.nii.gz").array.shape == (12, 20, 32, 2)
    assert read_volume(edge_cases / "nibabel" / "functional.nii").array.shape == (3, 21, 17, 20)


def test_voxels_equal_nibabels_for_every_nifti(edge_cases):
    import nibabel as nib

    compared = 0
    for path in sorted(edge_cases.rglob("*.nii*")):
        try:
            volume = read_volume(path)
        except ImageError:
            continue
        image = nib.load(path)
        if image.get_data_dtype().names is None:
            expected = np.asanyarray(image.dataobj)
            order = (2, 1, 0, 3)[: expected.ndim]
            np.testing.assert_allclose(volume.array, np.transpose(expected, order), rtol=1e-6, err_msg=str(path))
            compared += 1
    assert compared > 20


def test_rgb_voxels_become_three_channels(edge_cases):
    assert read_volume(edge_cases / "ivadomed_data-testing" / "rgb_test_file.nii.gz").array.shape == (4, 10, 10, 3)


def test_nan_voxels_are_counted(edge_cases):
    assert non_finite_count(read_volume(edge_cases / "nibabel" / "resampled_anat_moved.nii")) == 153


def test_float_labels_with_gaps_are_labels(edge_cases):
    label = read_label(edge_cases / "cmr_noncontiguous_labels" / "label_7.nii.gz")
    assert np.unique(label.array).tolist() == [0, 200, 500, 600] and label.array.dtype == np.uint16
    image = edge_cases / "cmr_noncontiguous_labels" / "image_20.nii.gz"
    assert "fractional" in refusal(image, read_label)


def test_image_and_label_of_other_grids_are_told_apart(edge_cases):
    folder = edge_cases / "ivadomed_data-testing"
    image = read_volume(folder / "sub-unf01" / "anat" / "sub-unf01_T2star.nii.gz")
    labels = folder / "derivatives" / "labels" / "sub-unf01" / "anat"
    assert same_grid(image, read_label(labels / "sub-unf01_T2star_seg-manual.nii.gz"))
    assert not same_grid(image, read_label(labels / "sub-unf01_T2star_lesion-manual.nii.gz"))


def test_pictures_of_every_depth_keep_it(edge_cases):
    folder = edge_cases / "ivadomed_data-testing" / "data_test_png_tif"
    for path in [*folder.rglob("*.png"), *folder.rglob("*.tif")]:
        volume = read_volume(path)
        assert volume.array.dtype == (np.uint16 if "16" in path.name else np.uint8), path
        assert volume.channels == (1 if path.stem.endswith("gray_SEM") else 3), path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rtstruct.dcm", "RT Structure Set Storage without pixels: give the image series"),
        ("rtplan.dcm", "RT Plan Storage without pixels"),
        ("test-SR.dcm", "Comprehensive SR Storage without pixels"),
        ("waveform_ecg.dcm", "12-lead ECG Waveform Storage without pixels"),
        ("MR_truncated.dcm", "truncated or damaged"),
        ("JPEG-lossy.dcm", "decompress it first"),
        ("badVR.dcm", "1A"),
        ("zipMR.gz", "gunzip"),
        ("no_meta.dcm", "is not a DICOM image"),
        ("liver_1frame.dcm", "describes 3 frames but holds 1"),
    ],
)
def test_unusable_dicom_is_refused_by_what_it_is(edge_cases, name, said):
    message = refusal(edge_cases / "pydicom" / name)
    assert said in message and name in message


@pytest.mark.parametrize("kind", ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"])
def test_one_image_in_every_lossless_encoding_is_the_same(edge_cases, kind):
    plain = read_volume(edge_cases / "pydicom" / "MR_small.dcm")
    other = read_volume(edge_cases / "pydicom" / f"MR_small_{kind}.dcm")
    np.testing.assert_array_equal(other.array, plain.array)
    assert same_grid(other, plain)


def test_ct_is_in_hounsfield_units(edge_cases):
    volume = read_volume(edge_cases / "pydicom" / "CT_small.dcm")
    assert (volume.array.min(), volume.array.max()) == (128 - 1024, 2191 - 1024)
    assert volume.spacing_mm == pytest.approx((5, 0.661468, 0.661468))


def test_a_dose_is_a_volume_in_its_units(edge_cases):
    volume = read_volume(edge_cases / "pydicom" / "rtdose.dcm")
    assert volume.shape == (15, 10, 10)
    assert volume.spacing_mm == pytest.approx((5, 10, 10))
    assert volume.array.max() == pytest.approx(1254000 * 1e-6)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("image_dfl.dcm", (1, 512, 512)),
        ("examples_palette.dcm", (1, 350, 800, 3)),
        ("examples_ybr_color.dcm", (30, 240, 320, 3)),
        ("SC_rgb_rle_16bit_2frame.dcm", (2, 100, 100, 3)),
    ],
)
def test_files_without_position_are_pictures(edge_cases, name, shape):
    volume = read_volume(edge_cases / "pydicom" / name)
    assert volume.array.shape == shape and not volume.has_geometry


def test_unsupported_formats_say_what_to_convert_to(edge_cases):
    for name in ("test.mgz", "tiny.mnc", "tinypet.v"):
        assert "convert it to one of .nii" in refusal(edge_cases / "nibabel" / name)
