"""What users bring instead of a picture and its mask: each is named, with the remedy, in one line."""

import numpy as np
import pytest
from PIL import Image

from data_generators.folders import FolderSource
from data_generators.pictures import PictureOptions
from data_preparation.check import check_collection
from data_preparation.collections import PreparationError, SourceOptions, open_collection

IMAGE = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
MASK = np.zeros((12, 16), np.uint8)
MASK[3:6] = 255


@pytest.fixture
def folders(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    save(tmp_path / "images" / "a.png", IMAGE)
    save(tmp_path / "masks" / "a.png", MASK)
    return tmp_path


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)


def source(root, **options):
    settings = {"mask_divisor": 255, **options}
    return FolderSource(root / "images", root / "masks", options=PictureOptions(**settings))


def prepared(root):
    return open_collection("image_folder", SourceOptions(source=root, mask_threshold=127))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: save(root / "images" / "b.png", IMAGE), "No mask for b.png: a mask is called like its picture"),
        (lambda root: save(root / "masks" / "b.png", MASK), "No picture for the mask b.png: add the picture"),
        (lambda root: (root / "images" / "a.png").unlink(), "holds no picture: expected files ending in"),
        (lambda root: save(root / "masks" / "a.png", MASK[:5]), "must be of one size"),
    ],
)
def test_pictures_for_training(folders, change, message):
    change(folders)
    with pytest.raises(ValueError) as refused:
        source(folders).read(0)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_jpeg_masks_need_a_threshold(folders):
    (folders / "masks" / "a.png").unlink()
    save(folders / "masks" / "a.jpg", MASK)
    with pytest.raises(ValueError, match=r"a\.jpg is a JPEG.*PREPROCESS_DATA\.MASK_THRESHOLD=127"):
        source(folders)
    label = source(folders, mask_divisor=None, mask_threshold=127).read(0)[1]
    np.testing.assert_array_equal(label[..., 0], MASK // 255)


def test_palette_gif_of_0_and_1(folders):
    (folders / "masks" / "a.png").unlink()
    palette = Image.fromarray(MASK // 255, mode="P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(folders / "masks" / "a.gif")
    label = source(folders, mask_divisor=None).read(0)[1]
    np.testing.assert_array_equal(label[..., 0], MASK // 255)


def test_alpha_channels_are_dropped(folders):
    alpha = np.full((12, 16, 1), 90, np.uint8)
    save(folders / "images" / "a.png", np.concatenate([IMAGE, alpha], -1))
    save(folders / "masks" / "a.png", np.concatenate([MASK[..., None].repeat(3, -1), alpha], -1))
    image, label = source(folders).read(0)
    np.testing.assert_allclose(image, IMAGE / 255.0, atol=1e-6)
    np.testing.assert_array_equal(label[..., 0], MASK // 255)


def test_one_pixel_is_no_picture(folders):
    save(folders / "images" / "a.png", IMAGE[:1, :1])
    save(folders / "masks" / "a.png", MASK[:1, :1])
    said = [str(finding) for finding in check_collection(prepared(folders), workers=1, progress=False)]
    assert any("a.png: the image is 1 x 1 pixels. Export it again, or leave the case out." in line for line in said)


def test_an_empty_folder_for_preparation(tmp_path):
    with pytest.raises(PreparationError, match=r"no folder images/ in it\. Type DATA_PREPARATION\.SOURCE="):
        prepared(tmp_path)
