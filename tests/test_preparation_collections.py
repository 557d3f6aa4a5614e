"""Finding cases on disk: LiTS, 3D-IRCADb, image folders."""

import pathlib
import shutil
import tarfile
import zipfile

import cv2
import numpy as np
import pydicom
import pytest
from preparation_helpers import lits, write_lits, write_nifti

from data_generators.manifest import load_manifest, load_splits
from data_preparation.case import Recipe
from data_preparation.check import check_collection
from data_preparation.collections import (
    COLLECTIONS,
    CaseSource,
    Finding,
    PreparationError,
    SourceOptions,
    open_collection,
)
from data_preparation.collections.base import read_channels
from data_preparation.pipeline import prepare_collection
from imaging import ImageError, same_grid, to_canonical


def test_an_unknown_collection_gets_a_suggestion():
    with pytest.raises(PreparationError, match=r"Did you mean lits\? Type one of lits"):
        open_collection("litz", SourceOptions())


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_missing_folder_is_one_line(name, tmp_path):
    with pytest.raises(PreparationError, match=r"DATA_PREPARATION\.SOURCE") as error:
        open_collection(name, SourceOptions(source=tmp_path / "nowhere"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", COLLECTIONS)
def test_an_empty_folder_is_one_line(name, tmp_path):
    with pytest.raises(PreparationError, match=r"DATA_PREPARATION\.SOURCE"):
        open_collection(name, SourceOptions(source=tmp_path))


def test_lits_is_found_in_natural_order_without_hidden_files(tmp_path):
    write_lits(tmp_path, (2, 10, 100))
    for name in ("._volume-2.nii", ".volume-3.nii", "notes.txt", "volume-x.nii"):
        (tmp_path / name).write_text("no image")
    collection = lits(tmp_path)
    assert [case.id for case in collection.cases] == ["volume-2", "volume-10", "volume-100"]
    assert collection.findings == ()


def test_lits_batches_are_found_below_their_folder(tmp_path):
    write_lits(tmp_path / "Training Batch 1", (0, 27))
    write_lits(tmp_path / "Training Batch 2", (28, 130), suffix=".nii.gz")
    parts = {case.id: case.part for case in lits(tmp_path).cases}
    assert parts == {"volume-0": "test", "volume-27": "test", "volume-28": "train", "volume-130": "train"}


def test_the_two_scan_paths_serve_without_a_source(tmp_path):
    write_lits(tmp_path / "b2", (28,))
    write_lits(tmp_path / "b1", (0,))
    collection = open_collection("lits", SourceOptions(train=tmp_path / "b2", validation=tmp_path / "b1"))
    assert [case.id for case in collection.cases] == ["volume-0", "volume-28"]


def test_the_same_number_twice_is_found(tmp_path):
    write_lits(tmp_path, (0, 28))
    write_lits(tmp_path / "copy", (28,), suffix=".nii.gz")
    collection = lits(tmp_path)
    assert [case.id for case in collection.cases] == ["volume-0"]
    assert all("the same number again" in str(finding) for finding in collection.findings)


def picture(path: pathlib.Path, value: int = 100, shape=(12, 10), extra: int = 0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full(shape, value, np.uint8)
    image[:4, :4] = extra
    cv2.imwrite(str(path), image)


def folder(root, names, masks=None, *, value=1):
    for name in names:
        picture(root / "images" / name)
    for name in names if masks is None else masks:
        picture(root / "masks" / name, value)
    return root


def images(root, **options):
    return open_collection("image_folder", SourceOptions(source=root, **options))


def test_pairs_by_name_whatever_the_suffix(tmp_path):
    collection = images(folder(tmp_path, ["a.jpg", "b2.jpg", "b10.jpg"], ["a.png", "b10.png", "b2.png"]))
    assert [case.id for case in collection.cases] == ["a", "b2", "b10"]
    assert all(case.label.stem == case.images[0].stem for case in collection.cases)


def test_pairs_by_the_predecessors_names(tmp_path):
    collection = images(folder(tmp_path, ["image_3_0.png", "image_3_1.png"], ["mask_3_0.png", "mask_3_1.png"]))
    assert [case.label.name for case in collection.cases] == ["mask_3_0.png", "mask_3_1.png"]
    assert {case.patient for case in collection.cases} == {"3"}


def test_only_the_first_word_is_replaced(tmp_path):
    collection = images(folder(tmp_path, ["image_of_image.png"], ["mask_of_image.png"]))
    assert collection.cases[0].label.name == "mask_of_image.png"


def test_missing_and_doubled_partners_are_findings(tmp_path):
    root = folder(tmp_path, ["a.png", "b.png", "c.png"], ["a.png", "c.png", "d.png"])
    picture(root / "images" / "c.jpg")
    found = [str(finding) for finding in images(root).findings]
    assert len(found) == 4
    assert any("b.png: label missing" in text for text in found)
    assert any("d.png: image missing" in text for text in found)
    assert sum("several images have this name" in text for text in found) == 2


def test_several_masks_are_a_finding(tmp_path):
    root = folder(tmp_path, ["image_1.png", "b.png"], ["image_1.png", "mask_1.png", "b.png"])
    assert "has several masks: image_1.png, mask_1.png" in str(images(root).findings[0])


def test_images_without_masks_are_prepared_without_labels(tmp_path):
    picture(tmp_path / "raw/images/a.png")
    picture(tmp_path / "raw/images/b.png")
    prepare_collection(images(tmp_path / "raw"), tmp_path / "out", Recipe(8, 6), workers=1, progress=False)
    assert [case.label for case in load_manifest(tmp_path / "out").cases] == [None, None]
    assert check_collection(images(tmp_path / "raw"), workers=1, progress=False) == [
        Finding(
            str(tmp_path / "raw/images/b.png"),
            "the same voxels as " + str(tmp_path / "raw/images/a.png") + ".",
            "Keep one of them: the other leaks between splits.",
        )
    ]


def test_train_and_validation_folders_are_kept(tmp_path):
    folder(tmp_path / "train", ["a.png"])
    folder(tmp_path / "val", ["a.png"])
    assert {case.id: case.part for case in images(tmp_path).cases} == {"train_a": "train", "validation_a": "validation"}


def test_lists_of_files_serve_too(tmp_path):
    folder(tmp_path, ["a.png", "b.png"])
    parts = {"train": ([tmp_path / "images" / "a.png"], [tmp_path / "masks" / "a.png"])}
    collection = open_collection("image_folder", SourceOptions(parts=parts))
    assert [case.id for case in collection.cases] == ["a"]


@pytest.mark.parametrize("pattern", ["(zz)", "[", "a"])
def test_a_pattern_that_does_not_fit_is_answered(tmp_path, pattern):
    with pytest.raises(ValueError, match="PATIENT_PATTERN"):
        images(folder(tmp_path, ["a.png"]), patient_pattern=pattern)


def test_grey_masks_are_cut_at_the_threshold(tmp_path):
    root = folder(tmp_path, ["a.png"], value=255)
    picture(root / "masks" / "a.png", 128, extra=127)
    collection = images(root, mask_threshold=127)
    label = collection.read_label(collection.cases[0]).array
    assert label[0, 0, 0] == 0
    assert label[0, 8, 8] == 1
    assert any("MASK_THRESHOLD" in str(found) for found in check_collection(images(root), workers=1, progress=False))


def test_wanted_classes_name_the_values(tmp_path):
    collection = images(folder(tmp_path, ["a.png"]), labels={"liver": [1, 2], "cyst": 3, "other": "name"})
    assert collection.labels == {0: "background", 1: "liver", 2: "liver", 3: "cyst"}


def test_colour_and_grey_do_not_mix(tmp_path):
    root = folder(tmp_path / "raw", ["a.png", "b.png"])
    picture(root / "images" / "b.png", shape=(12, 10, 3))
    outcome = prepare_collection(images(root), tmp_path / "out", Recipe(8, 8), workers=1, progress=False)
    assert "3 channels; this collection has 1 (grey)" in outcome.failures["b"]


def test_colour_images_are_prepared(tmp_path):
    root = folder(tmp_path / "raw", ["a.png", "b.png"])
    for name in ("a.png", "b.png"):
        picture(root / "images" / name, shape=(12, 10, 3))
    outcome = prepare_collection(images(root), tmp_path / "out", Recipe(8, 6), workers=1, progress=False)
    manifest = load_manifest(tmp_path / "out")
    assert outcome.failures == {}
    assert manifest.intensity == {"kind": "unit"}
    assert manifest.cases[0].shape == (1, 8, 6)
    assert manifest.cases[0].channels == 3
    assert np.load(tmp_path / "out" / manifest.cases[0].image).max() == np.float16(100 / 255)


def test_real_liver_slices_split_by_patient(shared):
    collection = open_collection(
        "image_folder",
        SourceOptions(source=shared / "data" / "MSD_Liver_slices_jpg", patient_pattern=r"_(\d+)_", mask_threshold=127),
    )
    assert len(collection.cases) == 518
    assert len({case.patient for case in collection.cases}) == 97
    assert collection.findings == ()


def test_several_channels_must_share_a_grid(tmp_path):
    files = [write_nifti(tmp_path / f"{name}.nii", np.full((2, 4, 4), name, np.int16)) for name in (1, 2)]
    both = read_channels(CaseSource("a", "a", tuple(files), None))
    assert both.array.shape == (2, 4, 4, 2)
    assert both.array[0, 0, 0].tolist() == [1, 2]
    elsewhere = write_nifti(tmp_path / "3.nii", np.zeros((2, 4, 5), np.int16))
    with pytest.raises(ImageError, match=r"3\.nii lies on another grid than .*1\.nii"):
        read_channels(CaseSource("a", "a", (files[0], elsewhere), None))


def write_dicom(folder: pathlib.Path, array: np.ndarray) -> None:
    """A series of one file per slice, no extension, 2 mm apart; slice 0 inferior, row 0 anterior, column 0 right."""
    folder.mkdir(parents=True)
    series = pydicom.uid.generate_uid()
    for index, plane in enumerate(array):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        data = pydicom.Dataset()
        data.file_meta = meta
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.Modality, data.SeriesInstanceUID, data.StudyInstanceUID = "CT", series, series
        data.InstanceNumber = index + 1
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2.0 * index], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [1, 1], 2
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = plane.astype(np.int16).tobytes()
        data.save_as(folder / f"image_{index}", enforce_file_format=True)


def write_ircad(root: pathlib.Path, structures=("liver", "livertumor01", "livertumor02", "bone")) -> pathlib.Path:
    """A tiny patient: the structures are blocks of 255, one after the other along the rows."""
    hu = np.random.default_rng(0).integers(-100, 200, (12, 8, 8))
    write_dicom(root / "PATIENT_DICOM", hu)
    for index, name in enumerate(structures):
        mask = np.zeros_like(hu)
        mask[1:11, index : index + 2, 1:5] = 255
        write_dicom(root / "MASKS_DICOM" / name, mask)
    return root


def test_ircad_masks_become_one_label(tmp_path):
    collection = open_collection("ircad", SourceOptions(source=write_ircad(tmp_path / "3Dircadb1.5")))
    case = collection.cases[0]
    image, label = collection.read_image(case), collection.read_label(case)
    assert same_grid(image, label)
    assert label.array[5, :, 2].tolist() == [1, 2, 2, 2, 0, 0, 0, 0]  # tumours win over the liver, bone is left out
    assert np.unique(label.array[[0, 11]]).tolist() == [0]


def test_ircad_slices_are_ordered_by_place_not_by_name(tmp_path):
    collection = open_collection("ircad", SourceOptions(source=write_ircad(tmp_path / "3Dircadb1.5")))
    hu = np.random.default_rng(0).integers(-100, 200, (12, 8, 8))
    assert np.array_equal(to_canonical(collection.read_image(collection.cases[0])).array, hu)


@pytest.mark.parametrize("packed", ["tar", "zip", "nested"])
def test_ircad_archives_read_as_folders_do(tmp_path, packed):
    patient = write_ircad(tmp_path / "plain" / "3Dircadb1.5")
    plain = open_collection("ircad", SourceOptions(source=patient))
    expected = plain.read_label(plain.cases[0]).array
    target = tmp_path / "packed"
    target.mkdir()
    if packed == "nested":
        (target / patient.name).mkdir()
        for name in ("PATIENT_DICOM", "MASKS_DICOM"):
            shutil.make_archive(str(target / patient.name / name), "zip", patient, name)
    else:
        shutil.make_archive(str(target / patient.name), {"tar": "xztar", "zip": "zip"}[packed], patient.parent)
    collection = open_collection("ircad", SourceOptions(source=target))
    assert [case.id for case in collection.cases] == ["3Dircadb1.5"]
    assert np.array_equal(collection.read_label(collection.cases[0]).array, expected)
    outcome = prepare_collection(collection, tmp_path / "out", Recipe(None, None), workers=1, progress=False)
    assert outcome.failures == {}
    assert np.unique(np.load(tmp_path / "out/labels/3Dircadb1.5.npy")).tolist() == [0, 1, 2]


def test_an_ircad_patient_without_liver_is_refused(tmp_path):
    patient = write_ircad(tmp_path / "3Dircadb1.5", ("bone",))
    collection = open_collection("ircad", SourceOptions(source=patient))
    with pytest.raises(ImageError, match="no MASKS_DICOM/liver, only bone"):
        collection.read_label(collection.cases[0])


def test_an_ircad_tumour_of_another_size_is_refused(tmp_path):
    patient = write_ircad(tmp_path / "3Dircadb1.5", ("liver",))
    write_dicom(patient / "MASKS_DICOM" / "livertumor", np.zeros((6, 8, 8)))
    collection = open_collection("ircad", SourceOptions(source=patient))
    with pytest.raises(ImageError, match="livertumor lies on another grid"):
        collection.read_label(collection.cases[0])


def ircad_patient(root: pathlib.Path) -> pathlib.Path:
    """The layout without its images: enough to find the patient."""
    for name in ("PATIENT_DICOM", "MASKS_DICOM/liver"):
        (root / name).mkdir(parents=True)
    return root


def test_ircad_patients_are_found_in_natural_order(tmp_path):
    for number in (1, 2, 10):
        ircad_patient(tmp_path / f"3Dircadb1.{number}")
    with zipfile.ZipFile(tmp_path / "3Dircadb1.3.zip", "w") as archive:
        archive.writestr("3Dircadb1.3/PATIENT_DICOM.zip", b"")
    (tmp_path / "readme.txt").write_text("not a patient")
    cases = open_collection("ircad", SourceOptions(source=tmp_path)).cases
    assert [(case.id, case.patient) for case in cases] == [(f"3Dircadb1.{n}", str(n)) for n in (1, 2, 3, 10)]


def test_one_ircad_patient_alone(tmp_path):
    collection = open_collection("ircad", SourceOptions(source=ircad_patient(tmp_path / "3Dircadb1.5")))
    assert [case.id for case in collection.cases] == ["3Dircadb1.5"]


def test_an_ircad_patient_twice_is_refused(tmp_path):
    ircad_patient(tmp_path / "3Dircadb1.5")
    with tarfile.open(tmp_path / "3Dircadb1.5.tar.xz", "w:xz"):
        pass
    with pytest.raises(PreparationError, match=r"3Dircadb1\.5 is there twice"):
        open_collection("ircad", SourceOptions(source=tmp_path))


def test_a_damaged_ircad_archive_is_named(tmp_path):
    (tmp_path / "3Dircadb1.5.tar.xz").write_bytes(b"nothing of the kind")
    collection = open_collection("ircad", SourceOptions(source=tmp_path))
    found = check_collection(collection, workers=1, progress=False)
    assert found
    assert all("3Dircadb1.5.tar.xz" in str(finding) for finding in found)


@pytest.mark.slow
def test_the_real_ircad_archive(shared, tmp_path):
    collection = open_collection("ircad", SourceOptions(source=shared / "data" / "3D-IRCADb-01"))
    outcome = prepare_collection(collection, tmp_path / "out", Recipe(160, 160), progress=False)
    assert outcome.failures == {}
    case = load_manifest(tmp_path / "out").cases[0]
    assert (case.id, case.patient, case.shape) == ("3Dircadb1.17", "17", (119, 160, 160))
    assert case.spacing_mm == pytest.approx((1.6, 0.743 * 3.2, 0.743 * 3.2), rel=1e-2)
    volume_ml = (case.voxels[1] + case.voxels[2]) * np.prod(case.spacing_mm) / 1000
    assert 800 < volume_ml < 3000
    assert case.voxels[2] > 20
    image = np.load(tmp_path / "out" / case.image).astype(np.float32)[..., 0]
    label = np.load(tmp_path / "out" / case.label)
    assert 60 < np.median(image[label == 1]) * 450 - 200 < 200  # contrast-enhanced liver, HU
    assert np.argwhere(label == 1)[:, 2].mean() < 80  # on the patient's right
    assert case.geometry.source.shape == (119, 512, 512)
    assert load_splits(tmp_path / "out").official["train"] == ("3Dircadb1.17",)


@pytest.mark.slow
def test_ircad_folder_and_nested_zip_read_alike(shared, tmp_path):
    with tarfile.open(shared / "data" / "3D-IRCADb-01" / "3Dircadb1.17.tar.xz") as archive:
        archive.extractall(tmp_path / "3Dircadb1.17", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    patient = tmp_path / "3Dircadb1.17"
    collection = open_collection("ircad", SourceOptions(source=patient))
    image = collection.read_image(collection.cases[0])
    for name in ("PATIENT_DICOM", "MASKS_DICOM"):
        shutil.make_archive(str(patient / name), "zip", patient, name)
        shutil.rmtree(patient / name)
    zipped = open_collection("ircad", SourceOptions(source=patient))
    assert np.array_equal(zipped.read_image(zipped.cases[0]).array, image.array)
    assert set(np.unique(zipped.read_label(zipped.cases[0]).array)) == {0, 1, 2}
