"""The journey on real volumes: prepare the hippocampus cases, train for two minutes, score on the original grid."""

import pytest

import configs
import evaluate
import prepare
import train

BUDGET = [
    "experiment=unet_hippocampus",
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
    "VERBOSE=0",
]


@pytest.mark.slow
def test_a_small_budget_on_a_cpu_reaches_a_dice_of_three_quarters(shared, tmp_path):
    said = [f"WORK_DIR={tmp_path}", f"DATA_PREPARATION.SOURCE={shared / 'data/Task04_Hippocampus'}", *BUDGET]
    assert prepare.main(configs.compose(said)) == 0
    assert train.main(configs.compose(said)) == 0
    evaluation, _ = evaluate.evaluate(configs.compose(said))
    assert not evaluation.failed
    assert len(evaluation.scores) == 42  # a fifth of 208
    dice = [scores["dice"] for case in evaluation.scores.values() for scores in case.values()]
    assert sum(dice) / len(dice) > 0.75
