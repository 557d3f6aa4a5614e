"""The journey on a real patient: DICOM archive to prepared case, a few steps of training, scores on the DICOM grid."""

import pytest

import configs
import evaluate
import prepare
import train
from imaging import read_grid


@pytest.mark.slow
def test_a_dicom_patient_is_prepared_trained_on_predicted_and_scored_on_its_grid(shared, tmp_path):
    said = [
        f"WORK_DIR={tmp_path}",
        "dataset=ircad",
        f"DATA_PREPARATION.SOURCE={shared / 'data/3D-IRCADb-01'}",
        "INPUT.HEIGHT=64",
        "INPUT.WIDTH=64",
        "MODEL.FILTERS=[4,4,4,4,4]",
        "HYPER_PARAMETERS.EPOCHS=1",
        "HYPER_PARAMETERS.STEPS_PER_EPOCH=3",
        "HYPER_PARAMETERS.BATCH_SIZE=4",
        "EVALUATION.SPLIT=train",
        "EVALUATION.PICTURES=0",
        "RUN_NAME=ircad",
        "VERBOSE=0",
    ]
    assert prepare.main(configs.compose(said)) == 0
    assert train.main(configs.compose(said)) == 0
    evaluation, folder = evaluate.evaluate(configs.compose(said))
    assert not evaluation.failed
    (case,) = evaluation.scores
    assert 0 <= evaluation.scores[case]["liver"]["dice"] <= 1  # three steps: the way is tested, not the network
    (prediction,) = (folder / "predictions").glob("*.nii.gz")
    assert read_grid(prediction).shape == (119, 512, 512)
