"""predict.py: folders, lists and single files, with and without masks, pictures and volumes; files, no display."""

import json
import os

import cv2
import numpy as np
import pytest
from inference_cases import BrightNetwork, box_label, make_run, overrides, prepare, stand_in, write_case

import predict as script
from configs import compose
from imaging import axis_codes, read_label, read_volume, same_grid


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A run without its prepared collection: everything comes from its configuration."""
    make_run(tmp_path)
    stand_in(monkeypatch)
    return tmp_path


def run(work, *more):
    cfg = compose(overrides(work, "RUN_NAME=run", *more))
    return script.predict(cfg)


def write_picture(path, *, size=(32, 32), colour=True):
    """A bright square in the upper left; blue is dark, so that channels are told apart."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[4:12, 6:20, 1:] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture if colour else picture[..., 1])


def write_mask(path, size=(32, 32)):
    mask = np.zeros(size, np.uint8)
    mask[4:12, 6:20] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask)


def test_a_folder_of_pictures_without_masks(work):
    for name in ("image_1_2", "image_1_10"):
        write_picture(work / "val" / f"{name}.png")
    predictions = run(work, f"DATASET.VAL.IMAGES_PATH={work}/val", "DATASET.VAL.MASK_PATH=None")
    assert predictions.result.finished == ["image_1_2", "image_1_10"]
    mask = cv2.imread(str(predictions.folder / "masks" / "image_1_2.png"), cv2.IMREAD_UNCHANGED)
    assert mask[4:12, 6:20].all()
    assert mask.sum() == 8 * 14
    assert (predictions.folder / "overlays" / "image_1_2.png").is_file()


def test_a_list_of_pictures_with_a_list_of_masks(work):
    write_picture(work / "a.png")
    write_picture(work / "b.png")
    write_mask(work / "x.png")
    write_mask(work / "y.png")
    lists = [
        f"DATASET.VAL.IMAGES_PATH=[{work}/b.png,{work}/a.png]",
        f"DATASET.VAL.MASK_PATH=[{work}/x.png,{work}/y.png]",
    ]
    cfg = compose(overrides(work, "RUN_NAME=run", *lists))
    predictions = script.predict(cfg, figures=5)
    assert predictions.result.finished == ["b", "a"]
    titles = [axes.get_title() for axes in predictions.figures[0][1].axes]
    assert titles == ["image", "true mask", "prediction"]


def test_a_folder_with_a_folder_of_masks(work):
    write_picture(work / "val" / "images" / "image_3.png")
    write_mask(work / "val" / "mask" / "mask_3.png")
    found = script.predict(
        compose(
            overrides(
                work,
                "RUN_NAME=run",
                f"DATASET.VAL.IMAGES_PATH={work}/val/images",
                f"DATASET.VAL.MASK_PATH={work}/val/mask",
            )
        ),
        figures=1,
    )
    assert len(found.figures[0][1].axes) == 3


@pytest.mark.parametrize(("centre", "channels"), [(True, 1), (False, 3)])
def test_the_centre_channel_is_shown_unless_told_otherwise(work, centre, channels):
    write_picture(work / "a.png")
    cfg = compose(overrides(work, "RUN_NAME=run", f"INPUT_PATH={work}/a.png", f"SHOW_CENTER_CHANNEL_IMAGE={centre}"))
    shown = script.predict(cfg, figures=1).figures[0][1].axes[0].images[0].get_array()
    # Blue is dark in the picture: colours differ between channels, the centre slice does not.
    assert len(np.unique(np.asarray(shown)[8, 8])) == (1 if channels == 1 else 2)


