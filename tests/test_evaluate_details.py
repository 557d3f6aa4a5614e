"""evaluate.py beside scores: lesions, LiTS, BraTS, calibration; several processes say the same; nothing twice."""

import csv
import json

import numpy as np
import pytest
from inference_cases import BrightNetwork, box_label, make_run, overrides, prepare, stand_in, write_case
from page_helpers import read_page
from scipy import ndimage

import evaluate as script
from configs import compose
from imaging import CaseGeometry, Volume, read_label, write_volume
from inference.calibration import case_calibration
from inference.details import case_details, challenge_rules, lesion_classes
from inference.kept import entropy
from inference.parallel import in_parallel
from inference.probabilities import Probabilities
from metrics.details import ALL_CLASSES, Details, joined_calibration, joined_lesions

BOTH = "DATASET.LABELS={liver: 1, tumor: 2}"
BRATS = {0: "background", 1: "necrosis", 2: "edema", 3: "enhancing"}
AFFINE = np.array([[0, 0, -1.0, 0], [0, -1.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]])


def two_lesions():
    """Liver with two tumours of 2 x 2 and 3 x 3 voxels in one slice."""
    label = box_label(0)
    label[2, 5:7, 21:23] = 2
    label[2, 10:13, 25:28] = 2
    return label


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    root = tmp_path_factory.mktemp("collection")
    for number in (1, 2, 30, 31):
        write_case(root / "raw", number, label=two_lesions())
    prepare(root / "raw", root / "prepared")
    return root


@pytest.fixture
def work(collection, tmp_path):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    for number in (1, 2):
        label = read_label(collection / "raw" / f"segmentation-{number}.nii.gz")
        if number == 2:  # the smaller tumour is missed
            parts, _ = ndimage.label(label.array == 2)
            small = min((1, 2), key=lambda part: np.count_nonzero(parts == part))
            label = label.with_array(np.where(parts == small, 1, label.array))
        write_volume(tmp_path / "theirs" / f"volume-{number}.nii.gz", label)
    return tmp_path


def evaluate(work, *more):
    words = (BOTH, f"EVALUATION.PREDICTIONS={work}/theirs", "EVALUATION.PICTURES=0", *more)
    return script.evaluate(compose(overrides(work, *words)))


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_lesions_reach_every_table(work):
    evaluation, folder = evaluate(work)
    scores = evaluation.scores["volume-2"]["tumor"]
    assert (scores["lesions_reference"], scores["lesions_prediction"]) == (2, 1)
    assert scores["lesion_recall_iou_0.5"] == 0.5
    # Both cases together: 3 of 4 found, none invented: F1 2 * 3 / (4 + 3).
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["lesions"]["tumor"]["lesion_f1_iou_0"] == pytest.approx(6 / 7)
    lesions = rows_of(folder / "lesions.csv")
    assert [row["dice"] for row in lesions] == ["1.0", "1.0", "0.0", "1.0"]
    assert float(lesions[0]["volume_ml"]) == pytest.approx(4 * 9 / 1000)
    assert "liver" not in summary["lesions"]
    assert "lesion_f1_iou_0" in rows_of(folder / "metrics.csv")[0]


def test_the_challenge_table_is_the_challenge_s(work):
    _, folder = evaluate(work)
    lits = json.loads((folder / "summary.json").read_text())["lits"]
    # The liver holds its tumours, so a missed tumour costs it nothing. Tumours: 13 voxels, and 13 + 9 predicted.
    assert lits["liver"]["dice_global"] == 1.0
    assert lits["tumour"]["dice_global"] == pytest.approx(2 * 22 / (26 + 22))
    assert lits["tumour burden"]["max_error"] == pytest.approx(4 / np.count_nonzero(two_lesions()))
    assert len(rows_of(folder / "lits.csv")) == 2 * 3


