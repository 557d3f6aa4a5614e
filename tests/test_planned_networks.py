"""Each planner's network trains as planned: nothing about it is typed but its name."""

import json

import nibabel as nib
import numpy as np
import pytest
import yaml

import configs
import prepare
import train


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Five volumes of 16 voxels a side: three stages are planned."""
    root, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(0)
    for index in range(5):
        label = np.zeros((16, 16, 16), np.uint8)
        label[4:10, 5:11, 3:12] = 1
        image = (label * 80 + rng.normal(100, 5, label.shape)).astype(np.float32)
        for folder, array in ((f"imagesTr/p{index}_0000", image), (f"labelsTr/p{index}", label)):
            path = root / f"{folder}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    labels = {"background": 0, "organ": 1}
    said = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 5, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(said))
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planner", "network", "blocks"),
    [("resenc_m", "resenc_unet", [1, 3, 4]), ("unetplusplus", "unetplusplus", None), ("default", "unet", None)],
)
def test_the_planned_network_trains(raw, tmp_path, planner, network, blocks):
    said = [f"WORK_DIR={tmp_path}", "dataset=nnunet_raw", "DATASET.PREPARED_PATH=prepared", "VERBOSE=0", "FOLD=0"]
    said += [f"DATA_PREPARATION.SOURCE={raw}", f"DATA_PREPARATION.PLANNER={planner}", f"MODEL.TYPE={network}"]
    short = ["HYPER_PARAMETERS.EPOCHS=1", "HYPER_PARAMETERS.STEPS_PER_EPOCH=1", "LOSS.TYPE=dice_ce", "RUN_NAME=run"]
    short += ["MODEL.DEEP_SUPERVISION=True", "CALLBACKS.TENSORBOARD.VALUE=False", "HYPER_PARAMETERS.BATCH_SIZE=2"]
    assert prepare.main(configs.compose(said)) == 0
    assert train.main(configs.compose([*said, *short])) == 0
    stored = yaml.safe_load((tmp_path / "outputs" / "run" / "config.yaml").read_text())["MODEL"]
    assert (stored["FILTERS"], stored.get("BLOCKS_PER_STAGE")) == ([32, 64, 128], blocks)
    assert stored["STRIDES"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
