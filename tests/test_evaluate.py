"""evaluate.py: per case, on the original grid, against the original file; failures listed, the others scored."""

import csv
import json

import cv2
import numpy as np
import pytest
from inference_cases import SIZE, BrightNetwork, box_label, make_run, overrides, prepare, stand_in, write_case

import evaluate as script
from configs import compose
from imaging import Volume, read_label, read_volume, reorient, write_volume

ORIENTATIONS = {1: "LPS", 2: "RAS", 3: "PIR"}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Three test volumes (1, 2, 3) in different orientations and three training volumes, prepared."""
    root = tmp_path_factory.mktemp("collection")
    for number, codes in {**ORIENTATIONS, 30: "LPS", 31: "RAS", 32: "LPS"}.items():
        write_case(root / "raw", number, codes=codes)
    prepare(root / "raw", root / "prepared")
    return root


@pytest.fixture
def work(collection, tmp_path, monkeypatch):
    """A run over the shared collection, with a network that is right."""
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    make_run(tmp_path)
    stand_in(monkeypatch)
    return tmp_path


def evaluate(work, *more):
    return script.evaluate(compose(overrides(work, "RUN_NAME=run", "EVALUATION.PICTURES=0", *more)))


def dice_of(evaluation):
    return {case: scores["liver"]["dice"] for case, scores in evaluation.scores.items()}


def test_a_right_network_scores_high_in_every_orientation(work):
    evaluation, folder = evaluate(work)
    assert sorted(evaluation.scores) == ["volume-1", "volume-2", "volume-3"]
    # Slices are shrunk to 32 x 32 and back, so borders are lost; any wrong axis would give less than 0.5.
    assert min(dice_of(evaluation).values()) > 0.9
    assert not evaluation.failed
    assert folder == work / "outputs" / "run" / "evaluation"


@pytest.mark.parametrize("axis", [1, 2])
def test_a_flipped_prediction_is_noticed(work, monkeypatch, axis):
    stand_in(monkeypatch, BrightNetwork(wrong=lambda p: np.flip(p, axis)))
    evaluation, _ = evaluate(work)
    assert max(dice_of(evaluation).values()) < 0.5


def test_exchanged_axes_are_noticed(work, monkeypatch):
    stand_in(monkeypatch, BrightNetwork(wrong=lambda p: np.swapaxes(p, 1, 2)))
    assert max(dice_of(evaluate(work)[0]).values()) < 0.5


def test_slices_in_the_wrong_order_are_noticed(work, monkeypatch):
    # A batch holds four of the six slices.
    stand_in(monkeypatch, BrightNetwork(wrong=lambda p: p[::-1]))
    assert max(dice_of(evaluate(work)[0]).values()) < 0.9


def test_the_score_is_of_the_volume_and_not_of_its_slices(work, monkeypatch, capsys):
    # Nothing predicted: half of the slices are empty in the reference. Volume Dice 0; the slice mean would be 1/2.
    stand_in(monkeypatch, BrightNetwork(wrong=np.zeros_like))
    evaluation, _ = evaluate(work, "EVALUATION.SLICEWISE=True")
    assert set(dice_of(evaluation).values()) == {0.0}
    assert "0.5000 (an empty slice predicted empty counts 1)" in evaluation.facts["slicewise"]
    assert "predecessor" in evaluation.facts["slicewise"]


def test_scores_are_written_per_case_with_their_policy(work):
    evaluation, folder = evaluate(work)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["volume-1", "volume-2", "volume-3"]
    assert float(rows[0]["dice"]) == pytest.approx(dice_of(evaluation)["volume-1"])
    summary = json.loads((folder / "summary.json").read_text())
    values = sorted(dice_of(evaluation).values())
    assert summary["cases"] == 3
    assert summary["classes"]["liver"]["dice"]["mean"] == pytest.approx(sum(values) / 3)
    assert summary["classes"]["liver"]["dice"]["median"] == pytest.approx(values[1])
    assert summary["worst"][0] == min(dice_of(evaluation), key=dice_of(evaluation).__getitem__)
    assert "scipy" in " ".join(summary["notes"])
    assert "a class empty in reference and prediction is not scored" in " ".join(summary["notes"])
    low, high = summary["classes"]["liver"]["dice"]["interval_95"]
    assert values[0] <= low <= high <= values[2]


def test_pictures_of_worst_median_and_best_case(work):
    _, folder = evaluate(work, "EVALUATION.PICTURES=1")
    names = sorted(path.name.rsplit("_", 1)[0] for path in (folder / "pictures").iterdir())
    assert names == ["best_1", "median_1", "worst_1"]


def test_predictions_are_kept_on_the_grid_of_the_image(work, collection):
    _, folder = evaluate(work)
    image = read_volume(collection / "raw" / "volume-3.nii.gz")
    found = read_label(folder / "predictions" / "volume-3.nii.gz")
    assert found.shape == image.shape
    np.testing.assert_allclose(found.affine, image.affine, atol=1e-4)


def test_a_missing_original_is_listed_and_the_others_are_scored(tmp_path, monkeypatch, capsys):
    for number in (1, 2, 30, 31):
        write_case(tmp_path / "raw", number)
    prepare(tmp_path / "raw", tmp_path / "prepared")
    (tmp_path / "raw" / "segmentation-1.nii.gz").unlink()
    make_run(tmp_path)
    stand_in(monkeypatch)
    assert script.main(compose(overrides(tmp_path, "RUN_NAME=run"))) == 1
    told = capsys.readouterr()
    assert "segmentation-1.nii.gz" in told.err
    assert "volume-2" in told.out


def test_both_labels_are_scored_when_both_are_classes(tmp_path, monkeypatch):
    label = box_label(0)
    label[2, 6:12, 22:28] = 2
    for number in (1, 30, 31):
        write_case(tmp_path / "raw", number, label=label)
    prepare(tmp_path / "raw", tmp_path / "prepared")
    make_run(tmp_path, "DATASET.LABELS={liver: 1, tumor: 2}")

    class Three(BrightNetwork):
        def __call__(self, batch):
            two = super().__call__(batch)
            return np.concatenate([two, np.zeros_like(two[..., :1])], axis=-1)

    stand_in(monkeypatch, Three())
    evaluation, _ = evaluate(tmp_path)
    # All tumour is called liver: the tumour is missed, the liver has it too much.
    assert evaluation.scores["volume-1"]["tumor"]["dice"] == 0
    assert 0.8 < evaluation.scores["volume-1"]["liver"]["dice"] < 0.99


@pytest.mark.parametrize(("split", "cases"), [("test", 3), ("train", 2), ("validation", 1)])
def test_the_part_that_is_asked_for_is_scored(work, split, cases):
    evaluation, _ = evaluate(work, f"EVALUATION.SPLIT={split}")
    assert len(evaluation.scores) == cases
    assert split in evaluation.facts["part"]


def test_a_fold_is_scored_on_its_validation_cases(work):
    evaluation, _ = evaluate(work, "FOLD=1")
    assert "validation cases of fold 1" in evaluation.facts["part"]
    assert not set(evaluation.scores) & {"volume-1", "volume-2", "volume-3"}


class TestExistingPredictions:
    """EVALUATION.PREDICTIONS: files that some program wrote."""

    def write(self, collection, folder, number, *, change=lambda label: label, name=None):
        reference = read_label(collection / "raw" / f"segmentation-{number}.nii.gz")
        label = Volume(change(reference.array), reference.affine)
        write_volume(folder / (name or f"volume-{number}.nii.gz"), label)

    def test_perfect_files_score_one(self, work, collection):
        for number in ORIENTATIONS:
            self.write(collection, work / "theirs", number)
        evaluation, folder = evaluate(work, f"EVALUATION.PREDICTIONS={work}/theirs")
        assert set(dice_of(evaluation).values()) == {1.0}
        assert folder == work / "theirs" / "evaluation"

    def test_no_run_is_needed(self, collection, tmp_path):
        (tmp_path / "prepared").symlink_to(collection / "prepared")
        self.write(collection, tmp_path / "theirs", 1)
        cfg = compose(overrides(tmp_path, f"EVALUATION.PREDICTIONS={tmp_path}/theirs"))
        assert dice_of(script.evaluate(cfg)[0]) == {"volume-1": 1.0}

    def test_every_problem_is_listed_by_name_and_the_rest_is_scored(self, work, collection, capsys):
        folder = work / "theirs"
        self.write(collection, folder, 1)
        self.write(collection, folder, 2, change=lambda label: label * 7)
        self.write(collection, folder, 3, name="vol3.nii.gz")
        assert script.main(compose(overrides(work, f"EVALUATION.PREDICTIONS={folder}"))) == 1
        told = capsys.readouterr()
        assert "volume-2" in told.err
        assert "[7]" in told.err
        assert "no file volume-3" in told.err
        assert "vol3.nii.gz: belongs to no case" in told.err
        assert "1 case\n" in told.out

    @pytest.mark.parametrize(
        "break_it",
        [
            lambda v: Volume(v.array[:, :-1], v.affine),
            lambda v: Volume(v.array, v.affine @ np.diag([1, 1, 2, 1])),
            lambda v: Volume(np.flip(v.array, 0).copy(), reorient(v, "RAS").affine),
        ],
    )
    def test_another_grid_is_refused(self, work, collection, break_it):
        reference = read_label(collection / "raw" / "segmentation-1.nii.gz")
        write_volume(work / "theirs" / "volume-1.nii.gz", break_it(reference))
        evaluation, _ = evaluate(work, f"EVALUATION.PREDICTIONS={work}/theirs")
        assert "grid" in evaluation.failed["volume-1"]


def test_one_stray_voxel_where_nothing_is(collection, tmp_path, monkeypatch):
    empty = np.zeros((6, 40, 36), np.uint8)
    for number in (1, 2, 30, 31):
        write_case(tmp_path / "raw", number, label=empty if number < 3 else None)
    prepare(tmp_path / "raw", tmp_path / "prepared")
    for number in (1, 2):
        label = read_label(tmp_path / "raw" / f"segmentation-{number}.nii.gz")
        label.array[0, 0, 0] = number - 1
        write_volume(tmp_path / "theirs" / f"volume-{number}.nii.gz", label)
    found = {}
    for empty_scores in ("nan", "one", "zero"):
        arguments = (f"EVALUATION.PREDICTIONS={tmp_path}/theirs", f"EVALUATION.EMPTY={empty_scores}")
        found[empty_scores] = dice_of(evaluate(tmp_path, *arguments)[0])
    # Case 1 is rightly empty and follows the policy; one stray voxel in case 2 is a Dice of 0 whatever the policy.
    assert np.isnan(found["nan"]["volume-1"])
    assert (found["one"]["volume-1"], found["zero"]["volume-1"]) == (1.0, 0.0)
    assert [values["volume-2"] for values in found.values()] == [0.0, 0.0, 0.0]


class TestPictures:
    """Folders of images: no preparation, one score per image."""

    @pytest.fixture
    def folders(self, tmp_path, monkeypatch):
        for name in ("1_a", "1_b", "2_a", "3_a"):
            for folder in ("images", "masks"):
                (tmp_path / folder).mkdir(exist_ok=True)
            picture = np.zeros((SIZE, SIZE, 3), np.uint8)
            picture[5:15, 8:20] = 255
            cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), picture)
            cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), (picture[..., 0] > 0).astype(np.uint8))
        stand_in(monkeypatch)
        return tmp_path

    def options(self, work):
        return [
            "dataset=image_folder",
            f"DATASET.TRAIN.IMAGES_PATH={work}/images",
            f"DATASET.TRAIN.MASK_PATH={work}/masks",
            "DATASET.PREPARED_PATH=null",
            r"PREPROCESS_DATA.PATIENT_PATTERN='(\d)_'",
        ]

    def test_a_validation_folder_is_scored_per_image(self, folders):
        more = [f"DATASET.VAL.IMAGES_PATH={folders}/images", f"DATASET.VAL.MASK_PATH={folders}/masks"]
        make_run(folders, *self.options(folders), *more)
        evaluation, folder = evaluate(folders, "dataset=image_folder")
        scores = {case: values["foreground"]["dice"] for case, values in evaluation.scores.items()}
        assert scores == dict.fromkeys(["1_a", "1_b", "2_a", "3_a"], 1.0)
        assert (folder / "predictions" / "1_a.png").is_file()

    def test_without_one_the_patients_that_training_left_out_are_scored(self, folders):
        from commands.data import find_data

        make_run(folders, *self.options(folders))
        cfg = compose(overrides(folders, *self.options(folders)))
        held_out = [path.stem for path in find_data(cfg).validation.images]
        assert sorted(evaluate(folders, "dataset=image_folder")[0].scores) == sorted(held_out)
