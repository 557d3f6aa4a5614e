"""What is found to predict, and which mask belongs to it."""

import cv2
import numpy as np
import pytest
import tifffile
from inference_cases import write_case

from inference.inputs import InputError, find_items, kind_of


def picture(path, pages=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, np.zeros((pages, 4, 4), np.uint8), photometric="minisblack")
    else:
        cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    return path


def names(items):
    return [item.name for item in items]


def test_a_folder_comes_in_natural_order_without_hidden_files(tmp_path):
    for name in ("image_10.png", "image_9.png", ".image_1.png", "notes.txt"):
        picture(tmp_path / name) if name.endswith("png") else (tmp_path / name).write_text("x")
    assert names(find_items(tmp_path)) == ["image_9", "image_10"]


def test_a_list_keeps_its_order(tmp_path):
    paths = [picture(tmp_path / name) for name in ("b.png", "a.png")]
    assert names(find_items(paths)) == ["b", "a"]


def test_pictures_and_volumes_are_told_apart(tmp_path):
    assert kind_of(picture(tmp_path / "a.png")) == "picture"
    assert kind_of(picture(tmp_path / "one.tif")) == "picture"
    assert kind_of(picture(tmp_path / "stack.tif", pages=3)) == "volume"
    assert kind_of(tmp_path / "volume.nii.gz") == "volume"
    assert kind_of(tmp_path) == "volume"


def test_a_folder_of_files_without_images_is_one_dicom_series(tmp_path):
    for name in ("image_1", "image_2"):
        (tmp_path / "PATIENT_DICOM").mkdir(exist_ok=True)
        (tmp_path / "PATIENT_DICOM" / name).write_bytes(b"x")
    assert [item.path for item in find_items(tmp_path / "PATIENT_DICOM")] == [tmp_path / "PATIENT_DICOM"]
    assert names(find_items(tmp_path)) == ["PATIENT_DICOM"]


def test_masks_of_a_folder_are_found_by_name(tmp_path):
    for number in (2, 11):
        picture(tmp_path / "images" / f"image_{number}.png")
        picture(tmp_path / "masks" / f"mask_{number}.png")
    items = find_items(tmp_path / "images", tmp_path / "masks")
    assert [item.mask.name for item in items] == ["mask_2.png", "mask_11.png"]


def test_only_the_first_image_of_a_name_becomes_mask(tmp_path):
    picture(tmp_path / "images" / "my_image_of_image.png")
    picture(tmp_path / "masks" / "my_mask_of_image.png")
    assert find_items(tmp_path / "images", tmp_path / "masks")[0].mask.name == "my_mask_of_image.png"


def test_volumes_find_their_segmentations_in_the_same_folder(tmp_path):
    for number in (1, 12):
        write_case(tmp_path, number)
    assert names(find_items(tmp_path)) == ["volume-1", "volume-12"]
    items = find_items(tmp_path, tmp_path)
    assert [item.mask.name for item in items] == ["segmentation-1.nii.gz", "segmentation-12.nii.gz"]


def test_two_lists_are_paired_in_order(tmp_path):
    images = [picture(tmp_path / name) for name in ("b.png", "a.png")]
    masks = [picture(tmp_path / name) for name in ("1.png", "2.png")]
    assert [item.mask.name for item in find_items(images, masks)] == ["1.png", "2.png"]


def test_equal_names_from_different_folders_are_told_apart(tmp_path):
    paths = [picture(tmp_path / patient / "slice.png") for patient in ("p1", "p2")]
    assert names(find_items(paths)) == ["p1_slice", "p2_slice"]


def test_results_that_would_collide_are_refused(tmp_path):
    with pytest.raises(InputError, match="collide"):
        find_items([picture(tmp_path / "a.png"), picture(tmp_path / "a.jpg")])


@pytest.mark.parametrize(
    ("images", "masks", "word"),
    [
        ("absent", None, "does not exist"),
        ("empty", None, "nothing to predict"),
        ("images", "empty", "no mask in"),
    ],
)
def test_nothing_found_is_said(tmp_path, images, masks, word):
    picture(tmp_path / "images" / "image_1.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=word):
        find_items(tmp_path / images, masks and tmp_path / masks)


def test_a_volume_without_mask_is_named(tmp_path):
    write_case(tmp_path, 1)
    write_case(tmp_path / "masks", 2)
    with pytest.raises(InputError, match=r"volume-1\.nii\.gz"):
        find_items([tmp_path / "volume-1.nii.gz"], tmp_path / "masks")
