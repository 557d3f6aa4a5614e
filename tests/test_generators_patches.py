"""Patches of volumes and cuts of pictures: where they lie, what is read, what is outside."""

import numpy as np
import pytest
from generators_helpers import numbered_volume, write_collection, write_picture

from data_generators.augmentation import build_augmentation, check_recipe
from data_generators.cuts import CutSource
from data_generators.folders import FolderSource
from data_generators.labels import label_lut
from data_generators.patches import PatchSource, overlap, patch_around, random_corner, read_region
from data_generators.pictures import PictureOptions
from data_generators.sequence import SequenceLoader


def coordinates(shape):
    """Float32 volume whose three channels are the voxel's own coordinates."""
    return np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), -1).astype(np.float32)


@pytest.fixture
def root(tmp_path):
    """Case a, 12 x 14 x 16, with a corner of label 1 and one voxel of label 2; case b smaller than a patch."""
    label = np.zeros((12, 14, 16), np.uint8)
    label[:3, :3, :3] = 1
    label[11, 13, 15] = 2
    small = np.zeros((3, 5, 4), np.uint8)
    small[1, 2, 1] = 1
    return write_collection(tmp_path, {"a": (coordinates(label.shape), label), "b": (coordinates(small.shape), small)})


def test_image_and_label_are_of_the_same_place(root):
    source = PatchSource(root, ["a"], patch=(6, 6, 6))
    _, label_of_a = np.load(root / "images/a.npy"), np.load(root / "labels/a.npy")
    for seed in range(20):
        image, label = source.draw(0, np.random.default_rng(seed), foreground=seed % 2 == 0)
        corner = image[0, 0, 0].astype(int)
        assert image[-1, -1, -1].tolist() == (corner + 5).tolist()
        expected = label_of_a[tuple(slice(low, low + 6) for low in corner)]
        np.testing.assert_array_equal(label[..., 0], expected)


def test_foreground_patches_hold_foreground_and_classes_are_balanced(root):
    source = PatchSource(root, ["a"], patch=(4, 4, 4))
    held = [source.draw(0, np.random.default_rng(seed), foreground=True)[1] for seed in range(400)]
    with_liver, with_tumour = (np.mean([(label == value).any() for label in held]) for value in (1, 2))
    # 27 voxels of class 1 and a single one of class 2: still each takes half of the patches.
    assert with_liver + with_tumour == 1.0
    assert with_tumour == pytest.approx(0.5, abs=0.1)


def test_a_patch_around_the_last_voxel_stays_inside(root):
    # nnU-Net clamps only the lower end, and such a patch would hang over into padding.
    assert patch_around((11, 13, 15), (4, 4, 4), (12, 14, 16)) == [8, 10, 12]
    assert patch_around((0, 0, 0), (4, 4, 4), (12, 14, 16)) == [0, 0, 0]
    table, _ = label_lut({0: "background", 2: "tumor"}, {"tumor": 2})
    image, label = PatchSource(root, ["a"], patch=(4, 4, 4), label_table=table).draw(
        0, np.random.default_rng(0), foreground=True
    )
    assert image[-1, -1, -1].tolist() == [11, 13, 15] and label[-1, -1, -1, 0] == 1


def test_every_place_inside_is_reached_and_none_outside():
    corners = {tuple(random_corner(np.random.default_rng(seed), (3, 4), (5, 4))) for seed in range(100)}
    assert corners == {(0, 0), (1, 0), (2, 0)}


def test_a_volume_smaller_than_the_patch_is_centred_and_padded(root):
    source = PatchSource(root, ["b"], patch=(7, 7, 8), outside_label=255)
    image, label = source.draw(0, np.random.default_rng(0), foreground=True)
    assert image.shape == (7, 7, 8, 3) and label.shape == (7, 7, 8, 1)
    # 3 of 7 slices: 2 before; 5 of 7 rows: 1; 4 of 8 columns: 2.
    np.testing.assert_array_equal(image[2:5, 1:6, 2:6], coordinates((3, 5, 4)))
    assert (label == 255).sum() == 7 * 7 * 8 - 3 * 5 * 4 and label[3, 3, 3, 0] == 1
    assert image[0].sum() == 0


