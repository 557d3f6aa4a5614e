"""Slices of prepared volumes, picture folders, pairing of names, splitting by patient."""

import cv2
import numpy as np
import pytest
from generators_helpers import numbered_volume, write_collection, write_picture

from data_generators.folders import FolderSource
from data_generators.labels import label_lut
from data_generators.manifest import ManifestError
from data_generators.pairing import PairingError, list_pictures, pair_files, patients_of, split_by_patient
from data_generators.pictures import PictureError, PictureOptions
from data_generators.sources import SliceSource, Source
from imaging.errors import ImageError

# ---- slices


def two_cases(root, *, channels=1):
    label = np.zeros((4, 6, 8), np.uint8)
    label[1, 2, 3], label[2, 4, 5] = 1, 2
    empty = np.zeros((3, 6, 8), np.uint8)
    return write_collection(
        root,
        {
            "a": (numbered_volume(4, channels=channels), label),
            "b": (numbered_volume(3, first=10, channels=channels), empty),
        },
    )


def test_a_slice_comes_with_its_neighbours_and_the_ends_are_repeated(tmp_path):
    source = SliceSource(two_cases(tmp_path), slices=3)
    assert len(source) == 7 and source.shape == (6, 8, 3)
    stacks = [source.read(index)[0][0, 0].tolist() for index in range(7)]
    # Case a holds 0, 1, 2, 3, case b holds 10, 11, 12: no stack crosses from one to the other.
    assert stacks == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3], [10, 10, 11], [10, 11, 12], [11, 12, 12]]


def test_five_slices_of_two_channels_keep_each_slices_channels_together(tmp_path):
    source = SliceSource(two_cases(tmp_path, channels=2), ["a"], slices=5)
    image, _ = source.read(1)
    assert image[3, 3].tolist() == [0, 0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]


def test_the_label_is_the_centre_slice_and_follows_the_label_map(tmp_path):
    root = two_cases(tmp_path)
    table, _ = label_lut({0: "background", 1: "liver", 2: "tumor"}, {"tumor": 2})
    _, label = SliceSource(root, ["a"], label_table=table).read(2)
    assert label.shape == (6, 8, 1) and label.dtype == np.uint8
    assert label[4, 5, 0] == 1 and label.sum() == 1
    _, liver_slice = SliceSource(root, ["a"], label_table=table).read(1)
    assert liver_slice.sum() == 0


def test_arrays_come_as_float32_and_belong_to_the_caller(tmp_path):
    source = SliceSource(two_cases(tmp_path))
    image, label = source.read(1)
    assert image.dtype == np.float32
    image += 1.0
    label += 1
    assert source.read(1)[0][0, 0, 1] == 1.0 and source.read(1)[1].max() == 1


def test_foreground_follows_the_label_map_and_what_is_asked_for(tmp_path):
    root = two_cases(tmp_path)
    assert SliceSource(root).foreground.tolist() == [False, True, True, False, False, False, False]
    tumour = SliceSource(root, foreground_values=[2]).foreground
    assert tumour.tolist() == [False, False, True, False, False, False, False]


def test_names_say_case_and_slice(tmp_path):
    source = SliceSource(two_cases(tmp_path), ["b", "a"])
    assert [source.name(index) for index in (0, 2, 3)] == ["b_0", "b_2", "a_0"]
    assert isinstance(source, Source)


def test_a_collection_without_labels_reads_images_alone(tmp_path):
    source = SliceSource(write_collection(tmp_path, {"a": (numbered_volume(2), None)}))
    image, label = source.read(0)
    assert image.shape == (6, 8, 3) and label is None and not source.has_labels


@pytest.mark.parametrize("slices", [0, 2, -1])
def test_an_even_number_of_slices_is_refused(tmp_path, slices):
    with pytest.raises(ValueError, match="INPUT.SLICES is"):
        SliceSource(tmp_path, slices=slices)


def test_an_unknown_case_is_named(tmp_path):
    with pytest.raises(ManifestError, match="'c'"):
        SliceSource(two_cases(tmp_path), ["a", "c"])
    with pytest.raises(ManifestError, match="No case"):
        SliceSource(tmp_path, [])