def test_the_page_tells_them_and_names_their_rules(work):
    _, folder = evaluate(work)
    page = read_page(folder / "report.html")
    assert {"Lesions", "LiTS challenge"} <= set(page.titles)
    assert not [row for table in page.tables[:1] for row in table if "lesion" in row[1]]
    table = next(table for table in page.tables if table[0][1] == "counts as found")
    assert table[1] == ["tumor", "any overlap", "3 of 4", "3", "1.000", "0.750", "0.857", "0.750"]
    words = " ".join(page.words)
    assert "connected components (corners connect)" in words and "matched one to one" in words
    assert "Measured by lesions: medical-unets" in words


def test_switched_off_nothing_is_measured(work):
    _, folder = evaluate(work, "EVALUATION.LESIONS=null", "EVALUATION.CHALLENGE=null", "EVALUATION.CALIBRATION=False")
    summary = json.loads((folder / "summary.json").read_text())
    assert not {"lesions", "lits", "calibration"} & set(summary)
    assert not (folder / "lesions.csv").exists()
    assert "lesion_dice" not in rows_of(folder / "metrics.csv")[0]


def test_one_document_says_it_all(work, capsys):
    (work / "theirs" / "stray.nii.gz").write_bytes(b"")
    words = (BOTH, f"EVALUATION.PREDICTIONS={work}/theirs", "EVALUATION.PICTURES=0", "JSON=True")
    assert script.main(compose(overrides(work, *words))) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["cases"] == 2 and list(said["failed"]) == ["stray.nii.gz"]
    assert said["folder"] == str(work / "theirs" / "evaluation")


def test_several_processes_say_the_same_and_list_what_fails(work):
    (work / "theirs" / "volume-1.nii.gz").write_bytes(b"\x1f\x8b\x08 truncated")
    (work / "theirs" / "stray.nii.gz").write_bytes(b"")
    serial, folder = evaluate(work, "EVALUATION.WORKERS=1")
    (folder / "scores.json").unlink()
    parallel, _ = evaluate(work, "EVALUATION.WORKERS=2")
    assert list(serial.scores) == ["volume-2"]
    assert repr(parallel.scores) == repr(serial.scores)
    assert repr(parallel.details) == repr(serial.details)
    assert parallel.failed == serial.failed
    assert set(parallel.failed) == {"volume-1", "stray.nii.gz"}


def test_what_was_scored_is_not_scored_again(work, monkeypatch):
    first, _ = evaluate(work)
    scored = []
    from inference import scored as module

    real = module._score_file
    monkeypatch.setattr(module, "_score_file", lambda job: scored.append(job.task.name) or real(job))
    again, _ = evaluate(work)
    assert scored == [] and repr(again.scores) == repr(first.scores)
    label = read_label(work / "theirs" / "volume-2.nii.gz")
    write_volume(work / "theirs" / "volume-2.nii.gz", label.with_array(np.zeros_like(label.array)))
    changed, _ = evaluate(work)
    assert scored == ["volume-2"] and changed.scores["volume-2"]["liver"]["dice"] == 0
    evaluate(work, "EVALUATION.TOLERANCE_MM=[3]")
    assert scored == ["volume-2", "volume-1", "volume-2"]


