"""A planned collection from its files to scores and predictions: two modalities, an ignored label, 3D windows."""

import json

import numpy as np
import pytest
from inference_cases import make_run, overrides

import evaluate as evaluation_script
import predict as prediction_script
from configs import compose
from data_preparation.collections import SourceOptions, open_collection
from data_preparation.planned import prepare_by_plan
from data_preparation.planning.document import Wishes
from imaging import Volume, read_label, write_volume

AFFINE = np.array([[0, 0, -1.0, 20], [0, -1.0, 0, 30], [2.0, 0, 0, -50], [0, 0, 0, 1]])
IGNORED = 2


def write_case(root, number, rng):
    """A bright box in the second modality; the first is noise. One corner of the label is not annotated."""
    label = np.zeros((12, 28, 26), np.uint8)
    label[3:9, 6:18, 5 : 15 + number] = 1
    images = [rng.integers(90, 110, label.shape), np.where(label == 1, 200, 50)]
    for channel, image in enumerate(images):
        path = root / "imagesTr" / f"case{number}_000{channel}.nii.gz"
        write_volume(path, Volume(image.astype(np.int16), AFFINE))
    label[-2:, -8:, -8:] = IGNORED
    write_volume(root / "labelsTr" / f"case{number}.nii.gz", Volume(label, AFFINE))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("planned"), np.random.default_rng(3)
    for number in range(5):
        write_case(root / "raw", number, rng)
    said = {
        "channel_names": {"0": "MR", "1": "MR2"},
        "labels": {"background": 0, "organ": 1, "ignore": IGNORED},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (root / "raw" / "dataset.json").write_text(json.dumps(said))
    opened = open_collection("nnunet_raw", SourceOptions(source=root / "raw"))
    wishes = Wishes(changes={"spacing_mm": [2.0, 1.25, 1.25]})
    assert not prepare_by_plan(opened, root / "prepared", wishes=wishes, workers=1, progress=False).failures
    return root


class Bright3D:
    """Foreground is where the second modality is above its mean by half a deviation."""

    spatial_shape = (8, 16, 16)
    steps = ()
    regions = None

    def __call__(self, batch):
        assert batch.shape[1:] == (8, 16, 16, 2)
        foreground = np.clip((batch[..., 1] - 0.5) * 4 + 0.5, 0, 1)
        return np.stack([1 - foreground, foreground], axis=-1).astype(np.float32)


@pytest.fixture
def work(collection, tmp_path, monkeypatch):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    make_run(tmp_path, "INPUT.PATCH=[8,16,16]", "FOLD=0", "DATASET.LABELS=null")
    monkeypatch.setattr("inference.loading.load_network", lambda *_, **__: Bright3D())
    return tmp_path


def test_the_fold_is_scored_on_the_published_files(work):
    evaluation, _ = evaluation_script.evaluate(
        compose(overrides(work, "RUN_NAME=run", "FOLD=0", "EVALUATION.PICTURES=0"))
    )
    assert not evaluation.failed
    assert min(scores["organ"]["dice"] for scores in evaluation.scores.values()) > 0.9


def test_new_files_are_joined_predicted_and_put_back(work, collection):
    cfg = compose(overrides(work, "RUN_NAME=run", "FOLD=0", f"INPUT_PATH={collection}/raw/imagesTr"))
    predictions = prediction_script.predict(cfg)
    assert predictions.result.finished == [f"case{number}" for number in range(5)]
    found = read_label(predictions.folder / "case3.nii.gz")
    truth = read_label(collection / "raw" / "labelsTr" / "case3.nii.gz")
    np.testing.assert_allclose(found.affine, truth.affine, atol=1e-4)
    organ = truth.array == 1
    assert 2 * (organ & (found.array == 1)).sum() / (organ.sum() + (found.array == 1).sum()) > 0.9
    again = prediction_script.predict(cfg)
    assert len(again.result.skipped) == 5


def test_a_missing_modality_fails_by_name(work, collection, capsys):
    folder = work / "new"
    folder.mkdir()
    for name in ("case0_0000", "case0_0001", "case1_0000"):
        (folder / f"{name}.nii.gz").symlink_to(collection / "raw" / "imagesTr" / f"{name}.nii.gz")
    cfg = compose(overrides(work, "RUN_NAME=run", "FOLD=0", f"INPUT_PATH={folder}"))
    assert prediction_script.main(cfg) == 1
    assert "case1: channel 1 (MR2) missing: there is no case1_0001.nii.gz" in capsys.readouterr().err


def test_a_killed_prediction_repeats_no_case_and_loses_none(work, collection, monkeypatch):
    cfg = compose(overrides(work, "RUN_NAME=run", "FOLD=0", f"INPUT_PATH={collection}/raw/imagesTr"))
    write = prediction_script._write

    def killed(job, item, *answer):
        if item.name == "case2":
            raise KeyboardInterrupt
        return write(job, item, *answer)

    monkeypatch.setattr(prediction_script, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        prediction_script.predict(cfg)
    monkeypatch.setattr(prediction_script, "_write", write)
    (folder,) = work.glob("outputs/run/predictions")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}
    again = prediction_script.predict(cfg)
    assert set(before) == {"case0.nii.gz", "case1.nii.gz"}
    assert (again.result.skipped, again.result.finished) == (["case0", "case1"], ["case2", "case3", "case4"])
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
