"""Cases whose channels lie in files of their own: joined by the channels of the collection, what is missing named."""

import numpy as np
import pytest

from imaging import Volume, write_volume
from inference.channels import channel_files
from inference.inputs import find_items
from inference.reading import read_image

AFFINE = np.diag([3.0, 1.0, 1.0, 1.0])
BOTH = ("T1", "T2")


def write(path, value, *, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, Volume(np.full((3, 4, 5), value, np.int16), affine))
    return path


def test_numbered_files_are_the_channels_of_a_case_in_order(tmp_path):
    for case in ("b", "a"):
        for number in (1, 0):
            write(tmp_path / f"{case}_000{number}.nii.gz", 10 * number)
    items = find_items(tmp_path, channels=BOTH)
    assert [item.name for item in items] == ["a", "b"]
    image = read_image(items[0].files)
    assert image.array.shape == (3, 4, 5, 2)
    assert image.array[0, 0, 0].tolist() == [0, 10]


def test_a_missing_channel_is_named_and_the_others_go_on(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000"):
        write(tmp_path / f"{name}.nii.gz", 0)
    complete, broken = find_items(tmp_path, channels=BOTH)
    assert complete.problem == ""
    assert broken.problem == "b: channel 1 (T2) missing: there is no b_0001.nii.gz beside b_0000.nii.gz."


def test_a_channel_too_many_is_named(tmp_path):
    for number in range(3):
        write(tmp_path / f"a_000{number}.nii.gz", 0)
    (item,) = find_items(tmp_path, channels=BOTH)
    assert "take away a_0002.nii.gz" in item.problem


def test_a_list_in_the_list_is_one_case(tmp_path):
    files = [write(tmp_path / name, value) for value, name in enumerate(("flair.nii", "t2.nii"))]
    (item,) = find_items([files], channels=BOTH)
    assert item.files == tuple(files)
    assert item.problem == ""
    (short,) = find_items([files[:1] + files], channels=BOTH)
    assert "3 files are listed for the channels T1, T2" in short.problem


def test_masks_are_called_like_the_case(tmp_path):
    for number in range(2):
        write(tmp_path / "images" / f"a_000{number}.nii.gz", 0)
    mask = write(tmp_path / "labels" / "a.nii.gz", 1)
    (item,) = find_items(tmp_path / "images", tmp_path / "labels", channels=BOTH)
    assert item.mask == mask


@pytest.mark.parametrize(
    ("names", "cases"), [(("a_0000", "b_0000"), ["a", "b"]), (("a_0000", "a_0001"), ["a_0000", "a_0001"])]
)
def test_one_channel_loses_its_number_only_where_all_files_have_it(tmp_path, names, cases):
    files = [write(tmp_path / f"{name}.nii.gz", 0) for name in names]
    assert [case.name for case in channel_files(files, ("CT",))] == cases


def test_channels_on_different_grids_are_refused(tmp_path):
    files = [write(tmp_path / "a_0000.nii", 0), write(tmp_path / "a_0001.nii", 0, affine=np.diag([2.0, 1, 1, 1]))]
    with pytest.raises(ValueError, match="a_0001.nii lies on another grid than .*a_0000.nii"):
        read_image(files)
