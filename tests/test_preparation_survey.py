"""The facts behind a dataset report, and what is suspicious beside the other cases: each fault is planted and found."""

import dataclasses

import numpy as np
import pytest
from preparation_helpers import SPACING_MM, lits, write_lits, write_nifti, write_pair

from data_preparation.survey import survey_collection
from data_preparation.suspicion import outliers, suspicious

COUNT = 8
SHAPE = (10, 24, 28)


def body(number):
    """A body with a bright liver on one side; no two alike."""
    rng = np.random.default_rng(number)
    d, h, w = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    hu = np.where(((h - 12) / 10) ** 2 + ((w - 14) / 12) ** 2 < 1, 0.0, -500.0)
    hu[:, 19:22, 12:16] = 600
    hu[d > 6] -= 100
    label = np.zeros(SHAPE, np.uint8)
    label[2:8, 6:14, 4 : 11 + number % 2] = 1
    label[4:6, 8:10, 6:8] = 2
    hu[label > 0] = 120
    return (hu + rng.normal(0, 8, SHAPE)).round(), label


def write(folder, change=None):
    """Eight cases; the last is changed: `change(hu, label) -> (hu, label)`."""
    for number in range(COUNT):
        hu, label = body(number)
        if change is not None and number == COUNT - 1:
            hu, label = change(hu, label)
        write_pair(folder, number, hu, label)
    return lits(folder)


def found(folder, change=None):
    _, findings = survey_collection(write(folder, change), workers=1, progress=False)
    return [f"{finding.file.rsplit('/', 1)[-1]}: {finding.problem}" for finding in findings]


def test_facts_of_a_case_by_hand(tmp_path):
    surveys, _ = survey_collection(lits(write_lits(tmp_path)), workers=1, progress=False)
    case = surveys[0]
    assert (case.shape, case.spacing_mm) == ((5, 12, 16), pytest.approx(SPACING_MM))
    # small_case: liver in 3 x 6 x 8 voxels, of which one is tumour; a voxel has 4 x 0.8 x 1.2 mm.
    voxel_ml = 4 * 0.8 * 1.2 / 1000
    assert case.volumes_ml["liver"] == pytest.approx(143 * voxel_ml)
    assert case.volumes_ml["tumor"] == pytest.approx(voxel_ml)
    assert case.centres["tumor"] == pytest.approx((2 / 4, 5 / 11, 6 / 15))
    assert set(case.samples[0]) == {"background", "liver", "tumor"}
    assert case.thumbnail[0].shape == case.thumbnail[1].shape == (12, 16)


def test_orientation_of_the_file_does_not_change_the_facts(tmp_path):
    write_lits(tmp_path / "a", (0, 28), codes="LPS")
    write_lits(tmp_path / "b", (0, 28), codes="RAS")
    (a, *_), (b, *_) = (survey_collection(lits(tmp_path / name), workers=1, progress=False)[0] for name in "ab")
    assert a.codes != b.codes
    assert a.centres["liver"] == pytest.approx(b.centres["liver"])
    np.testing.assert_array_equal(a.template, b.template)
    np.testing.assert_array_equal(a.thumbnail[1], b.thumbnail[1])


def test_sound_cases_are_not_suspicious(tmp_path):
    assert found(tmp_path) == []


def without_liver(hu, label):
    small = np.zeros_like(label)
    small[4:6, 8:10, 6:8] = 2
    small[3:5, 6:8, 4:7] = 1
    return hu, small


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_liver, "liver has"),
        (lambda hu, label: (-hu, label), "dark and bright seem exchanged"),
        (lambda hu, label: (hu * 4, label), "intensities run from"),
        (lambda hu, label: (hu + 1500, label), "intensities run from"),
        (lambda hu, label: (hu[:, :, ::-1], label[:, :, ::-1]), "liver lies on the other side (left-right)"),
        (lambda hu, label: (hu[:, ::-1], label[:, ::-1]), "flipped anterior-posterior"),
        (lambda hu, label: body(3), "the same voxels as"),
        (lambda hu, label: (hu, label * 0), "label is empty"),
    ],
    ids=["volume", "inverted", "scaled", "shifted", "left-right", "front-back", "duplicate", "empty"],
)
def test_a_planted_fault_is_found_in_its_case_only(tmp_path, change, words):
    said = found(tmp_path, change)
    assert any(words in line for line in said), said
    assert all(f"-{COUNT - 1}.nii" in line for line in said), said


def test_voxels_of_another_size_are_found(tmp_path):
    surveys, _ = survey_collection(write(tmp_path), workers=1, progress=False)
    changed = dataclasses.replace(surveys[2], spacing_mm=(40.0, 0.8, 1.2))
    said = [finding for finding in suspicious([*surveys[:2], changed, *surveys[3:]])]
    assert [finding.file for finding in said] == [changed.file]
    assert "40 mm inferior-superior; usual here are 4 mm" in said[0].problem


def test_few_cases_say_nothing_about_each_other(tmp_path):
    surveys, _ = survey_collection(write(tmp_path), workers=1, progress=False)
    assert suspicious([dataclasses.replace(surveys[0], volumes_ml={"liver": 1e6}), *surveys[1:4]]) == []


def test_an_unreadable_case_is_a_finding_and_the_others_are_surveyed(tmp_path):
    collection = write(tmp_path)
    (tmp_path / "volume-3.nii").write_bytes(b"broken")
    surveys, findings = survey_collection(collection, workers=1, progress=False)
    assert len(surveys) == COUNT - 1
    assert any("volume-3.nii" in finding.file for finding in findings)


def test_a_label_of_another_size_is_a_finding_and_not_measured(tmp_path):
    write_lits(tmp_path)
    write_nifti(tmp_path / "segmentation-29.nii", np.zeros((2, 2, 2), np.uint8))
    surveys, findings = survey_collection(lits(tmp_path), workers=1, progress=False)
    assert [survey.volumes_ml for survey in surveys if survey.id == "volume-29"] == [{}]
    assert any("segmentation-29" in finding.file for finding in findings)


def test_outliers_by_hand():
    # Median 4, median distance 2, limit 10 * 1.4826 = 14.8: 20 is out, 18 is not; NaN never is.
    assert outliers([1, 2, 3, 4, 5, 6, 20, float("nan")], at_least=0) == [6]
    assert outliers([1, 2, 3, 4, 5, 6, 18], at_least=0) == []
    assert outliers([1, 1, 1, 1, 1, 2], at_least=1.5) == []
    assert outliers([1, 1, 1, 9], at_least=0) == []
