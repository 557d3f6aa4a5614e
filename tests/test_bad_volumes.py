"""Bad volumes through the scripts: prepare.py and train.py answer with the case's name and what to do."""

import json
import logging

import nibabel as nib
import numpy as np
import pytest

import configs
import prepare
from commands.data import find_data
from configs.plans import with_plan
from data_preparation.planning.use import planned_training

SHAPE = (12, 14, 10)


def write(path, array, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def organ(*values):
    label = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        label[2 + index, 3:9, 3:8] = value
    return label


@pytest.fixture
def raw(tmp_path, rng):
    """Five sound cases of two channels in nnU-Net's format: p0 to p4."""
    for index in range(5):
        for channel in range(2):
            path = tmp_path / f"raw/imagesTr/p{index}_{channel:04d}.nii.gz"
            write(path, rng.normal(100, 20, SHAPE).astype(np.float32))
        write(tmp_path / f"raw/labelsTr/p{index}.nii.gz", organ(1, 2))
    said = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (tmp_path / "raw/dataset.json").write_text(json.dumps(said))
    return tmp_path / "raw"


def words(raw, *more):
    said = [f"WORK_DIR={raw.parent}", "dataset=nnunet_raw", "DATASET.PREPARED_PATH=prepared", "VERBOSE=0"]
    return configs.compose([*said, f"DATA_PREPARATION.SOURCE={raw}", "DATA_PREPARATION.WORKERS=1", *more])


def channel(rng, spacing=(1.0, 1.0, 1.0), *, hole=False):
    array = rng.normal(100, 20, SHAPE).astype(np.float32)
    array[3, 4, 5] = np.nan if hole else 100
    return array, spacing


FAULTS = {
    "value": lambda _: (organ(1, 7),),
    "shape": lambda _: (organ(1, 2)[..., :6],),
    "grid": lambda _: (organ(1, 2), (1.0, 1.0, 2.5)),
    "four axes": lambda _: (np.zeros((*SHAPE, 2), np.uint8),),
    "fractions": lambda _: (organ(1).astype(np.float32) * 0.4,),
    "channels on two grids": lambda rng: channel(rng, (1.0, 2.0, 1.0)),
    "not a number": lambda rng: channel(rng, hole=True),
}


def spoil(raw, fault, rng):
    """Makes p3 bad: its second channel, or its label."""
    image, label = raw / "imagesTr/p3_0001.nii.gz", raw / "labelsTr/p3.nii.gz"
    if fault == "missing channel":
        image.unlink()
    else:
        write(image if fault in ("channels on two grids", "not a number") else label, *FAULTS[fault](rng))


ANSWERS = {
    "value": ("7", "STRAY_LABELS"),
    "shape": ("the label is", "export the label on the image's grid"),
    "grid": ("the label lies elsewhere", "LABEL_GRID=image"),
    "missing channel": ("this collection has 2 (T1, T2)", "add the missing channel"),
    "channels on two grids": ("grid", "resample"),
    "four axes": ("four axes", "p3.nii.gz"),
    "fractions": ("0.4", "Correct the label"),
    "not a number": ("NaN", "leave the case out"),
}


@pytest.mark.parametrize("fault", ANSWERS)
def test_the_case_is_named_with_the_remedy_and_the_others_are_prepared(raw, rng, fault, capsys):
    spoil(raw, fault, rng)
    assert prepare.main(words(raw)) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "p3" in told and all(word in told for word in ANSWERS[fault]), told
    assert "Traceback" not in told
    prepared = json.loads((raw.parent / "prepared/manifest.json").read_text())
    assert [case["id"] for case in prepared["cases"]] == ["p0", "p1", "p2", "p4"]


@pytest.mark.parametrize("fault", ANSWERS)
def test_the_checker_names_it_too_and_writes_nothing(raw, rng, fault, capsys):
    spoil(raw, fault, rng)
    assert prepare.main(words(raw, "CHECK=True")) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "p3" in told and ANSWERS[fault][0] in told, told
    assert not (raw.parent / "prepared").exists()


def test_a_single_slice_is_named_with_the_remedy(raw, rng, caplog):
    for channel in range(2):
        write(raw / f"imagesTr/p3_{channel:04d}.nii.gz", rng.normal(100, 20, SHAPE).astype(np.float32)[..., :1])
    write(raw / "labelsTr/p3.nii.gz", organ(1, 2)[..., 4:5])
    with caplog.at_level(logging.WARNING):
        assert prepare.main(words(raw)) == 0
    assert "p3: is a single slice" in caplog.text and "DATA_PREPARATION.CONFIGURATION=2d" in caplog.text


def test_a_class_that_a_fold_does_not_hold_is_named_when_preparing_and_when_training(raw, caplog):
    for index in range(4):
        write(raw / f"labelsTr/p{index}.nii.gz", organ(1))
    with caplog.at_level(logging.WARNING):
        assert prepare.main(words(raw)) == 0
    assert "no train case holds lesion (2)" in caplog.text and "it occurs in p4" in caplog.text
    answers = []
    for fold in range(5):
        caplog.clear()
        cfg = with_plan(words(raw, f"FOLD={fold}", "MODEL.TYPE=unet"), planned_training)
        with caplog.at_level(logging.WARNING):
            find_data(cfg)
        answers.append(caplog.text)
    assert sum("no train case holds lesion (2)" in text for text in answers) == 1
    assert sum("no validation case holds lesion (2)" in text for text in answers) == 4
    assert all("it occurs in p4" in text and "DATASET.LABELS" in text for text in answers)
