"""A CT spleen joins a network that was trained on hippocampus MRI: what it knew, it answers bit for bit as before."""

import csv

import numpy as np
import pytest

import export
import import_weights
import predict
import prepare
import train
from configs import compose
from imaging import read_label

SPLEEN = "data/edge_cases/ivadomed_data-testing/ct_scan"
NETWORK = ["MODEL.BASE_FILTERS=4", "MODEL.STRIDES=[[1,1,1],[2,2,2],[2,2,2]]"]
BUDGET = [
    "HYPER_PARAMETERS.EPOCHS=1",
    "HYPER_PARAMETERS.STEPS_PER_EPOCH=2",
    "HYPER_PARAMETERS.BATCH_SIZE=1",
    "HYPER_PARAMETERS.LEARNING_RATE=0.01",
    "VALIDATION.EVERY=0",
    "VERBOSE=0",
]


def prepare_pairs(work, name, channel, pairs, labels):
    """Prepares image and label files as a collection of its own."""
    with (work / f"{name}.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image", "label"], *pairs])
    said = [f"DATASET.NAME={name}", f"DATA_PREPARATION.SOURCE={work / name}.csv", f"DATASET.LABELS={labels}"]
    common = ["dataset=volume_folder", f"WORK_DIR={work}", f"DATA_PREPARATION.CHANNELS=[{channel}]", "VERBOSE=0"]
    assert prepare.main(compose([*common, *said])) == 0


@pytest.mark.slow
def test_what_the_network_knew_is_answered_bit_for_bit_as_before(shared, tmp_path):
    brains = shared / "data/Task04_Hippocampus"
    names = sorted(path.name for path in (brains / "labelsTr").glob("hippocampus_*.nii*"))[:4]
    pairs = [[brains / "imagesTr" / name, brains / "labelsTr" / name] for name in names]
    prepare_pairs(tmp_path, "hippocampus", "MRI", pairs, "{anterior: 1, posterior: 2}")
    image, label = (shared / SPLEEN / f"{part}sub-spleen2/ct" for part in ("", "derivatives/labels/"))
    ct = [[image / "sub-spleen2_ct.nii.gz", label / "sub-spleen2_ct_seg-manual.nii.gz"]]
    prepare_pairs(tmp_path, "spleen", "CT", ct, "{spleen: 1}")

    work = [f"WORK_DIR={tmp_path}", *BUDGET]
    first = ["DOMAINS=[hippocampus]", "DOMAIN_SETTINGS.hippocampus.INPUT.PATCH=[32,40,32]", "RUN_NAME=base"]
    assert train.main(compose(["experiment=universal_unet", *NETWORK, *first, *work])) == 0
    second = ["DOMAINS=[spleen]", "DOMAIN_SETTINGS.spleen.INPUT.PATCH=[16,32,32]", "RUN_NAME=grown", "CHECKPOINT=base"]
    assert train.main(compose(["experiment=universal_unet_add_domain", *second, *work])) == 0
    (written,) = export.export(compose([*work, "RUN_NAME=grown", "DOMAIN=spleen", "EXPORT.FORMATS=[domain]"]))
    join = [f"SOURCE={written['file']}", "ADD_TO=base", "RUN_NAME=merged"]
    assert import_weights.main(compose([*join, f"WORK_DIR={tmp_path}"])) == 0

    answers = []
    for run in ("base", "grown", "merged"):
        said = [
            f"RUN_NAME={run}",
            "DOMAIN=hippocampus",
            f"INPUT_PATH={pairs[0][0]}",
            "INFERENCE.SAVE_PROBABILITIES=True",
        ]
        folder = predict.predict(compose([*said, *work])).folder
        files = sorted(path for path in folder.rglob("*.nii.gz"))
        assert len(files) > 1
        answers.append([read_label(path).array if path.parent == folder else path.read_bytes() for path in files])
    for changed in answers[1:]:
        for before, after in zip(answers[0], changed, strict=True):
            np.testing.assert_array_equal(before, after)
