"""FORMAT=png: the predecessor's slice folders."""

import json

import cv2
import numpy as np
import pytest
from preparation_helpers import lits, small_case, write_lits, write_nifti

from data_generators.manifest import label_lut
from data_preparation.case import Recipe
from data_preparation.slices_png import SliceFolders, neighbours, prepare_slices

KEEP = Recipe(height=None, width=None)
LABELS = {0: "background", 1: "liver", 2: "tumor"}


def folders(root):
    return SliceFolders(root, *((root / part / "images", root / part / "mask") for part in ("train", "val", "test")))


def prepare(raw, root, *, wanted=None, recipe=KEEP, **options):
    table, _ = label_lut(LABELS, wanted)
    return prepare_slices(lits(raw), folders(root), recipe, table=table, workers=1, progress=False, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_names_and_folders(tmp_path):
    prepare(write_lits(tmp_path / "raw", (0, 28, 29, 30)), tmp_path / "data", seed=5)
    assert names(tmp_path / "data/test/images") == [f"image_0_{index}.png" for index in range(5)]
    assert names(tmp_path / "data/test/mask") == [f"mask_0_{index}.png" for index in range(5)]
    assert len(names(tmp_path / "data/train/images")) == 10
    assert len(names(tmp_path / "data/val/images")) == 5


def test_without_validation_the_test_cases_are_the_val_folder(tmp_path):
    prepare(write_lits(tmp_path / "raw", (0, 28)), tmp_path / "data", validation_share=0.0)
    assert names(tmp_path / "data/val/images")[0] == "image_0_0.png"
    assert names(tmp_path / "data/test/images") == []


def test_red_green_blue_are_below_itself_above(tmp_path):
    hu, _ = small_case(0)
    prepare(write_lits(tmp_path / "raw", (0, 28, 29)), tmp_path / "data")
    grey = np.rint((np.clip(hu, -200, 250) + 200) / 450 * 255)
    for index, expected in ((0, (0, 0, 1)), (2, (1, 2, 3)), (4, (3, 4, 4))):
        picture = cv2.imread(str(tmp_path / f"data/test/images/image_0_{index}.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert picture.dtype == np.uint8
        for channel, slice_index in enumerate(expected):
            assert np.abs(picture[..., channel] - grey[slice_index]).max() <= 1


@pytest.mark.parametrize(("wanted", "values"), [(None, [0, 1, 2]), ({"liver": [1, 2]}, [0, 1]), ({"tumor": 2}, [0, 1])])
def test_masks_hold_class_indices(tmp_path, wanted, values):
    prepare(write_lits(tmp_path / "raw", (0, 28, 29)), tmp_path / "data", wanted=wanted)
    mask = cv2.imread(str(tmp_path / "data/test/mask/mask_0_2.png"), cv2.IMREAD_UNCHANGED)
    assert mask.ndim == 2
    assert np.unique(mask).tolist() == values


def test_what_was_done_is_written_down(tmp_path):
    prepare(write_lits(tmp_path / "raw", (0, 28, 29)), tmp_path / "data")
    said = json.loads((tmp_path / "data/preparation.json").read_text())
    assert said["window_hu"] == [-200.0, 250.0]
    assert said["format"] == 1
    assert said["splits"]["official"]["test"] == ["volume-0"]
    assert said["cases"]["volume-0"]["geometry"]["source"]["shape"] == [5, 12, 16]


def test_a_second_run_writes_nothing_and_a_lost_slice_redoes_its_case(tmp_path):
    raw, root = write_lits(tmp_path / "raw", (0, 28, 29)), tmp_path / "data"
    prepare(raw, root)
    assert prepare(raw, root).kept == 3
    (root / "test/images/image_0_3.png").unlink()
    assert prepare(raw, root).kept == 2
    assert (root / "test/images/image_0_3.png").is_file()


def test_failures_are_named(tmp_path):
    raw = write_lits(tmp_path / "raw", (0, 28, 29))
    write_nifti(raw / "segmentation-28.nii", np.zeros((2, 2, 2), np.uint8))
    assert "segmentation-28.nii" in prepare(raw, tmp_path / "data").failures["volume-28"]


def test_colours_are_their_own_channels():
    image = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert np.array_equal(neighbours(image, 0), image[0])
