"""evaluate.py and patients: several images of one are pooled; a real DICOM patient is scored on its own grid."""

import csv

import cv2
import numpy as np
import pytest
from inference_cases import SIZE, make_run, overrides, stand_in

import evaluate as script
from configs import compose
from imaging import write_volume


def evaluate(work, *more):
    return script.evaluate(compose(overrides(work, "RUN_NAME=run", "EVALUATION.PICTURES=0", *more)))


def test_images_of_a_patient_are_scored_together(tmp_path, monkeypatch):
    # Patient 1: 100 of 100 pixels found in one image, 10 of 40 in the other: together 2 * 110 / (140 + 110) = 0.88;
    # the mean of the images would be (1 + 0.4) / 2 = 0.7. Patient 2: 100 of 100.
    for name, bright, true in (("1_a", 10, 10), ("1_b", 1, 4), ("2_a", 10, 10)):
        for folder, rows, value in (("images", bright, 255), ("masks", true, 1)):
            picture = np.zeros((SIZE, SIZE), np.uint8)
            picture[:rows, :10] = value
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), picture)
    stand_in(monkeypatch)
    folders = [
        text
        for part in ("TRAIN", "VAL")
        for text in (f"DATASET.{part}.IMAGES_PATH={tmp_path}/images", f"DATASET.{part}.MASK_PATH={tmp_path}/masks")
    ]
    pattern = r"PREPROCESS_DATA.PATIENT_PATTERN='(\d)_'"
    make_run(tmp_path, "dataset=image_folder", "DATASET.PREPARED_PATH=null", pattern, *folders)
    evaluation, folder = evaluate(tmp_path, "dataset=image_folder")
    assert evaluation.scores["1_b"]["foreground"]["dice"] == pytest.approx(0.4)
    with (folder / "patients.csv").open(newline="") as file:
        dice = {row["patient"]: float(row["dice"]) for row in csv.DictReader(file)}
    assert dice == pytest.approx({"1": 0.88, "2": 1.0})
    assert any("pixels" in note for note in evaluation.notes)


@pytest.mark.slow
def test_a_real_dicom_patient_is_scored_on_its_own_grid(shared, tmp_path, monkeypatch):
    """3D-IRCADb: the prepared labels themselves, brought back to the DICOM grid, must be almost right."""
    from data_generators.manifest import load_manifest
    from data_preparation.case import Recipe
    from data_preparation.collections import SourceOptions, open_collection
    from data_preparation.pipeline import prepare_collection

    collection = open_collection("ircad", SourceOptions(source=shared / "data" / "3D-IRCADb-01"))
    root = tmp_path / "prepared"
    assert not prepare_collection(collection, root, Recipe(256, 256), workers=1, progress=False).failures
    case = load_manifest(root).cases[0]
    restored = case.geometry.restore_label(np.load(root / case.label))
    write_volume(tmp_path / "theirs" / f"{case.id}.nii.gz", restored)
    evaluation, _ = evaluate(
        tmp_path,
        "dataset=ircad",
        "DATASET.LABELS={liver: 1, tumor: 2}",
        "EVALUATION.SPLIT=train",
        f"EVALUATION.PREDICTIONS={tmp_path}/theirs",
        "INPUT.HEIGHT=256",
        "INPUT.WIDTH=256",
    )
    assert not evaluation.failed
    # Slices are halved and doubled again: about a pixel of the border is lost.
    assert evaluation.scores[case.id]["liver"]["dice"] > 0.98
    assert evaluation.scores[case.id]["liver"]["hd95"] < 2.0
    assert evaluation.scores[case.id]["tumor"]["dice"] > 0.9