def test_more_is_read_around_the_patch_when_asked_for(root):
    source = PatchSource(root, ["a"], patch=(4, 4, 4))
    patch, _ = source.draw(0, np.random.default_rng(1), foreground=False)
    wide, wide_label = source.draw(0, np.random.default_rng(1), foreground=False, shape=(10, 8, 6))
    np.testing.assert_array_equal(wide[3:7, 2:6, 1:5], patch)
    assert wide_label.shape == (10, 8, 6, 1)


def test_slices_as_patches_carry_their_neighbours(tmp_path):
    label = np.zeros((4, 6, 8), np.uint8)
    label[3, 5, 7] = 1
    root = write_collection(tmp_path, {"a": (numbered_volume(4), label)})
    source = PatchSource(root, patch=(4, 4), slices=3)
    image, patch_label = source.draw(0, np.random.default_rng(0), foreground=True)
    assert source.shape == (4, 4, 3) and image[0, 0].tolist() == [2, 3, 3] and patch_label[3, 3, 0] == 1
    wide, _ = source.draw(0, np.random.default_rng(0), foreground=True, shape=(8, 8))
    assert wide.shape == (8, 8, 3) and wide[-1, -1].tolist() == [0, 0, 0]


def test_a_case_without_foreground_gives_a_patch_all_the_same(tmp_path):
    root = write_collection(tmp_path, {"a": (numbered_volume(4), np.zeros((4, 6, 8), np.uint8))})
    source = PatchSource(root, patch=(2, 2, 2))
    assert source.draw(0, np.random.default_rng(0), foreground=True)[1].sum() == 0
    assert source.foreground.tolist() == [False]


def test_background_patches_avoid_unlabelled_regions(tmp_path):
    # All but the first slice is unlabelled: centres of patches are looked for where there is a label.
    label = np.full((8, 8, 8), 255, np.uint8)
    label[:4] = 0
    root = write_collection(tmp_path, {"a": (coordinates(label.shape), label)})
    source = PatchSource(root, patch=(2, 2, 2))
    centres = [source.draw(0, np.random.default_rng(seed), foreground=False)[1][1, 1, 1, 0] for seed in range(60)]
    assert np.mean(np.asarray(centres) == 255) < 0.1  # without looking: more than half


@pytest.mark.parametrize("workers", [0, 3])
def test_patch_batches_are_the_same_for_every_worker_count(root, workers):
    recipe = {name: {} for name in ("ROTATION", "SCALING", "NOISE", "GAMMA", "FLIP")}
    loader = SequenceLoader(
        PatchSource(root, patch=(6, 6, 6)),
        batch_size=3,
        seed=2,
        steps_per_epoch=4,
        workers=workers,
        augment=build_augmentation(recipe),
    )
    images = [image for image, _ in loader]
    assert [image.shape for image in images] == [(3, 6, 6, 6, 3)] * 4
    assert float(sum(image.sum(dtype=np.float64) for image in images)) == pytest.approx(
        float(sum(batch[0].sum(dtype=np.float64) for batch in (loader[index] for index in range(4)))), rel=1e-12
    )
    loader.resume(1)
    assert not np.array_equal(loader[0][0], images[0])


