import numpy as np
import pytest
import tifffile
from PIL import Image

from data_preparation.collections import PreparationError, SourceOptions, open_collection
from data_preparation.splits import make_splits
from imaging import ImageError


def nucleus(folder, name, image, masks):
    for part in ("images", "masks"):
        (folder / name / part).mkdir(parents=True)
    Image.fromarray(image).save(folder / name / "images" / f"{name}.png")
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / name / "masks" / f"{name}_{number}.png")


def opened(name, source):
    return open_collection(name, SourceOptions(source=source))


def test_nuclei_are_merged_and_alpha_is_dropped(tmp_path):
    first, second = np.zeros((2, 12, 16), np.uint8)
    first[2:4, 2:4], second[8:10, 5:9] = 255, 255
    rgba = np.random.default_rng(0).integers(0, 255, (12, 16, 4)).astype(np.uint8)
    nucleus(tmp_path / "stage1_train", "a", rgba, [first, second])
    collection = opened("dsb2018", tmp_path)
    (case,) = collection.cases
    np.testing.assert_array_equal(collection.read_image(case).array[0], rgba[..., :3])
    np.testing.assert_array_equal(collection.read_label(case).array[0], (first + second) // 255)


def test_a_nucleus_of_another_size_and_a_lonely_image_are_named(tmp_path):
    image = np.zeros((12, 16, 3), np.uint8)
    nucleus(tmp_path, "a", image, [np.zeros((12, 16), np.uint8), np.zeros((5, 5), np.uint8)])
    nucleus(tmp_path, "b", image, [])
    nucleus(tmp_path, "c", np.zeros((1, 1, 3), np.uint8), [np.zeros((1, 1), np.uint8)])
    collection = opened("dsb2018", tmp_path)
    assert [str(finding) for finding in collection.findings] == [
        f"{tmp_path / 'b'}: label missing. Put one PNG per nucleus in masks/."
    ]
    with pytest.raises(ImageError, match=r"a_1\.png: is \(5, 5\), the first nucleus \(12, 16\)"):
        collection.read_label(collection.cases[0])
    with pytest.raises(ImageError, match=r"c\.png: is 1 x 1 pixels"):
        collection.read_image(collection.cases[1])


def test_real_nuclei_are_all_read_as_rgb(shared):
    collection = opened("dsb2018", shared / "data" / "dsb2018")
    assert len(collection.cases) == 84
    for case in collection.cases[:6]:
        image, label = collection.read_image(case), collection.read_label(case)
        assert image.array.shape == (*label.array.shape, 3)
        assert label.array.any()


def stack(folder, sections=12):
    labels = np.full((sections, 8, 10), 255, np.uint8)
    labels[:, 3] = 0
    images = np.arange(sections, dtype=np.uint8)[:, None, None] * np.ones((8, 10), np.uint8)
    tifffile.imwrite(folder / "train-volume.tif", images)
    tifffile.imwrite(folder / "train-labels.tif", labels)


def test_membranes_are_class_1(tmp_path):
    stack(tmp_path)
    collection = opened("isbi2012", tmp_path)
    case = collection.cases[7]
    assert case.id == "section_08"
    assert set(np.unique(collection.read_image(case).array)) == {7}
    label = collection.read_label(case).array[0]
    assert label[3].all()
    assert not np.delete(label, 3, axis=0).any()


def test_neighbouring_sections_stay_together(tmp_path):
    stack(tmp_path)
    cases = opened("isbi2012", tmp_path).cases
    assert [case.patient for case in cases] == ["block_1"] * 6 + ["block_2"] * 6
    held = make_splits(cases, validation_share=0.5, seed=0).official["validation"]
    assert len({case.patient for case in cases if case.id in held}) == 1


def test_a_missing_stack_is_named(tmp_path):
    with pytest.raises(PreparationError, match=r"no train-volume\.tif and no train-labels\.tif"):
        opened("isbi2012", tmp_path)