def test_a_damaged_volume_is_named(tmp_path):
    source = SliceSource(two_cases(tmp_path))
    (tmp_path / "images" / "a.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(ManifestError, match=r"a\.npy"):
        source.read(0)


# ---- pairing


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_predecessor_names_pair_in_natural_order_without_hidden_files(tmp_path):
    images = touch(tmp_path / "images", "image_28_10.png", "image_28_9.png", ".DS_Store.png", "notes.txt")
    masks = touch(tmp_path / "mask", "mask_28_10.png", "mask_28_9.png")
    pairs = [(image.name, mask.name) for image, mask in pair_files(images, masks)]
    assert pairs == [("image_28_9.png", "mask_28_9.png"), ("image_28_10.png", "mask_28_10.png")]


def test_only_the_first_image_of_a_name_becomes_mask(tmp_path):
    images = touch(tmp_path / "images", "image_of_image.png")
    masks = touch(tmp_path / "mask", "mask_of_image.png")
    assert len(pair_files(images, masks)) == 1
    with pytest.raises(PairingError, match="No mask for image_of_image.png"):
        pair_files(images, touch(tmp_path / "wrong", "mask_of_mask.png"))


def test_equal_stems_pair_whatever_the_ending(tmp_path):
    images, masks = touch(tmp_path / "i", "a.jpg", "b.jpg"), touch(tmp_path / "m", "b.png", "a.png")
    assert [mask.name for _, mask in pair_files(images, masks)] == ["a.png", "b.png"]


def test_patterns_pair_within_one_folder_by_suffix(tmp_path):
    folder = touch(tmp_path / "eyes", "Image_01L.jpg", "Image_01L_1stHO.png", "Image_01L_2ndHO.png")
    pairs = pair_files(f"{folder}/*.jpg", f"{folder}/*_1stHO.png")
    assert [(image.name, mask.name) for image, mask in pairs] == [("Image_01L.jpg", "Image_01L_1stHO.png")]


def test_missing_and_doubled_partners_are_named(tmp_path):
    images = touch(tmp_path / "i", "a.png", "b.png")
    with pytest.raises(PairingError, match="No mask for b.png"):
        pair_files(images, touch(tmp_path / "m1", "a.png"))
    with pytest.raises(PairingError, match="No picture for the mask c.png"):
        pair_files(images, touch(tmp_path / "m2", "a.png", "b.png", "c.png"))
    with pytest.raises(PairingError, match=r"a\.png has 2 masks"):
        pair_files(images, touch(tmp_path / "m3", "a.png", "a.tif", "b.png"))


def test_lists_pair_in_their_order_and_must_be_of_one_length(tmp_path):
    files = touch(tmp_path, "z.png", "a.png", "m1.png", "m2.png")
    images, masks = [files / "z.png", files / "a.png"], [files / "m1.png", files / "m2.png"]
    assert pair_files(images, masks) == list(zip(images, masks, strict=True))
    with pytest.raises(PairingError, match="lists 2 files and MASK_PATH 1"):
        pair_files(images, masks[:1])
    with pytest.raises(PairingError, match=r"no\.png, which does not exist"):
        list_pictures([files / "no.png"], key="IMAGES_PATH")


def test_no_patient_is_on_both_sides_of_a_split(tmp_path):
    patients = patients_of(
        touch(tmp_path, *[f"{w}_{p}_{s}.png" for w in "fm" for p in range(9) for s in (1, 2)]).iterdir(), r"_(\d+)_"
    )
    first, second = split_by_patient(patients, share=0.3, seed=3)
    assert not {patients[i] for i in first} & {patients[i] for i in second}
    assert sorted([*first, *second]) == list(range(36))
    assert len({patients[i] for i in second}) == 3  # 30 % of 9 patients


def test_a_patient_pattern_that_misses_a_file_is_refused(tmp_path):
    files = list(touch(tmp_path, "x.png").iterdir())
    for pattern, says in [(r"_(\d+)", "does not match x.png"), (r"\d", "has no group"), ("(", "no regular expression")]:
        with pytest.raises(PairingError, match=says):
            patients_of(files, pattern)
    with pytest.raises(PairingError, match="one patient"):
        split_by_patient(["a", "a"], share=0.5, seed=0)


# ---- pictures


def folder_of(tmp_path, image, mask, **options):
    write_picture(tmp_path / "i" / "p.png", image)
    write_picture(tmp_path / "m" / "p.png", mask)
    return FolderSource(tmp_path / "i", tmp_path / "m", options=PictureOptions(**options))


GREY = np.array([[0, 51], [102, 255]], np.uint8)
MASK = np.array([[0, 1], [2, 0]], np.uint8)


def test_rgb_comes_in_rgb_order_over_255(tmp_path):
    colour = np.stack([GREY, 255 - GREY, np.zeros_like(GREY)], -1)
    image, label = folder_of(tmp_path, colour, MASK).read(0)
    np.testing.assert_allclose(image, colour / 255.0, atol=1e-7)
    assert image.dtype == np.float32 and label[..., 0].tolist() == MASK.tolist()


@pytest.mark.parametrize("kind", ["rgba", "grey", "grey16"])
def test_every_kind_of_picture_becomes_three_channels(tmp_path, kind):
    picture = {"rgba": np.stack([GREY] * 3 + [GREY * 0 + 9], -1), "grey": GREY, "grey16": GREY.astype(np.uint16) * 257}
    image, _ = folder_of(tmp_path, picture[kind], MASK).read(0)
    np.testing.assert_allclose(image, np.stack([GREY / 255.0] * 3, -1), atol=1e-6)


def test_one_channel_and_raw_values_on_request(tmp_path):
    image, _ = folder_of(tmp_path, GREY, MASK, channels=1, normalize=False).read(0)
    assert image[..., 0].tolist() == GREY.tolist()


def test_resizing_takes_masks_by_nearest_neighbour(tmp_path):
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 2
    source = folder_of(tmp_path, np.full((8, 8), 100, np.uint8), mask, size=(12, 20))
    image, label = source.read(0)
    assert image.shape == source.shape == (12, 20, 3) and set(np.unique(label)) == {0, 2}


def test_masks_of_0_and_255_are_refused_until_said_what_255_is(tmp_path):
    with pytest.raises(PictureError, match="NORMALIZE_MASK.VALUE=True"):
        folder_of(tmp_path, GREY, MASK.clip(0, 1) * 255)
    _, label = folder_of(tmp_path, GREY, MASK.clip(0, 1) * 255, mask_divisor=255).read(0)
    assert label[..., 0].tolist() == [[0, 1], [1, 0]]


def test_a_threshold_that_empties_every_mask_is_refused(tmp_path):
    with pytest.raises(PictureError, match=r"hold 0, 1, 2, of which 0 is left.*MASK_THRESHOLD"):
        folder_of(tmp_path, GREY, MASK, mask_threshold=127)


def test_jpeg_masks_need_a_threshold(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 255
    write_picture(tmp_path / "i" / "p.jpg", mask)
    write_picture(tmp_path / "m" / "p.jpg", mask)
    with pytest.raises(PictureError, match="MASK_THRESHOLD=127"):
        FolderSource(tmp_path / "i", tmp_path / "m")
    source = FolderSource(tmp_path / "i", tmp_path / "m", options=PictureOptions(mask_threshold=127))
    assert np.array_equal(source.read(0)[1][..., 0], mask // 255)
    assert source.foreground.tolist() == [True]


def test_different_sizes_of_picture_and_mask_are_named(tmp_path):
    with pytest.raises(PictureError, match=r"p\.png is 4x4 and its mask .*p\.png 2x2"):
        folder_of(tmp_path, np.zeros((4, 4), np.uint8), MASK).read(0)


def test_colour_masks_are_refused_and_palette_masks_read_as_indices(tmp_path):
    import PIL.Image

    with pytest.raises(PictureError, match="colour picture"):
        folder_of(tmp_path, GREY, np.stack([MASK, MASK * 2, MASK], -1))
    palette = PIL.Image.fromarray(MASK, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "m" / "p.png")
    assert FolderSource(tmp_path / "i", tmp_path / "m").read(0)[1][..., 0].tolist() == MASK.tolist()


def test_a_broken_picture_is_named(tmp_path):
    source = folder_of(tmp_path, GREY, MASK)
    (tmp_path / "i" / "p.png").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ImageError, match=r"p\.png"):
        source.read(0)


def test_without_masks_there_are_no_labels(tmp_path):
    write_picture(tmp_path / "p.png", GREY)
    source = FolderSource(tmp_path)
    assert source.read(0)[1] is None and not source.has_labels and source.name(0) == "p.png"


def test_a_selection_keeps_pictures_masks_and_patients_together(tmp_path):
    for name in "abc":
        write_picture(tmp_path / "i" / f"{name}.png", GREY)
        write_picture(tmp_path / "m" / f"{name}.png", MASK)
    chosen = FolderSource(tmp_path / "i", tmp_path / "m").select([2, 0])
    assert [chosen.name(index) for index in range(len(chosen))] == ["c.png", "a.png"]
    assert chosen.patients == ["c", "a"] and chosen.foreground.tolist() == [True, True]


def test_real_liver_slices_split_by_patient(shared):
    folder = shared / "data" / "MSD_Liver_slices_jpg"
    options = PictureOptions(channels=1, mask_threshold=127)
    source = FolderSource(folder / "images", folder / "masks", options=options, patient_pattern=r"_(\d+)_")
    assert len(source) == 518 and len(set(source.patients)) == 97
    image, label = source.read(0)
    assert image.shape == (256, 256, 1) and set(np.unique(label)) <= {0, 1}


def test_real_eyes_pair_by_pattern(shared):
    folder = shared / "data" / "CHASEDB1"
    source = FolderSource(f"{folder}/*.jpg", f"{folder}/*_1stHO.png", patient_pattern=r"_(\d+)[LR]")
    image, label = source.read(0)
    assert image.shape == (960, 999, 3) and 0.03 < label.mean() < 0.15 and len(set(source.patients)) == 12


def test_cv2_reads_memory_mapped_labels(tmp_path):
    np.save(tmp_path / "l.npy", MASK)
    mapped = np.asarray(np.load(tmp_path / "l.npy", mmap_mode="r"))
    assert cv2.LUT(mapped, np.arange(256, dtype=np.uint8)[::-1].copy())[0, 0] == 255