def test_a_picture_of_another_size_gets_a_mask_of_its_size(work):
    write_picture(work / "big.png", size=(64, 96))
    predictions = run(work, f"INPUT_PATH={work}/big.png")
    mask = cv2.imread(str(predictions.folder / "masks" / "big.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (64, 96)
    assert mask[5:11, 8:18].all()
    assert not mask[16:].any()


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL"])
def test_a_volume_comes_back_on_its_own_grid_and_orientation(work, codes):
    write_case(work / "ct", 0, codes=codes)
    predictions = run(work, f"INPUT_PATH={work}/ct/volume-0.nii.gz")
    found = read_label(predictions.folder / "volume-0.nii.gz")
    image = read_volume(work / "ct" / "volume-0.nii.gz")
    reference = read_label(work / "ct" / "segmentation-0.nii.gz")
    assert axis_codes(found.affine) == axis_codes(image.affine)
    assert same_grid(found, image)
    overlap = 2 * np.sum((found.array > 0) & (reference.array > 0)) / (found.array.sum() + reference.array.sum())
    # The slices are shrunk from 40 x 36 to 32 x 32 and back: a border voxel may be lost, an orientation never.
    assert overlap > 0.9
    assert json.loads((predictions.folder / "volume-0.labels.json").read_text()) == {"0": "background", "1": "liver"}
    volumes = json.loads((predictions.folder / "statistics.json").read_text())["volume-0"]["liver"]
    assert volumes["voxels"] == int(found.array.sum())
    assert (predictions.folder / "previews" / "volume-0.png").is_file()


def test_a_folder_of_volumes_leaves_its_segmentations_alone(work):
    for number in (1, 2):
        write_case(work / "ct", number)
    assert run(work, f"INPUT_PATH={work}/ct").result.finished == ["volume-1", "volume-2"]


def test_the_window_comes_from_the_training_collection(tmp_path, monkeypatch):
    write_case(tmp_path / "raw", 30)
    write_case(tmp_path / "raw", 31)
    prepare(tmp_path / "raw", tmp_path / "prepared")
    manifest = json.loads((tmp_path / "prepared" / "manifest.json").read_text())
    manifest["intensity"]["window_hu"] = [1000, 2000]
    (tmp_path / "prepared" / "manifest.json").write_text(json.dumps(manifest))
    make_run(tmp_path)
    stand_in(monkeypatch)
    predictions = run(tmp_path, f"INPUT_PATH={tmp_path}/raw/volume-30.nii.gz")
    assert not read_label(predictions.folder / "volume-30.nii.gz").array.any()


def test_finished_inputs_are_not_repeated_until_weights_or_input_change(work):
    write_case(work / "ct", 1)
    write_case(work / "ct", 2)
    arguments = (work, f"INPUT_PATH={work}/ct")
    assert len(run(*arguments).result.finished) == 2
    assert run(*arguments).result.skipped == ["volume-1", "volume-2"]
    os.utime(work / "ct" / "volume-2.nii.gz", (1, 1))
    assert run(*arguments).result.finished == ["volume-2"]
    (work / "outputs" / "run" / "predictions" / "volume-1.nii.gz").unlink()
    assert run(*arguments).result.finished == ["volume-1"]
    (work / "outputs" / "run" / "checkpoints" / "best.weights.h5").write_bytes(b"trained longer")
    assert len(run(*arguments).result.finished) == 2
    assert len(run(*arguments, "TTA=True").result.finished) == 2


def test_a_broken_file_is_named_and_the_others_are_predicted(work, capsys):
    write_case(work / "ct", 1)
    (work / "ct" / "volume-0.nii.gz").write_bytes(b"\x1f\x8b\x08 truncated")
    cfg = compose(overrides(work, "RUN_NAME=run", f"INPUT_PATH={work}/ct"))
    assert script.main(cfg) == 1
    told = capsys.readouterr()
    assert "1 predicted" in told.out
    assert "volume-0" in told.err
    assert (work / "outputs" / "run" / "predictions" / "volume-1.nii.gz").is_file()


def test_results_go_where_they_are_wanted(work):
    write_case(work / "ct", 1)
    predictions = run(work, f"INPUT_PATH={work}/ct", f"PREDICTION_PATH={work}/out")
    assert predictions.folder == work / "out"
    assert (work / "out" / "volume-1.nii.gz").is_file()


def test_mirroring_gives_the_same_for_a_network_without_sides(work):
    write_case(work / "ct", 1)
    plain = read_label(run(work, f"INPUT_PATH={work}/ct").folder / "volume-1.nii.gz").array
    mirrored = read_label(run(work, f"INPUT_PATH={work}/ct", "TTA=True").folder / "volume-1.nii.gz").array
    np.testing.assert_array_equal(plain, mirrored)


def test_small_islands_are_removed_when_asked(tmp_path, monkeypatch):
    make_run(tmp_path)
    stand_in(monkeypatch, BrightNetwork())
    label = box_label(0)
    label[5, 30:33, 3:6] = 1
    write_case(tmp_path / "ct", 0, label=label)
    predictions = run(tmp_path, f"INPUT_PATH={tmp_path}/ct", "INFERENCE.LARGEST_COMPONENT=True")
    found = read_label(predictions.folder / "volume-0.nii.gz").array
    reference = read_label(tmp_path / "ct" / "segmentation-0.nii.gz").array
    assert found.sum() < reference.sum() - 5
    assert found[np.nonzero(found)].size > 300


def test_a_misspelt_network_is_answered_with_the_right_one():
    with pytest.raises(ValueError, match="unet3plus"):
        script.check(compose(["MODEL.TYPE=unet3pluss"]))


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["INPUT_PATH=/no/such/file.nii"], "does not exist"),
        (["INPUT_PATH={work}/empty"], "nothing to predict"),
        (["INPUT_PATH=[{work}/a.png]", "DATASET.VAL.MASK_PATH=[{work}/a.png,{work}/a.png]"], "1 images and 2 masks"),
        (["INPUT_PATH={work}/a.png", "CHECKPOINT=last"], "CHECKPOINT=best"),
        (["INPUT_PATH={work}/a.png", "TTA=True", "INFERENCE.MIRROR_AXES=[2]"], "MIRROR_AXES"),
    ],
)
def test_mistakes_are_answered_in_one_line(work, more, word):
    (work / "empty").mkdir()
    write_picture(work / "a.png")
    with pytest.raises(ValueError, match=word) as error:
        run(work, *[text.format(work=work) for text in more])
    assert "\n" not in str(error.value)