def test_a_turned_patch_has_no_empty_corners(tmp_path):
    # The volume is larger than the patch on all sides: turning must bring in voxels of it, not zeros.
    volume = np.ones((40, 40, 40, 1), np.float16)
    root = write_collection(tmp_path, {"a": (volume, np.zeros((40, 40, 40), np.uint8))})
    augment = build_augmentation(
        {"ROTATION": {"PROBABILITY": 1.0}, "SCALING": {"PROBABILITY": 1.0, "FACTOR": [1.2, 1.4]}}
    )
    parameters = augment.draw(np.random.default_rng(0), (12, 12, 12))
    image, label = PatchSource(root, patch=(12, 12, 12)).read(0)
    source = PatchSource(root, patch=(12, 12, 12))
    centre = [20 - side // 2 for side in parameters.read_shape]
    region = read_region(volume, centre, parameters.read_shape)
    turned, _ = augment.apply(region, None, parameters)
    assert turned.shape == image.shape == (12, 12, 12, 1) and turned.min() > 0.999
    assert label.shape == (12, 12, 12, 1) and source.shape == (12, 12, 12, 1)


def test_boxes_and_volumes_meet_where_they_should():
    inside, place = overlap([-2, 3], [4, 4], [5, 5])
    assert inside == (slice(0, 2), slice(3, 5)) and place == (slice(2, 4), slice(0, 2))
    assert read_region(np.ones((3, 3, 3, 1), np.float16), [5, 0, 0], [2, 2, 2]).sum() == 0


def test_impossible_patches_are_refused(root):
    with pytest.raises(ValueError, match="INPUT.PATCH"):
        PatchSource(root, patch=(4,))
    with pytest.raises(ValueError, match="INPUT.SLICES=3"):
        PatchSource(root, patch=(4, 4, 4), slices=3)


# ---- cuts of pictures


def vessels(tmp_path, *, name="p"):
    """A 60 x 80 picture with an object in its lower right."""
    mask = np.zeros((60, 80), np.uint8)
    mask[40:60, 60:80] = 1
    write_picture(tmp_path / "i" / f"{name}.png", np.stack([mask * 200] * 3, -1))
    write_picture(tmp_path / "m" / f"{name}.png", mask)
    return FolderSource(tmp_path / "i", tmp_path / "m", options=PictureOptions())


def test_cuts_keep_picture_and_mask_together(tmp_path):
    source = CutSource(vessels(tmp_path), size=(16, 16))
    for seed in range(30):
        image, label = source.draw(0, np.random.default_rng(seed), foreground=seed % 2 == 0)
        assert image.shape == (16, 16, 3)
        np.testing.assert_array_equal(image[..., :1] > 0.5, label == 1)
    assert source.draw(0, np.random.default_rng(1), foreground=True)[1].any()


def test_cuts_of_one_class_are_drawn_again(tmp_path):
    def mixed(**options):
        source = CutSource(vessels(tmp_path), size=(16, 16), **options)
        labels = [source.draw(0, np.random.default_rng(seed), foreground=False)[1] for seed in range(100)]
        return np.mean([0.25 < label.mean() < 0.75 for label in labels])

    assert mixed() < 0.2 and mixed(max_class_share=0.75, attempts=50) > 0.85


def test_pictures_of_different_size_make_batches_of_cuts(tmp_path):
    vessels(tmp_path)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:10] = 1
    write_picture(tmp_path / "i" / "q.png", mask)
    write_picture(tmp_path / "m" / "q.png", mask)
    pictures = FolderSource(tmp_path / "i", tmp_path / "m")
    recipe = {
        "SCALING": {"PROBABILITY": 1.0, "FACTOR": [0.5, 2.0], "OF": "objects"},
        "HUE": {},
        "SATURATION": {},
        "FLIP": {},
    }
    loader = SequenceLoader(
        CutSource(pictures, size=(24, 24)), batch_size=4, steps_per_epoch=3, augment=build_augmentation(recipe)
    )
    assert [batch[0].shape for batch in loader] == [(4, 24, 24, 3)] * 3
    before = pictures.read(0)[0]
    np.testing.assert_array_equal(before, loader.source.read(0)[0])  # what is kept is not overwritten


def test_the_shipped_recipes_are_valid(project):
    from configs import compose
    from configs.facts import plain

    for path in sorted((project / "configs" / "augmentation").glob("*.yaml")):
        check_recipe(plain(compose([f"augmentation={path.stem}"]).AUGMENTATION))
