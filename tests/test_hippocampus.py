"""The journey on real volumes: prepare the hippocampus cases, train for minutes, score on the original grid."""

import pytest

import configs
import evaluate
import prepare
import train

BUDGET = [
    "augmentation=none",
    "FOLD=0",
    "RUN_NAME=hippocampus",
    "MODEL.FILTERS=[8,16,32,64]",
    "HYPER_PARAMETERS.BATCH_SIZE=2",
    "HYPER_PARAMETERS.EPOCHS=2",
    "HYPER_PARAMETERS.STEPS_PER_EPOCH=60",
    "HYPER_PARAMETERS.LEARNING_RATE=3e-3",
    "OPTIMIZER.TYPE=adam",
    "OPTIMIZER.WEIGHT_DECAY=0",
    "EVALUATION.PICTURES=0",
    "INFERENCE.BATCH_SIZE=2",
    "VERBOSE=0",
]


@pytest.fixture(scope="module")
def prepared(shared, tmp_path_factory):
    root = tmp_path_factory.mktemp("hippocampus")
    said = [f"WORK_DIR={root}", f"DATA_PREPARATION.SOURCE={shared / 'data/Task04_Hippocampus'}", *BUDGET]
    assert prepare.main(configs.compose(["experiment=unet_hippocampus", *said])) == 0
    return root / "data" / "prepared" / "hippocampus"


@pytest.mark.slow
@pytest.mark.parametrize("network", ["unet", "unetplusplus"])
def test_a_small_budget_on_a_cpu_reaches_a_dice_of_three_quarters(prepared, tmp_path, network):
    said = [f"WORK_DIR={tmp_path}", f"DATASET.PREPARED_PATH={prepared}", f"experiment={network}_hippocampus"]
    said = [*said, *BUDGET]
    assert train.main(configs.compose(said)) == 0
    evaluation, _ = evaluate.evaluate(configs.compose(said))
    assert not evaluation.failed
    assert len(evaluation.scores) == 42  # a fifth of 208
    dice = [scores["dice"] for case in evaluation.scores.values() for scores in case.values()]
    assert sum(dice) / len(dice) > 0.75
