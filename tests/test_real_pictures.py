"""Real fundus photographs and nuclei, from the published files to the score: a small budget shows learning."""

import pytest

import prepare
import train
from configs import compose
from evaluate import evaluate

pytestmark = pytest.mark.slow

VESSELS = [
    "experiment=unetplusplus_chase_db1",
    "MODEL.FILTERS=[8,16,32]",
    "INPUT.PATCH=[64,64]",
    "HYPER_PARAMETERS.EPOCHS=2",
    "HYPER_PARAMETERS.STEPS_PER_EPOCH=100",
    "HYPER_PARAMETERS.BATCH_SIZE=8",
    "VALIDATION.EVERY=2",
    "INFERENCE.STRIDE=42",
]
NUCLEI = [
    "experiment=unetplusplus_dsb2018",
    "MODEL.FILTERS=[8,16,32]",
    "INPUT.PATCH=[96,96]",
    "HYPER_PARAMETERS.EPOCHS=2",
    "HYPER_PARAMETERS.STEPS_PER_EPOCH=60",
    "HYPER_PARAMETERS.BATCH_SIZE=8",
    "HYPER_PARAMETERS.LEARNING_RATE=5.0e-3",
    "SCHEDULE.WARMUP_EPOCHS=0.2",
    "VALIDATION.EVERY=2",
]


def trained(tmp_path, source, typed, *more):
    cfg = compose([*typed, f"WORK_DIR={tmp_path}", f"DATA_PREPARATION.SOURCE={source}", "RUN_NAME=run", "VERBOSE=0"])
    assert prepare.main(cfg) == 0
    assert train.train(cfg) == 0
    again = compose([typed[0], f"WORK_DIR={tmp_path}", "RUN_NAME=run", "VERBOSE=0", "EVALUATION.PICTURES=0", *more])
    return evaluate(again)[0]


def test_vessels_are_learned_in_a_minute(tmp_path, shared):
    evaluation = trained(tmp_path, shared / "data" / "CHASEDB1", VESSELS)
    assert set(evaluation.scores) == {"11L", "11R", "12L", "12R"}
    # Everything called vessel has a Dice of 0.13.
    pooled = evaluation.facts["pooled"]
    assert pooled["dice"] > 0.4
    assert pooled["auc"] > 0.85
    assert 0.7 < evaluation.facts["second_observer"]["dice"] < 0.85


def test_nuclei_are_learned_in_a_minute(tmp_path, shared):
    evaluation = trained(tmp_path, shared / "data" / "dsb2018", NUCLEI, "EVALUATION.SPLIT=validation")
    assert len(evaluation.scores) == 17
    assert evaluation.facts["pooled"]["dice"] > 0.5
