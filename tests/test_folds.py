"""FOLD=all: every case scored once by the fold that did not see it; the folds averaged for new files; nothing twice."""

import json

import numpy as np
import pytest
from inference_cases import BrightNetwork, make_run, overrides, prepare, write_case

import evaluate as evaluation_script
import predict as prediction_script
from configs import compose
from configs.runs import save_config
from data_generators.manifest import load_splits
from imaging import read_label

FOLDS = 4


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Four training volumes of four patients: four folds of one case."""
    root = tmp_path_factory.mktemp("collection")
    for number in range(30, 30 + FOLDS):
        write_case(root / "raw", number)
    prepare(root / "raw", root / "prepared")
    return root


class FoldNetwork(BrightNetwork):
    """Right, except that it says `offset` more foreground; counts its calls."""

    calls = 0

    def __init__(self, offset=0.0):
        super().__init__(wrong=lambda p: np.clip(p + offset, 0, 1))

    def __call__(self, batch):
        FoldNetwork.calls += 1
        return super().__call__(batch)


def make_folds(work, *more, model="unet3plus", folds=range(FOLDS)):
    for fold in folds:
        cfg = compose(overrides(work, f"MODEL.TYPE={model}", f"FOLD={fold}", *more))
        run = work / "outputs" / f"lits_{model}_fold{fold}-20260101-00000{fold}"
        (run / "checkpoints").mkdir(parents=True)
        save_config(cfg, run)
        (run / "checkpoints" / "best.weights.h5").write_bytes(b"stand-in")


@pytest.fixture
def work(collection, tmp_path, monkeypatch):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    networks = [FoldNetwork() for _ in range(FOLDS)]
    monkeypatch.setattr("inference.loading.load_members", lambda *_, **__: (networks[0], networks))
    monkeypatch.setattr("inference.loading.load_network", lambda *_, **__: networks[0])
    FoldNetwork.calls = 0
    return tmp_path


@pytest.fixture
def networks(monkeypatch):
    """The networks of the folds, to be changed by a test."""

    def use(*members):
        monkeypatch.setattr("inference.loading.load_members", lambda *_, **__: (members[0], list(members)))

    return use


def evaluate(work, *more):
    return evaluation_script.evaluate(
        compose(overrides(work, "MODEL.TYPE=unet3plus", "FOLD=all", "EVALUATION.PICTURES=0", *more))
    )


def predict(work, *more):
    return prediction_script.predict(compose(overrides(work, "MODEL.TYPE=unet3plus", "FOLD=all", *more)))


def test_every_case_is_scored_once_by_its_own_fold(work, networks, collection):
    make_folds(work)
    wrong = [FoldNetwork() for _ in range(FOLDS)]
    wrong[2] = FoldNetwork(offset=-1.0)
    networks(*wrong)
    evaluation, folder = evaluate(work)
    (missed,) = load_splits(collection / "prepared").fold(2)["validation"]
    dice = {case: scores["liver"]["dice"] for case, scores in evaluation.scores.items()}
    assert len(dice) == FOLDS
    assert dice[missed] == 0
    assert min(value for case, value in dice.items() if case != missed) > 0.9
    assert [means["liver"] > 0.9 for means in evaluation.facts["fold_dice"]] == [True, True, False, True]
    assert evaluation.facts["score"] == pytest.approx(sum(dice.values()) / FOLDS)
    assert folder.parent.name.startswith("lits_unet3plus_foldall-")
    assert json.loads((folder / "summary.json").read_text())["cases"] == FOLDS


def test_a_second_call_repeats_nothing_and_says_the_same(work):
    make_folds(work)
    first, folder = evaluate(work)
    calls, FoldNetwork.calls = FoldNetwork.calls, 0
    second, same = evaluate(work)
    assert (calls > 0, FoldNetwork.calls) == (True, 0)
    assert same == folder
    assert second.scores == first.scores
    assert second.facts["score"] == first.facts["score"]


def test_a_killed_call_goes_on_where_it_stopped(work, monkeypatch):
    make_folds(work)
    from inference import predicted

    write = predicted.write_volume

    def killed(path, *rest, **options):
        if path.name.startswith("volume-32"):
            raise KeyboardInterrupt
        return write(path, *rest, **options)

    monkeypatch.setattr(predicted, "write_volume", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(work)
    monkeypatch.setattr(predicted, "write_volume", write)
    written = {
        path.name: path.stat().st_mtime_ns for path in work.glob("outputs/*foldall*/evaluation/predictions/*.gz")
    }
    evaluation, folder = evaluate(work)
    assert 0 < len(written) < FOLDS
    assert len(evaluation.scores) == FOLDS
    assert all((folder / "predictions" / name).stat().st_mtime_ns == time for name, time in written.items())


def test_other_weights_are_predicted_again(work):
    make_folds(work)
    evaluate(work)
    FoldNetwork.calls = 0
    for path in work.glob("outputs/*_fold1-*/checkpoints/best.weights.h5"):
        path.write_bytes(b"trained on")
    evaluate(work)
    assert FoldNetwork.calls > 0


def test_missing_folds_are_named_with_the_command(work):
    make_folds(work, folds=(0, 3))
    with pytest.raises(ValueError, match="Folds 1, 2 of .*not trained. Type: python train.py") as told:
        evaluate(work)
    assert "MODEL.TYPE=unet3plus" in str(told.value)
    assert "FOLD=1; python train.py" in str(told.value)
    assert "EVALUATION.PICTURES" not in str(told.value)


def test_folds_that_were_trained_differently_are_refused(work):
    make_folds(work, folds=(0, 1, 2))
    make_folds(work, "MODEL.FILTERS=[8,8,8,8,8]", folds=(3,))
    with pytest.raises(ValueError, match="fold3.* was trained with another MODEL than .*fold0"):
        evaluation_script.evaluate(
            compose([text for text in overrides(work, "MODEL.TYPE=unet3plus", "FOLD=all") if "FILTERS" not in text])
        )


def test_a_single_fold_works_as_before(work):
    make_folds(work)
    evaluation, folder = evaluation_script.evaluate(
        compose(overrides(work, "MODEL.TYPE=unet3plus", "FOLD=1", "EVALUATION.PICTURES=0"))
    )
    assert len(evaluation.scores) == 1
    assert "_fold1-" in str(folder)


def test_new_files_get_the_mean_of_the_folds(work, networks, collection):
    make_folds(work)
    # Three say 0.4 too little of the foreground's 1, one nothing at all: mean (3 * 0.6 + 0) / 4 = 0.45.
    networks(*[FoldNetwork(offset=-0.4)] * 3, FoldNetwork(offset=-1.0))
    image = collection / "raw" / "volume-30.nii.gz"
    low = predict(work, f"INPUT_PATH={image}")
    assert read_label(low.folder / "volume-30.nii.gz").array.sum() == 0
    # With one that says 1 instead: (3 * 0.6 + 1) / 4 = 0.7.
    networks(*[FoldNetwork(offset=-0.4)] * 3, FoldNetwork())
    high = predict(work, f"INPUT_PATH={image}", "TTA=True", "PREDICTION_PATH=high")
    found = read_label(high.folder / "volume-30.nii.gz")
    truth = read_label(collection / "raw" / "segmentation-30.nii.gz")
    assert 2 * (found.array * truth.array).sum() / (found.array.sum() + truth.array.sum()) > 0.9


def test_the_decision_of_the_cross_validation_is_applied(work, networks, collection):
    make_folds(work)

    class Island(FoldNetwork):
        def __call__(self, batch):
            answer = super().__call__(batch)
            answer[:, 30:32, 0:3] = (0, 1)
            return answer

    networks(*[Island() for _ in range(FOLDS)])
    evaluation, folder = evaluate(work)
    assert "only the largest component of all foreground" in evaluation.facts["postprocessing"]
    image = f"INPUT_PATH={collection}/raw/volume-30.nii.gz"
    cleaned = read_label(predict(work, image).folder / "volume-30.nii.gz").array
    raw = read_label(
        predict(work, image, "INFERENCE.POSTPROCESSING=null", "PREDICTION_PATH=raw").folder / "volume-30.nii.gz"
    ).array
    assert 0 < cleaned.sum() < raw.sum()
    asked = predict(
        work, image, f"INFERENCE.POSTPROCESSING={folder.parent}/postprocessing.json", "PREDICTION_PATH=asked"
    )
    np.testing.assert_array_equal(read_label(asked.folder / "volume-30.nii.gz").array, cleaned)


def test_the_best_configuration_is_told_as_a_command(work, networks, capsys):
    make_folds(work)
    make_folds(work, model="unet")
    networks(*[FoldNetwork(offset=-0.9)] * FOLDS)
    assert evaluation_script.main(compose(overrides(work, "MODEL.TYPE=unet3plus", "FOLD=all"))) == 0
    networks(*[FoldNetwork()] * FOLDS)
    assert evaluation_script.main(compose(overrides(work, "MODEL.TYPE=unet", "FOLD=all"))) == 0
    told = capsys.readouterr().out
    best = told[told.rindex("Best configuration:") :]
    assert "python predict.py" in best
    assert "MODEL.TYPE=unet " in best
    assert "FOLD=all TTA=True" in best
    assert "every case once out of fold" in told


def test_several_models_are_averaged_and_compared(work, monkeypatch):
    make_folds(work)
    make_folds(work, model="unet")
    sets = iter([[FoldNetwork(offset=-1.0)] * FOLDS, [FoldNetwork()] * FOLDS] * 2)

    def members(*_, **__):
        chosen = next(sets)
        return chosen[0], chosen

    monkeypatch.setattr("inference.loading.load_members", members)
    evaluation, folder = evaluate(work, "ENSEMBLE=[unet]", "INFERENCE.THRESHOLD=0.4")
    # The mean of nothing and of 1 is 0.5, above the threshold.
    assert evaluation.facts["score"] > 0.85
    assert len(evaluation.facts["runs"]) == 2
    assert "ENSEMBLE=[unet]" in evaluation.facts["command"]
    assert "+unet_foldall-" in str(folder)


def test_a_run_remembers_its_collection(collection, tmp_path, monkeypatch):
    from data_generators.manifest import load_facts, save_facts

    run = make_run(tmp_path)
    save_facts(collection / "prepared", run)
    remembered = load_facts(run)
    assert remembered.cases == ()
    assert remembered.labels[1] == "liver"
    assert load_facts(tmp_path) is None


def test_the_best_of_all_networks_and_pairs_is_found(work, monkeypatch, capsys):
    make_folds(work)
    make_folds(work, model="unet")
    make_folds(work, model="unetplusplus", folds=range(3))
    good = {"unet3plus": -0.6, "unet": 0.0}

    def members(model, **_):
        chosen = [FoldNetwork(offset=good[model[0]])] * FOLDS
        return chosen[0], chosen

    monkeypatch.setattr("inference.loading.load_members", members)
    said = compose(overrides(work, "FOLD=all", "EVALUATION.PICTURES=0", "EVALUATION.FIND_BEST=True"))
    assert evaluation_script.main(said) == 0
    told = capsys.readouterr().out
    ranked = [line.split()[-1] for line in told.splitlines() if " cases " in line][-3:]
    assert sorted(name.split("_foldall-")[0] for name in ranked) == [
        "lits_unet",
        "lits_unet3plus",
        "lits_unet3plus+unet",
    ]
    best = told[told.rindex("Best configuration:") :]
    assert "MODEL.TYPE=unet FOLD=all" in best and "FIND_BEST" not in best
    assert len(list(work.glob("outputs/*_foldall-*/evaluation/summary.json"))) == 3


def test_nothing_to_compare_says_what_to_train(work):
    with pytest.raises(ValueError, match="No model has all 4 folds of lits"):
        evaluation_script.main(compose(overrides(work, "FOLD=all", "EVALUATION.FIND_BEST=True")))
