"""DICOM: order by position, several series, gaps, archives, frames, objects without pixels."""

import shutil
import tarfile
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from imaging import ImageError, axis_codes, read_grid, read_volume, same_grid

SERIES = generate_uid(entropy_srcs=["series"])


def slice_file(path, *, position=(0.0, 0.0, 0.0), value=0, **tags):
    """One CT slice of 3 x 4 pixels; the first pixel is 1 + `value`."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = SERIES
    dataset.Modality = "CT"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 3, 4, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.ImagePositionPatient = list(position)
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.5, 0.7]  # rows, columns
    dataset.SliceThickness = 5
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    pixels = np.full((3, 4), value, np.uint16)
    pixels[0, 0] += 1
    dataset.PixelData = pixels.tobytes()
    for key, tag in tags.items():
        setattr(dataset, key, tag)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series(folder, *, count=5, step=2.0, names=None, **tags):
    for index in range(count):
        name = names[index] if names else f"image_{index}"
        slice_file(folder / name, position=(1, 2, 3 + step * index), value=100 * index, **tags)
    return folder


def test_slices_are_sorted_by_position_not_by_name(tmp_path):
    volume = read_volume(series(tmp_path / "ct", names=["9", "1.dcm", "image_10", "image_2", "b.IMA"]))
    np.testing.assert_array_equal(volume.array[:, 1, 1] + 1024, [0, 100, 200, 300, 400])


def test_geometry_follows_position_orientation_and_spacing(tmp_path):
    volume = read_volume(series(tmp_path / "ct"))
    assert volume.array.shape == (5, 3, 4)
    assert volume.spacing_mm == pytest.approx((2.0, 0.5, 0.7))
    assert axis_codes(volume.affine) == "SPL"
    # LPS (1 + 3 * 0.7, 2 + 2 * 0.5, 3 + 4 * 2) is RAS (-3.1, -3, 11).
    np.testing.assert_allclose((volume.affine @ [4, 2, 3, 1])[:3], [-3.1, -3.0, 11.0])
    assert same_grid(volume, read_grid(tmp_path / "ct"))


def test_an_intercept_keeps_integers_and_a_fractional_slope_makes_float32(tmp_path):
    assert read_volume(slice_file(tmp_path / "a", value=24)).array.dtype == np.int16
    assert read_volume(slice_file(tmp_path / "a", value=24)).array[0, 1, 1] == -1000
    volume = read_volume(slice_file(tmp_path / "b", value=10, RescaleSlope="0.5", RescaleIntercept="-1"))
    assert volume.array.dtype == np.float32 and volume.array[0, 1, 1] == 4


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path):
    slice_file(tmp_path / "0", position=(0, 0, 0), value=10, RescaleSlope="2", RescaleIntercept=0)
    slice_file(tmp_path / "1", position=(0, 0, 1), value=10, RescaleSlope="3", RescaleIntercept=0)
    assert read_volume(tmp_path).array[:, 1, 1].tolist() == [20, 30]


def test_values_beyond_int16_are_not_wrapped(tmp_path):
    slice_file(tmp_path / "0", position=(0, 0, 0), value=10)
    slice_file(tmp_path / "1", position=(0, 0, 1), value=60000)
    assert read_volume(tmp_path).array[:, 1, 1].tolist() == [10 - 1024, 60000 - 1024]


def test_one_slice_is_as_thick_as_it_says(tmp_path):
    assert read_volume(slice_file(tmp_path / "a.dcm")).spacing_mm == pytest.approx((5, 0.5, 0.7))


def test_a_file_without_position_is_a_picture(tmp_path):
    path = slice_file(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    volume = read_volume(path)
    assert not volume.has_geometry and volume.spacing_mm == (1, 1, 1)


def test_several_files_without_position_have_no_order(tmp_path):
    for name in ("0", "1"):
        path = slice_file(tmp_path / name)
        dataset = pydicom.dcmread(path)
        del dataset.ImagePositionPatient
        dataset.save_as(path)
    with pytest.raises(ImageError, match="state no position"):
        read_volume(tmp_path)


def test_a_missing_slice_is_named(tmp_path):
    (series(tmp_path / "ct", count=6) / "image_3").unlink()
    with pytest.raises(ImageError, match="usually 2 mm, but image_2 to image_4: 4 mm"):
        read_volume(tmp_path / "ct")


def test_a_doubled_slice_is_named(tmp_path):
    shutil.copy(series(tmp_path / "ct") / "image_1", tmp_path / "ct" / "copy")
    with pytest.raises(ImageError, match="same place"):
        read_volume(tmp_path / "ct")


def test_rounded_positions_are_tolerated(tmp_path):
    for index, z in enumerate([0, 0.6, 1.3, 1.9, 2.5]):
        slice_file(tmp_path / str(index), position=(0, 0, z))
    assert read_volume(tmp_path).spacing_mm[0] == pytest.approx(0.625)


def test_a_tilted_gantry_is_refused(tmp_path):
    for index in range(4):
        slice_file(tmp_path / str(index), position=(0, index * 0.5, index * 2.0))
    with pytest.raises(ImageError, match=r"tilted by 14\.0 degrees"):
        read_volume(tmp_path)


def test_oblique_planes_are_stacked_along_their_normal(tmp_path):
    c, s = np.cos(0.3), np.sin(0.3)
    for index in range(3):
        orientation = [1, 0, 0, 0, c, s]
        slice_file(
            tmp_path / str(index), position=(0, -s * 2 * index, c * 2 * index), ImageOrientationPatient=orientation
        )
    volume = read_volume(tmp_path)
    assert volume.spacing_mm == pytest.approx((2, 0.5, 0.7))
    assert axis_codes(volume.affine) == "SPL"


@pytest.mark.parametrize("wanted", ["7", "arterial", "second", "1.2.3"])
def test_one_of_several_series_is_chosen_by_number_description_folder_or_uid(tmp_path, wanted):
    series(tmp_path / "first")
    series(tmp_path / "second", count=3, SeriesInstanceUID="1.2.3", SeriesNumber=7, SeriesDescription="arterial")
    with pytest.raises(ImageError, match=r"2 series.*5 files in first.*number 7, \"arterial\", 3 files.*series="):
        read_volume(tmp_path)
    assert read_volume(tmp_path, series=wanted).shape == (3, 3, 4)
    assert read_grid(tmp_path, series=wanted).shape == (3, 3, 4)


def test_a_series_that_is_not_there_is_refused_with_the_list(tmp_path):
    with pytest.raises(ImageError, match=r"0 series named 'x' among 1.*5 files in ct"):
        read_volume(series(tmp_path / "ct"), series="x")


def test_a_scout_of_another_orientation_is_a_series_of_its_own(tmp_path):
    series(tmp_path / "ct")
    slice_file(tmp_path / "ct" / "scout", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    with pytest.raises(ImageError, match="2 series"):
        read_volume(tmp_path / "ct")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_archives_are_read_like_their_folder(tmp_path, name):
    folder = series(tmp_path / "ct")
    archive = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w") as file:
            for path in folder.iterdir():
                file.write(path, f"deep/ct/{path.name}")
    else:
        with tarfile.open(archive, "w:" + name[5:].lstrip(".")) as file:
            file.add(folder, "deep/ct")
    volume = read_volume(archive)
    np.testing.assert_array_equal(volume.array, read_volume(folder).array)
    assert volume.source == str(archive)
    assert read_grid(archive).shape == (5, 3, 4)


def test_errors_inside_an_archive_name_the_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("notes.txt", "no image")
    with pytest.raises(ImageError, match=r"a\.zip: holds no DICOM file"):
        read_volume(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_damaged_archives_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ImageError, match=f"{name}: cannot be read"):
        read_volume(tmp_path / name)


def test_archives_cannot_write_outside_their_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../evil", "x")
    with pytest.raises(ImageError, match="outside"):
        read_volume(tmp_path / "a.zip")
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.add(tmp_path / "a.zip", "../evil")
    with pytest.raises(ImageError, match=r"a\.tar: wants to write outside"):
        read_volume(tmp_path / "a.tar")


def without_pixels(path, uid=RTStructureSetStorage):
    slice_file(path)
    dataset = pydicom.dcmread(path)
    for tag in ("PixelData", "Rows", "Columns"):
        delattr(dataset, tag)
    dataset.SOPClassUID = uid
    dataset.save_as(path)
    return path


def test_objects_without_pixels_are_refused_by_their_kind(tmp_path):
    with pytest.raises(ImageError, match=r"rs\.dcm: is RT Structure Set Storage without pixels: give the image series"):
        read_volume(without_pixels(tmp_path / "rs.dcm"))


def test_objects_without_pixels_beside_a_series_are_left_out_with_a_warning(tmp_path, caplog):
    without_pixels(series(tmp_path / "ct") / "rs.dcm")
    assert read_volume(tmp_path / "ct").shape == (5, 3, 4)
    assert "rs.dcm" in caplog.text


def test_other_files_in_the_folder_are_ignored_and_impostors_named(tmp_path):
    folder = series(tmp_path / "ct")
    (folder / "notes.txt").write_text("x")
    (folder / ".DS_Store").write_text("x")
    (folder / "DICOMDIR").write_text("x")
    assert read_volume(folder).shape == (5, 3, 4)
    (folder / "broken.dcm").write_text("x" * 500)
    with pytest.raises(ImageError, match=r"broken\.dcm: is not a DICOM image"):
        read_volume(folder)


def test_a_series_of_several_frames_per_file_with_functional_groups(tmp_path):
    def groups(z):
        plane, group = Dataset(), Dataset()
        plane.ImagePositionPatient = [0, 0, z]
        group.PlanePositionSequence = Sequence([plane])
        return group

    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.7], 3
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    pixels = np.stack([np.full((3, 4), value, np.uint16) for value in (7, 5, 6)])
    path = slice_file(
        tmp_path / "enhanced.dcm",
        NumberOfFrames=3,
        PerFrameFunctionalGroupsSequence=Sequence([groups(4), groups(0), groups(2)]),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PixelData=pixels.tobytes(),
        RescaleIntercept=0,
    )
    volume = read_volume(path)
    assert volume.array[:, 0, 0].tolist() == [5, 6, 7]
    assert volume.spacing_mm == pytest.approx((2, 0.5, 0.7))


def test_a_folder_without_dicom_is_refused(tmp_path):
    with pytest.raises(ImageError, match="holds no DICOM file"):
        read_volume(tmp_path)


def test_the_ircad_patient_and_its_masks(shared, tmp_path):
    with tarfile.open(next((shared / "data" / "3D-IRCADb-01").glob("*.tar.xz"))) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    patient = read_volume(tmp_path / "PATIENT_DICOM")
    assert patient.array.shape == (119, 512, 512) and patient.array.dtype == np.int16
    assert patient.spacing_mm == pytest.approx((1.6, 0.743, 0.743), abs=1e-3)
    assert patient.array.min() == -1024
    masks = sorted(path.name for path in (tmp_path / "MASKS_DICOM").iterdir())
    assert "liver" in masks and "livertumor1" in masks
    volumes = {name: read_volume(tmp_path / "MASKS_DICOM" / name) for name in ("liver", "livertumor1", "livertumor2")}
    for volume in volumes.values():
        assert same_grid(volume, patient)
        assert np.unique(volume.array).tolist() == [0, 255]
    # Soft tissue, and the tumours lie in or at the liver: the mask is neither flipped nor shifted.
    assert 50 < np.median(patient.array[volumes["liver"].array > 0]) < 200
    tumour = volumes["livertumor1"].array > 0
    assert (volumes["liver"].array[tumour] > 0).mean() > 0.9


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preamble_is_read_in_the_encoding_it_turns_out_to_have(tmp_path, implicit):
    path = slice_file(tmp_path / "a.dcm", value=9)
    dataset = pydicom.dcmread(path)
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"
    assert read_volume(path).array[0, 1, 1] == 9 - 1024
