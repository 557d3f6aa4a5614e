import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from data_preparation.collections import PreparationError, SourceOptions, open_collection
from data_preparation.collections.drive import LAYOUT as DRIVE
from data_preparation.collections.retina import IGNORE, read_observer
from data_preparation.splits import make_splits
from imaging import ImageError


def photograph(seed=0, size=(24, 32)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def vessels(value=255, size=(24, 32)):
    mask = np.zeros(size, np.uint8)
    mask[5:8] = value
    return mask


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def encoded(array, format):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format)
    return stream.getvalue()


def drive(root, numbers=((1, "test"), (21, "training"))):
    """Photographs as TIF, masks as GIF, as published."""
    for number, part in numbers:
        name, folder = f"{number:02d}", root / part
        save(folder / "images" / f"{name}_{part}.tif", photograph(number))
        save(folder / "1st_manual" / f"{name}_manual1.gif", vessels())
        field = np.full((24, 32), 255, np.uint8)
        field[:, :4] = 0
        save(folder / "mask" / f"{name}_{part}_mask.gif", field)
        if part == "test":
            save(folder / "2nd_manual" / f"{name}_manual2.gif", np.roll(vessels(), 1, axis=0))
    return root


def opened(name, source):
    return open_collection(name, SourceOptions(source=source))


def zipped(folder, target):
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder.parent))
    return target


def test_drive_has_the_official_split_and_ignores_what_lies_outside_the_field_of_view(tmp_path):
    collection = opened("drive", drive(tmp_path))
    assert {case.id: case.part for case in collection.cases} == {"01": "test", "21": "train"}
    label = collection.read_label(collection.cases[0]).array[0]
    assert set(label[:, :4].ravel()) == {IGNORE}
    np.testing.assert_array_equal(label[:, 4:], vessels(1)[:, 4:])
    np.testing.assert_array_equal(collection.read_image(collection.cases[1]).array[0], photograph(21))


def test_the_second_observer_is_a_reference_of_its_own(tmp_path):
    first, second = opened("drive", drive(tmp_path)).cases
    label = read_observer(first, layout=DRIVE, observer=2).array[0]
    np.testing.assert_array_equal(label[:, 4:], np.roll(vessels(1), 1, axis=0)[:, 4:])
    assert read_observer(second, layout=DRIVE, observer=2) is None


def test_drive_zips_are_read_packed(tmp_path):
    plain = drive(tmp_path / "plain")
    (tmp_path / "zips").mkdir()
    for part in ("training", "test"):
        zipped(plain / part, tmp_path / "zips" / f"{part}.zip")
    packed, folder = opened("drive", tmp_path / "zips"), opened("drive", plain)
    assert [case.id for case in packed.cases] == [case.id for case in folder.cases]
    for one, other in zip(packed.cases, folder.cases, strict=True):
        assert one.images[0].suffix == ".zip"
        np.testing.assert_array_equal(packed.read_image(one).array, folder.read_image(other).array)
        np.testing.assert_array_equal(packed.read_label(one).array, folder.read_label(other).array)
    assert read_observer(packed.cases[0], layout=DRIVE, observer=2) is not None


def test_a_zip_of_zips_is_read(tmp_path):
    plain = drive(tmp_path / "plain")
    inner = zipped(plain / "training", tmp_path / "training.zip")
    with zipfile.ZipFile(tmp_path / "datasets.zip", "w") as archive:
        archive.write(inner, "training.zip")
    collection = opened("drive", tmp_path / "datasets.zip")
    np.testing.assert_array_equal(collection.read_image(collection.cases[0]).array[0], photograph(21))


def test_stare_is_gzipped_ppm_in_tars(tmp_path):
    def tar(name, files):
        with tarfile.open(tmp_path / name, "w") as archive:
            for file, array in files.items():
                data = gzip.compress(encoded(array, "PPM"))
                entry = tarfile.TarInfo(file)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))

    names = [f"im{number:04d}" for number in (1, 2, 3, 4, 5, 44, 77, 81, 82, 139, 162)]
    tar("stare-images.tar", {f"{name}.ppm.gz": photograph(place) for place, name in enumerate(names)})
    tar("labels-ah.tar", {f"{name}.ah.ppm.gz": vessels() for name in names})
    tar("labels-vk.tar", {f"{name}.vk.ppm.gz": vessels() for name in names})
    collection = opened("stare", tmp_path)
    assert [case.part for case in collection.cases] == ["train"] * 10 + ["test"]
    case = collection.cases[2]
    np.testing.assert_array_equal(collection.read_image(case).array[0], photograph(2))
    np.testing.assert_array_equal(collection.read_label(case).array[0], vessels(1))


