"""UNETR++'s benchmarks by the commands, from published folders to scores; ACDC and BraTS 2015 as they are."""

import csv

import numpy as np
import pytest
from benchmark_folders import abdomen, brain_task, brats, heart, lungs

import configs
import evaluate
import prepare
import train
from data_generators.manifest import load_manifest, load_splits

PATCHES = {"synapse": "[16,32,32]", "acdc": "[8,32,32]", "lung": "[8,32,32]", "brats": "[32,32,32]"}
FOLDERS = {"synapse": abdomen, "acdc": heart, "lung": lungs, "brats": brain_task}
TESTED = {
    "synapse": ["img0001"],
    "acdc": [f"patient{patient}_frame{frame}" for patient in ("002", "003") for frame in ("01", "12")],
    "lung": ["lung_058"],
    "brats": ["BRATS_011"],
}
QUICK = (
    "MODEL.FILTERS=[8,16,16,16]",
    "MODEL.DEPTHS=[1,1,1,1]",
    "MODEL.TOKENS=[8,8,8,8]",
    "MODEL.BASE_FILTERS=4",
    "HYPER_PARAMETERS.EPOCHS=1",
    "HYPER_PARAMETERS.STEPS_PER_EPOCH=2",
    "HYPER_PARAMETERS.BATCH_SIZE=2",
    "DATA_GENERATOR_TYPE=SEQUENCE",
    "DATALOADER_WORKERS=0",
    "DATA_PREPARATION.WORKERS=1",
    "CALLBACKS.TENSORBOARD.VALUE=False",
    "OPTIMIZATION.XLA=False",
    "EVALUATION.PICTURES=0",
    "TTA=False",
    "VERBOSE=0",
)


def trained(work, name, source, *more):
    """Prepares by `dataset=`, trains by `experiment=`, as the README says it; answers the evaluation."""
    there = [f"WORK_DIR={work}", "VERBOSE=0", "DATA_PREPARATION.WORKERS=1"]
    assert prepare.main(configs.compose([f"dataset={name}", f"DATA_PREPARATION.SOURCE={source}", *there])) == 0
    said = [f"experiment=unetr_plusplus_{name}", f"WORK_DIR={work}", f"INPUT.PATCH={PATCHES[name]}", *QUICK, *more]
    assert train.main(configs.compose(said)) == 0
    return evaluate.evaluate(configs.compose(said))[0]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tested"), TESTED.items())
def test_published_folders_lead_to_scores_of_the_test_cases(tmp_path, rng, name, tested):
    evaluation = trained(tmp_path, name, FOLDERS[name](tmp_path / "raw", rng))
    assert evaluation.failed == {}
    assert list(evaluation.scores) == tested
    assert len(evaluation.scores[tested[0]]) == {"synapse": 13, "acdc": 3, "lung": 1, "brats": 6}[name]


def test_a_published_split_holds_for_what_is_prepared_already(tmp_path, rng):
    from commands.splits import find_splits

    said = [f"WORK_DIR={tmp_path}", "dataset=synapse", f"DATA_PREPARATION.SOURCE={abdomen(tmp_path / 'raw', rng)}"]
    assert prepare.main(configs.compose([*said, "VERBOSE=0"])) == 0
    root = tmp_path / "data/prepared/synapse"
    assert load_manifest(root).intensity["spacing_mm"] == [3.0, 0.76, 0.76]
    parts = find_splits(configs.compose([*said, "DATASET.SPLIT=unetr_plusplus"]), root).fold(0)
    assert parts["validation"] == ("img0001",)
    assert load_splits(root).official["test"] == ("img0001",)
    with pytest.raises(ValueError, match="type official, folds, unetr_plusplus"):
        find_splits(configs.compose([*said, "DATASET.SPLIT=unetr_plus"]), root)


def test_a_line_of_the_plan_that_is_null_is_planned(tmp_path, rng):
    said = [f"WORK_DIR={tmp_path}", "dataset=synapse", f"DATA_PREPARATION.SOURCE={abdomen(tmp_path / 'raw', rng)}"]
    assert prepare.main(configs.compose([*said, "PLAN.SPACING_MM=null", "VERBOSE=0"])) == 0
    assert load_manifest(tmp_path / "data/prepared/synapse").intensity["spacing_mm"] == pytest.approx([2.0, 1.0, 1.0])


