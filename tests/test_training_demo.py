"""Everything at once against nothing of it: the same Dice on the demo's held-out volumes."""

import json

import pytest
from training_commands import run

pytestmark = [pytest.mark.dali, pytest.mark.slow, pytest.mark.timeout(1800)]
pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed: make setup")

DEMO = ["experiment=demo", "INPUT.HEIGHT=64", "INPUT.WIDTH=64", "VERBOSE=2"]
NETWORK = ["MODEL.TYPE=unet", "MODEL.FILTERS=[8,16,32]", "HYPER_PARAMETERS.EPOCHS=16"]
NOTHING = ["OPTIMIZATION.AMP=False", "OPTIMIZATION.XLA=False", "DATA_GENERATOR_TYPE=SEQUENCE"]
EVERYTHING = [
    *["USE_MULTI_GPUS.VALUE=True", "OPTIMIZATION.AMP=True", "OPTIMIZATION.XLA=True", "DATA_GENERATOR_TYPE=DALI"],
    "HYPER_PARAMETERS.BATCH_SIZE=4",  # on each of two devices, as 8 on one
]


def dice(folder, name: str, *words: str, devices: int) -> float:
    """Mean Dice of the test volumes after training with these words."""
    said = run("train.py", folder, *DEMO, *NETWORK, *words, f"RUN_NAME={name}", devices=devices)
    assert ("2 devices share each batch" in said) == (devices == 2)
    run("evaluate.py", folder, f"RUN_NAME={name}", "CHECKPOINT=last", "EVALUATION.PICTURES=0")
    summary = json.loads((folder / "outputs" / name / "evaluation" / "summary.json").read_text())
    return float(summary["classes"]["liver"]["dice"]["mean"])


def test_mixed_precision_xla_two_devices_and_dali_reach_the_dice_of_one_device_without_them(tmp_path):
    run("prepare.py", tmp_path, *DEMO)
    one = dice(tmp_path, "one", *NOTHING, devices=1)
    two = dice(tmp_path, "two", *EVERYTHING, devices=2)
    assert one > 0.85
    assert two == pytest.approx(one, abs=0.01)