def chase(root, children=(1, 2, 10, 11, 14)):
    for child in children:
        for side in "LR":
            name = f"Image_{child:02d}{side}"
            save(root / f"{name}.jpg", photograph(child))
            for observer in ("1stHO", "2ndHO"):
                save(root / f"{name}_{observer}.png", vessels() > 0)  # one bit
    return root


def test_chase_db1_keeps_both_eyes_of_a_child_together(tmp_path):
    cases = opened("chase_db1", chase(tmp_path)).cases
    assert {case.part for case in cases if int(case.patient) <= 10} == {"train"}
    assert {case.part for case in cases if int(case.patient) > 10} == {"test"}
    for fold in make_splits(cases, validation_share=0.2, seed=1).folds:
        train, validation = ({name[:2] for name in fold[part]} for part in ("train", "validation"))
        assert not train & validation


def test_chase_db1_masks_of_one_bit_are_vessels(shared):
    collection = opened("chase_db1", shared / "data" / "CHASEDB1")
    assert len(collection.cases) == 24
    assert sum(case.part == "train" for case in collection.cases) in range(16, 21)
    label = collection.read_label(collection.cases[0]).array
    assert set(np.unique(label)) == {0, 1}
    assert 0.05 < label.mean() < 0.12


def test_hrf_trains_on_five_of_every_group(tmp_path):
    for group in ("h", "g", "dr"):
        for number in (1, 5, 6):
            name = f"{number:02d}_{group}"
            save(tmp_path / "images" / f"{name}.JPG", photograph(number))
            save(tmp_path / "manual1" / f"{name}.tif", vessels())
            save(tmp_path / "mask" / f"{name}_mask.tif", np.full((24, 32, 3), 255, np.uint8))
    collection = opened("hrf", tmp_path)
    assert {case.id: case.part for case in collection.cases if case.patient.endswith("dr")} == {
        "01_dr": "train",
        "05_dr": "train",
        "06_dr": "test",
    }
    np.testing.assert_array_equal(collection.read_label(collection.cases[0]).array[0], vessels(1))


def test_missing_partners_are_named(tmp_path):
    root = chase(tmp_path)
    (root / "Image_01L.jpg").unlink()
    (root / "Image_02R_1stHO.png").unlink()
    said = [str(finding) for finding in opened("chase_db1", root).findings]
    assert any("Image_01L_1stHO.png: image missing." in line for line in said)
    assert any("Image_02R.jpg: label missing." in line for line in said)


def refusal(tmp_path, change):
    root = chase(tmp_path, children=(1,))
    change(root)
    collection = opened("chase_db1", root)
    with pytest.raises(ImageError) as refused:
        for case in collection.cases:
            collection.read_image(case)
            collection.read_label(case)
    return str(refused.value)


def replace_by_jpeg(root):
    (root / "Image_01L_1stHO.png").unlink()
    save(root / "Image_01L_1stHO.jpg", vessels())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_by_jpeg, "Image_01L_1stHO.jpg: is a JPEG, whose values are not exact: use the masks as published"),
        (
            lambda root: save(root / "Image_01L.jpg", photograph(size=(1, 1))),
            "is 1 x 1 pixels, too small: leave it out",
        ),
        (lambda root: save(root / "Image_01L.jpg", vessels()), "has 1 channels: a fundus photograph has 3"),
        (lambda root: save(root / "Image_01L_1stHO.png", photograph()), "grey values, a mask holds two"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, change, message):
    said = refusal(tmp_path, change)
    assert message in said
    assert "Image_01L" in said
    assert "\n" not in said


def test_palette_gif_of_0_and_1_and_masks_with_alpha_are_read(tmp_path):
    root = drive(tmp_path, numbers=((21, "training"),))
    palette = Image.fromarray(vessels(1), mode="P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(root / "training" / "1st_manual" / "21_manual1.gif")
    collection = opened("drive", root)
    np.testing.assert_array_equal(collection.read_label(collection.cases[0]).array[0][:, 4:], vessels(1)[:, 4:])
    other = chase(tmp_path / "chase", children=(1,))
    alpha = np.dstack([vessels()] * 3 + [np.full((24, 32), 200, np.uint8)])
    save(other / "Image_01L_1stHO.png", alpha)
    collection = opened("chase_db1", other)
    np.testing.assert_array_equal(collection.read_label(collection.cases[0]).array[0], vessels(1))


@pytest.mark.parametrize("name", ["drive", "stare", "chase_db1", "hrf", "dsb2018", "isbi2012"])
def test_an_empty_folder_says_what_belongs_there(tmp_path, name):
    with pytest.raises(PreparationError, match=r"Type DATA_PREPARATION\.SOURCE=<folder"):
        opened(name, tmp_path)


def test_a_damaged_zip_is_named(tmp_path):
    (tmp_path / "training.zip").write_bytes(b"PK nothing")
    with pytest.raises(ImageError, match=r"training\.zip: is damaged.*download it again"):
        opened("drive", tmp_path)
