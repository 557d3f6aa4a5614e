"""evaluate.py and predict.py with one of many domains: its own labels, grid and folder, mistakes in words."""

import csv
import json

import numpy as np
import pytest
from domain_layout import make_collection, make_run, typed
from omegaconf import OmegaConf

import evaluate as evaluation_script
import predict as prediction_script
from commands.applying import make_application, open_model
from commands.domain_runs import find_models
from configs import compose
from imaging import read_label, read_volume


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("domains"))


@pytest.fixture
def work(collection, tmp_path):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    make_run(tmp_path)
    return tmp_path


def evaluate(work, *more):
    return evaluation_script.evaluate(compose(typed(work, "EVALUATION.PICTURES=0", *more)))


@pytest.mark.parametrize(("domain", "names", "value"), [("liver", {"liver"}, 1), ("both", {"liver", "tumor"}, 2)])
def test_each_domain_answers_with_its_own_classes(work, domain, names, value):
    evaluation, folder = evaluate(work, f"DOMAIN={domain}")
    assert folder == work / "outputs/run/evaluation" / domain
    assert sorted(evaluation.scores) == ["volume-1", "volume-2"]
    assert set(evaluation.scores["volume-1"]) == names
    predicted = read_label(folder / "predictions" / "volume-1.nii.gz").array
    assert set(predicted.ravel()) == {value}
    if domain == "liver":
        # All 6 x 40 x 36 = 8640 voxels are called liver, 3 x 13 x 12 = 468 are.
        assert evaluation.scores["volume-1"]["liver"]["dice"] == pytest.approx(2 * 468 / (468 + 8640))


def test_without_a_domain_all_are_scored_and_compared(work, capsys):
    assert evaluation_script.main(compose(typed(work, "EVALUATION.PICTURES=0"))) == 0
    told = capsys.readouterr().out
    rows = [line.split()[:3] for line in told[told.rindex("domain ") :].splitlines()]
    assert [row for row in rows if row[2:] == ["2"]] == [
        ["liver", "liver", "2"],
        ["both", "liver", "2"],
        ["both", "tumor", "2"],
    ]
    for domain in ("liver", "both"):
        with (work / "outputs/run/evaluation" / domain / "metrics.csv").open(newline="") as file:
            assert {row["case"] for row in csv.DictReader(file)} == {"volume-1", "volume-2"}


def test_files_of_a_domain_are_scored_without_a_run(work, collection):
    (work / "data/prepared").mkdir(parents=True)
    (work / "data/prepared/liver").symlink_to(collection / "prepared")
    (work / "files").mkdir()
    for number in (1, 2):
        source = collection / f"raw/segmentation-{number}.nii.gz"
        (work / f"files/volume-{number}.nii.gz").write_bytes(source.read_bytes())
    evaluation, _ = evaluate(work, "DOMAIN=liver", f"EVALUATION.PREDICTIONS={work}/files", "RUN_NAME=none")
    assert [scores["liver"]["dice"] for scores in evaluation.scores.values()] == [1.0, 1.0]


def test_folds_of_a_domain_are_cross_validated_on_their_own(work, collection):
    for fold in range(3):
        make_run(work, f"FOLD={fold}", name=f"fold{fold}")
    evaluation, folder = evaluate(work, "DOMAIN=liver", "FOLD=all")
    assert folder.parent.name.startswith("liver_universal_unet_foldall-")
    assert sorted(evaluation.scores) == ["volume-30", "volume-31", "volume-32"]
    assert json.loads((folder.parent / "crossvalidation.json").read_text())["domain"] == "liver"
    assert "DOMAIN=liver" in evaluation.facts["command"]


def test_a_file_is_predicted_without_the_prepared_collection(work, collection):
    (work / "prepared").unlink()
    path = work / "outputs/run/config.yaml"
    stored = OmegaConf.load(path)
    del stored.DOMAIN_SETTINGS.both.LABELS  # the run remembers those of the collection
    OmegaConf.save(stored, path)
    image = collection / "raw" / "volume-31.nii.gz"
    cfg = compose(typed(work, "DOMAIN=both", f"INPUT_PATH={image}"))
    found = prediction_script.predict(cfg)
    assert found.result.failed == {}
    assert found.folder == work / "outputs/run/predictions/both"
    label = read_label(found.folder / "volume-31.nii.gz")
    assert set(label.array.ravel()) == {2}
    assert label.shape == read_volume(image).shape


def test_the_published_cleaning_is_that_of_the_domain(work):
    cfg = compose(typed(work, "DOMAIN=liver", "INFERENCE.POSTPROCESSING=universal_unet", "INPUT.PATCH=[4,16,16]"))
    cleaning = make_application(cfg, ["background", "liver"], modalities=1).postprocessing
    assert (cleaning.closing, cleaning.largest_component, cleaning.second_component) == ((1,), (1,), ())


def test_resized_patches_mean_resized_volumes(collection, tmp_path):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    make_run(tmp_path, "INPUT.UNIFY=resize", "INPUT.PATCH=[8,32,32]")
    (model,) = find_models(compose(typed(tmp_path, "DOMAIN=liver")), folds=1)
    (segmenter,) = open_model(model, ["background", "liver"], regions={}, modalities=1)
    assert (segmenter.spatial_shape, segmenter.patch) == ((8, 32, 32), (4, 16, 16))
    assert np.all(segmenter.probabilities(np.zeros((6, 20, 20, 1), np.float32))[..., 1] > 0.99)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "DOMAIN is not set: run knows liver, both. Type DOMAIN= one of them"),
        (["DOMAIN=kidney"], "DOMAIN=kidney was not trained: run knows liver, both"),
        (["DOMAIN=both", "DATASET.LABELS={liver: 1}"], "DOMAIN=both was trained with 3 classes, its collection"),
    ],
)
def test_mistakes_name_what_there_is(work, collection, more, words):
    with pytest.raises(ValueError, match=words):
        prediction_script.predict(compose(typed(work, f"INPUT_PATH={collection}/raw/volume-1.nii.gz", *more)))


def test_a_collection_of_other_channels_is_refused(work):
    path = work / "outputs/run/config.yaml"
    stored = OmegaConf.load(path)
    stored.MODEL.DOMAINS[0].channels = 2
    OmegaConf.save(stored, path)
    with pytest.raises(ValueError, match="DOMAIN=liver was trained with 2 channels, its collection .* has 1"):
        evaluate(work, "DOMAIN=liver")


def test_a_run_without_domains_says_so(work):
    path = work / "outputs/run/config.yaml"
    stored = OmegaConf.load(path)
    del stored.MODEL.DOMAINS
    stored.MODEL.TYPE = "unet"
    OmegaConf.save(stored, path)
    with pytest.raises(ValueError, match="run is a unet without domains. Leave DOMAIN out"):
        evaluate(work, "RUN_NAME=run", "DOMAIN=liver")


def test_misspelt_options_are_answered_without_domains_being_typed():
    prediction_script.check(compose(["experiment=universal_unet"]))
    with pytest.raises(ValueError, match="MODEL.MODE"):
        evaluation_script.check(compose(["experiment=universal_unet", "MODEL.MODES=series"]))
