"""predict.py beside labels: probabilities and entropy on the grid of the input, volumes, one JSON document."""

import json

import cv2
import numpy as np
import pytest
from inference_cases import BrightNetwork, make_run, overrides, stand_in, write_case

import predict as script
from configs import compose
from imaging import read_label, read_volume, same_grid, write_volume

MAPS = ("INFERENCE.SAVE_PROBABILITIES=True", "INFERENCE.SAVE_ENTROPY=True")


class Unsure(BrightNetwork):
    """0.9 on the box, 0.1 elsewhere."""

    def __call__(self, batch):
        return 0.1 + 0.8 * super().__call__(batch)


class Regions(BrightNetwork):
    """Two sigmoids: the whole is 0.9 on the box, the core 0.7 there."""

    def __call__(self, batch):
        inside = np.clip((batch[..., batch.shape[-1] // 2] - 0.5) * 4 + 0.5, 0, 1)
        return np.stack([0.9 * inside, 0.7 * inside], axis=-1).astype(np.float32)


@pytest.fixture
def work(tmp_path, monkeypatch):
    make_run(tmp_path)
    stand_in(monkeypatch, Unsure())
    return tmp_path


def predict(work, *more):
    return script.predict(compose(overrides(work, "RUN_NAME=run", *more)))


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
def test_maps_lie_on_the_grid_of_the_input(work, codes):
    write_case(work / "ct", 0, codes=codes)
    folder = predict(work, f"INPUT_PATH={work}/ct/volume-0.nii.gz", *MAPS).folder
    label = read_label(folder / "volume-0.nii.gz")
    for path in ("probabilities/volume-0_liver.nii.gz", "entropy/volume-0.nii.gz"):
        assert same_grid(read_volume(folder / path), label)
    probability = read_volume(folder / "probabilities" / "volume-0_liver.nii.gz").array
    np.testing.assert_array_equal(probability > 0.5, label.array == 1)
    assert probability.max() == pytest.approx(0.9, abs=1e-3)
    entropy = read_volume(folder / "entropy" / "volume-0.nii.gz").array
    # Of 0.9 and 0.1: -(0.9 log 0.9 + 0.1 log 0.1) / log 2; between them the network knows less.
    assert entropy.min() == pytest.approx(0.469, abs=1e-3)
    assert entropy[(probability > 0.4) & (probability < 0.6)].min(initial=1) > 0.9


def test_overlapping_regions_have_a_map_and_a_volume_each(tmp_path, monkeypatch):
    more = ("DATASET.LABELS={edema: 1, core: 2}", "DATASET.REGIONS={whole: [1, 2], core: [2]}")
    make_run(tmp_path, *more)
    stand_in(monkeypatch, Regions())
    write_case(tmp_path / "ct", 0)
    done = predict(tmp_path, f"INPUT_PATH={tmp_path}/ct/volume-0.nii.gz", *MAPS)
    names = sorted(path.name for path in (done.folder / "probabilities").iterdir())
    assert names == ["volume-0_core.nii.gz", "volume-0_whole.nii.gz"]
    core = read_volume(done.folder / "probabilities" / "volume-0_core.nii.gz").array
    assert core.max() == pytest.approx(0.7, abs=1e-3)
    volumes = done.cases["volume-0"]["volumes"]
    # At the border 0.9 of a voxel is above one half where 0.7 is not.
    assert volumes["whole"]["voxels"] == volumes["edema"]["voxels"] + volumes["core"]["voxels"]
    assert volumes["core"]["voxels"] > volumes["edema"]["voxels"] > 0


def test_pictures_give_sixteen_bits(work):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[8:24, 12:40] = 250
    cv2.imwrite(str(work / "a.png"), picture)
    folder = predict(work, f"INPUT_PATH={work}/a.png", *MAPS).folder
    found = cv2.imread(str(folder / "probabilities" / "a_liver.png"), cv2.IMREAD_UNCHANGED)
    assert (found.dtype, found.shape) == (np.uint16, (48, 64))
    assert found[16, 26] / 65535 == pytest.approx(0.9, abs=1e-3)
    assert (folder / "entropy" / "a.png").is_file()


def test_maps_asked_for_later_are_made_later(work):
    write_case(work / "ct", 0)
    assert predict(work, f"INPUT_PATH={work}/ct").result.finished == ["volume-0"]
    assert predict(work, f"INPUT_PATH={work}/ct", *MAPS).result.finished == ["volume-0"]
    assert predict(work, f"INPUT_PATH={work}/ct", *MAPS).result.skipped == ["volume-0"]


def test_one_document_says_everything(work, capsys):
    write_case(work / "ct", 1)
    (work / "ct" / "volume-0.nii.gz").write_bytes(b"\x1f\x8b\x08 truncated")
    cfg = compose(overrides(work, "RUN_NAME=run", f"INPUT_PATH={work}/ct", "JSON=True"))
    assert script.main(cfg) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["predicted"], list(said["failed"]), said["exit_code"]) == (["volume-1"], ["volume-0"], 1)
    case = said["cases"]["volume-1"]
    assert case["volumes"]["liver"]["voxels"] == int(read_label(case["files"][0]).array.sum())
    assert case["volumes"]["liver"]["ml"] == pytest.approx(case["volumes"]["liver"]["voxels"] * 9 / 1000)
    assert script.main(cfg) == 1
    again = json.loads(capsys.readouterr().out)
    assert (again["predicted"], again["finished_before"]) == ([], ["volume-1"])
    assert again["cases"] == said["cases"]


def test_kept_probabilities_are_calibrated_by_evaluate(tmp_path, monkeypatch):
    from inference_cases import prepare

    import evaluate

    for number in (1, 30, 31):
        write_case(tmp_path / "raw", number)
    prepare(tmp_path / "raw", tmp_path / "prepared")
    make_run(tmp_path)
    stand_in(monkeypatch, Unsure())
    predict(tmp_path, f"INPUT_PATH={tmp_path}/raw/volume-1.nii.gz", f"PREDICTION_PATH={tmp_path}/out", MAPS[0])
    words = (f"EVALUATION.PREDICTIONS={tmp_path}/out", "EVALUATION.PICTURES=0")
    kept, _ = evaluate.evaluate(compose(overrides(tmp_path, *words)))
    own, _ = evaluate.evaluate(compose(overrides(tmp_path, "RUN_NAME=run", "EVALUATION.PICTURES=0")))
    assert not kept.failed
    mine, theirs = (found.scores["volume-1"]["liver"]["ece"] for found in (own, kept))
    assert mine == pytest.approx(theirs, abs=1e-4) and mine > 0.05
    # Files of another size are named, the case is not passed over.
    path = tmp_path / "out" / "probabilities" / "volume-1_liver.nii.gz"
    volume = read_volume(path)
    write_volume(path, volume.with_array(volume.array[:, :-1]))
    again, _ = evaluate.evaluate(compose(overrides(tmp_path, *words)))
    assert "volume-1_liver.nii.gz: has shape" in again.failed["volume-1"]
