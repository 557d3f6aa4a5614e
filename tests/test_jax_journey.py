"""The demo's steps on JAX in an environment without TensorFlow: prepare, train, evaluate, predict."""

import json

import pytest
from training_commands import rows, run

JAX = {"backend": "jax", "without_tensorflow": True}
SMALL = [
    "experiment=demo",
    "MODEL.FILTERS=[4,4,8,8,8]",
    "INPUT.HEIGHT=32",
    "INPUT.WIDTH=32",
    "DATA_PREPARATION.PHANTOM.CASES=6",
    "DATA_PREPARATION.PHANTOM.SIZE=[12,48,48]",
    "HYPER_PARAMETERS.EPOCHS=3",
    "HYPER_PARAMETERS.LEARNING_RATE=0.01",
    "VERBOSE=2",
]


@pytest.mark.slow
def test_prepare_train_evaluate_predict_without_tensorflow(tmp_path):
    run("prepare.py", tmp_path, *SMALL, **JAX)
    assert "Backend jax" in run("train.py", tmp_path, *SMALL, "RUN_NAME=jax", **JAX)
    folder = tmp_path / "outputs" / "jax"
    losses = [float(row["loss"]) for row in rows(folder)]
    assert losses[-1] < losses[0]
    run("evaluate.py", tmp_path, "RUN_NAME=jax", **JAX)
    summary = json.loads((folder / "evaluation" / "summary.json").read_text())
    assert summary
    picture = tmp_path / "data" / "raw" / "phantom" / "volume-0.nii.gz"
    run("predict.py", tmp_path, "RUN_NAME=jax", f"INPUT_PATH={picture}", **JAX)
    assert list((folder / "predictions").rglob("*.nii.gz"))