def test_the_check_reads_a_benchmark_and_names_what_is_wrong(tmp_path, rng, capsys):
    folder = brats(tmp_path / "raw", rng, "2021")
    next(folder.rglob("*0002_t1ce*")).unlink()
    said = [
        "dataset=brats",
        f"DATA_PREPARATION.SOURCE={folder}",
        "CHECK=True",
        "VERBOSE=0",
        "DATA_PREPARATION.WORKERS=1",
    ]
    assert prepare.main(configs.compose([f"WORK_DIR={tmp_path}", *said])) == 1
    assert "case BraTS2021_0002 lacks T1gd (t1c, t1ce, t1gd)" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def test_regions_are_sigmoids_unless_the_experiment_says_labels(tmp_path, rng):
    from commands.cohorts import find_cohort, make_policy
    from commands.data import find_data, scored_names

    said = [f"WORK_DIR={tmp_path}", "VERBOSE=0", "DATA_PREPARATION.WORKERS=1"]
    raw = brats(tmp_path / "raw", rng, "2021")
    assert prepare.main(configs.compose([*said, "dataset=brats", f"DATA_PREPARATION.SOURCE={raw}"])) == 0
    regions = configs.compose([*said, "dataset=brats", "INPUT.PATCH=[8,8,8]"])
    assert scored_names(regions, find_data(regions)) == (("WT", "TC", "ET"), [[1, 2, 3], [1, 3], [3]])
    labels = configs.compose([*said, "experiment=unetr_plusplus_brats", "INPUT.PATCH=[8,8,8]"])
    assert scored_names(labels, find_data(labels)) == (("non-enhancing tumor", "edema", "enhancing tumor"), None)
    cohort = find_cohort(labels)
    assert (cohort.regions, cohort.declared) == ({}, {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)})
    assert list(make_policy(labels, cohort).scored)[3:] == ["WT", "TC", "ET"]


def test_two_modalities_of_the_brats_2015_patient(shared, tmp_path):
    case = shared / "data/BraTS2015"
    said = [f"WORK_DIR={tmp_path}", "dataset=brats", f"DATA_PREPARATION.SOURCE={case}", "VERBOSE=0"]
    with pytest.raises(ValueError, match=r"no case has T1w .*CHANNELS=\[FLAIR,T1gd\]"):
        prepare.main(configs.compose(said))
    assert prepare.main(configs.compose([*said, "DATA_PREPARATION.CHANNELS=[FLAIR,T1gd]"])) == 0
    manifest = load_manifest(tmp_path / "data/prepared/brats")
    (prepared,) = manifest.cases
    assert (prepared.id, prepared.channels, list(manifest.channels)) == ("brats_2013_pat0006_1", 2, ["FLAIR", "T1gd"])
    assert set(prepared.voxels) == {0, 1, 2, 3, 4}
    assert manifest.preparation["regions"] == {"WT": [1, 2, 3, 4], "TC": [1, 3, 4], "ET": [4]}


def losses(work):
    (history,) = work.rglob("history.csv")
    with history.open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_real_hearts_by_the_whole_acdc_recipe_learn(shared, tmp_path):
    # The published network and patch, but four steps of one patch each, and nobody to validate on, for time's sake.
    work = [f"WORK_DIR={tmp_path}", "VERBOSE=0", "DATASET.VALIDATION_SHARE=0"]
    source = [f"DATA_PREPARATION.SOURCE={shared / 'data/ACDC'}", "dataset=acdc"]
    assert prepare.main(configs.compose([*work, *source])) == 0
    few = ["HYPER_PARAMETERS.EPOCHS=2", "HYPER_PARAMETERS.STEPS_PER_EPOCH=2", "HYPER_PARAMETERS.BATCH_SIZE=1"]
    said = ["experiment=unetr_plusplus_acdc", "CALLBACKS.TENSORBOARD.VALUE=False"]
    assert train.main(configs.compose([*work, *said, *few])) == 0
    first, second = losses(tmp_path)
    assert np.isfinite([first, second]).all()
    assert second < first - 0.1
    assert len({name.split("_")[0] for name in load_splits(tmp_path / "data/prepared/acdc").official["test"]}) == 4