def test_a_killed_scoring_goes_on_where_it_stopped(work, monkeypatch):
    from inference import scored as module

    real = module._score_file

    def killed(job):
        if job.task.name == "volume-2":
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(module, "_score_file", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(work)
    seen = []
    monkeypatch.setattr(module, "_score_file", lambda job: seen.append(job.task.name) or real(job))
    assert len(evaluate(work)[0].scores) == 2
    assert seen == ["volume-2"]


def test_a_run_is_calibrated_and_predicts_nothing_twice(collection, tmp_path, monkeypatch):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    make_run(tmp_path)
    calls = []

    class Unsure(BrightNetwork):
        def __call__(self, batch):
            calls.append(len(batch))
            return 0.1 + 0.8 * super().__call__(batch)

    stand_in(monkeypatch, Unsure())
    cfg = compose(overrides(tmp_path, "RUN_NAME=run", "EVALUATION.PICTURES=0"))
    evaluation, folder = script.evaluate(cfg)
    found = json.loads((folder / "summary.json").read_text())["calibration"]
    # It says 0.9 and is nearly always right, so it is 0.1 too modest.
    assert set(found) == {"liver", ALL_CLASSES}
    assert found["liver"]["ece"] == pytest.approx(0.1, abs=0.03)
    assert evaluation.scores["volume-1"]["liver"]["ece"] == pytest.approx(0.1, abs=0.03)
    page = read_page(folder / "report.html")
    assert "Calibration" in page.titles
    before = len(calls)
    again, _ = script.evaluate(cfg)
    assert len(calls) == before
    assert repr(again.details) == repr(evaluation.details)


class TestCalibration:
    """Probabilities against the reference, by hand."""

    def case(self, probability, reference, regions=None):
        reference = Volume(np.asarray(reference, np.uint8), AFFINE)
        array = np.asarray(probability, np.float32)
        return Probabilities(array, CaseGeometry.of(reference.grid), regions=regions), reference

    def test_one_class_by_hand(self):
        truth = np.zeros((1, 1, 8), np.uint8)
        truth[..., :4] = 1
        inside = np.array([0.9, 0.9, 0.9, 0.3, 0.3, 0.3, 0.3, 0.3])[None, None]
        given, reference = self.case(np.stack([1 - inside, inside], -1), truth)
        label = reference.with_array((inside > 0.5).astype(np.uint8))
        found = case_calibration(given, reference, label, classes={"liver": (1,)})
        # At 0.9 all 3 are right (0.1 off), at 0.3 one of 5 (0.1 off); the decision is right in 7 of 8.
        assert found["liver"].expected_error == pytest.approx(0.1)
        assert found[ALL_CLASSES].right.sum() == 7

    @pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
    def test_orientation_does_not_matter(self, flips, rng):
        truth = rng.integers(0, 2, (4, 5, 6)).astype(np.uint8)
        sure = np.where(truth, 0.8, 0.2)
        affine = AFFINE.copy()
        for axis in flips:
            affine[:, axis] *= -1
        reference = Volume(truth, affine)
        geometry = CaseGeometry.of(reference.grid)
        from imaging import to_canonical

        canonical = to_canonical(reference.with_array(sure)).array
        given = Probabilities(np.stack([1 - canonical, canonical], -1).astype(np.float32), geometry)
        found = case_calibration(given, reference, reference, classes={"liver": (1,)})
        assert found["liver"].expected_error == pytest.approx(0.2)

    def test_only_the_surroundings_count(self):
        truth = np.zeros((1, 60, 60), np.uint8)
        truth[0, 20:22, 30:31] = 1
        given, reference = self.case(np.stack([1 - truth, truth], -1), truth)
        found = case_calibration(given, reference, reference, classes={"liver": (1,)})
        assert found["liver"].voxels.sum() == (2 + 20) * (1 + 20)
        nothing = reference.with_array(np.zeros_like(truth))
        assert case_calibration(given, nothing, nothing, classes={"liver": (1,)}) == {}

    def test_ignored_voxels_do_not_count(self):
        truth = np.array([[[1, 0, 255, 1]]])
        given, reference = self.case(np.full((1, 1, 4, 1), 0.75), truth)
        found = case_calibration(given, reference, reference.with_array(truth == 1), classes={"liver": (1,)})
        assert (found["liver"].voxels.sum(), found["liver"].right.sum()) == (3, 2)
        assert ALL_CLASSES not in found

    def test_regions_have_a_sigmoid_each(self):
        truth = np.array([[[1, 2, 0, 2]]])
        channels = np.stack([[0.6] * 4, [0.4] * 4], -1)[None, None]
        given, reference = self.case(channels, truth, regions=[(1, 2), (2,)])
        found = case_calibration(given, reference, reference, classes={"whole": (1, 2), "core": (2,)})
        assert set(found) == {"whole", "core"}
        assert found["whole"].expected_error == pytest.approx(0.75 - 0.6)
        assert found["core"].expected_error == pytest.approx(0.5 - 0.4)


def test_cases_are_joined_by_their_voxels_and_lesions():
    truth = np.zeros((1, 5, 9), np.uint8)
    truth[0, 1:3, 1:3] = truth[0, 1:3, 6:8] = 1
    rules = script_rules(lesions=("tumor",))
    found = case_details(truth, truth, rules, spacing_mm=(1, 1, 1), classes={"tumor": (1,)})
    again = Details.from_dict(json.loads(json.dumps(found.to_dict())))
    assert repr(again) == repr(found)
    joined = joined_lesions([found, found])["tumor"]
    assert (len(joined.lesions), joined.predicted) == (4, 4)
    assert joined_calibration([found, found]) == {}


def script_rules(**values):
    from inference.details import DetailRules

    return DetailRules(**values)


def test_classes_called_like_lesions_are_counted():
    names = ["liver", "liver tumor", "spleen", "Lung nodules"]
    assert lesion_classes("auto", names) == ("liver tumor", "Lung nodules")
    assert lesion_classes("all", names) == tuple(names)
    assert lesion_classes(["spleen"], names) == ("spleen",)
    assert lesion_classes(None, names) == ()
    with pytest.raises(ValueError, match="EVALUATION.LESIONS names tumour: type auto, all, null, or any of liver"):
        lesion_classes(["tumour"], names)


def test_challenges_are_known_by_their_classes():
    assert challenge_rules("auto", {0: "background", 2: "liver", 1: "cancer"}) == {"lits": (2, 1)}
    assert challenge_rules("auto", {0: "background", 1: "liver"}) == {}
    sets = challenge_rules("auto", BRATS)["sets"]
    assert sets == {"whole tumour": (1, 2, 3), "tumour core": (1, 3), "enhancing tumour": (3,)}
    assert challenge_rules(None, BRATS) == {}
    with pytest.raises(ValueError, match="needs liver and tumour apart, the classes are necrosis"):
        challenge_rules("lits", BRATS)
    with pytest.raises(ValueError, match="needs classes necrosis, oedema, enhancing, there are liver"):
        challenge_rules("brats", {1: "liver"})


def test_the_regions_of_brats_are_scored_beside_the_classes(tmp_path):
    for number in (1, 30, 31):
        label = box_label(0)
        label[2, 5:9, 21:25] = 2
        write_case(tmp_path / "raw", number, label=label)
    prepare(tmp_path / "raw", tmp_path / "prepared")
    label = read_label(tmp_path / "raw" / "segmentation-1.nii.gz")
    write_volume(tmp_path / "theirs" / "volume-1.nii.gz", label.with_array(np.where(label.array == 2, 3, label.array)))
    names = "DATASET.LABELS={necrosis: 1, edema: 2, enhancing: []}"
    words = (names, f"EVALUATION.PREDICTIONS={tmp_path}/theirs", "EVALUATION.PICTURES=0")
    scores = script.evaluate(compose(overrides(tmp_path, *words)))[0].scores["volume-1"]
    assert scores["whole tumour"]["dice"] == 1.0
    assert scores["edema"]["dice"] == scores["enhancing tumour"]["dice"] == 0.0


def test_entropy_is_one_where_nothing_is_known():
    even, sure = np.full((1, 4), 0.25), np.array([[1.0, 0, 0, 0]])
    assert entropy(even, exclusive=True) == pytest.approx([1.0])
    assert entropy(sure, exclusive=True) == pytest.approx([0.0])
    assert entropy(np.array([[0.5, 1.0]]), exclusive=False) == pytest.approx([0.5])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_work_is_done_in_order_and_failures_are_listed(workers):
    found = list(in_parallel(_halve, [4, 3, 2], workers=workers))
    assert found == [(4, 2, None), (3, None, "3 is odd"), (2, 1, None)]


def _halve(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2
