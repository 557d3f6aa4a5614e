"""The page of a collection: suspicious cases first, a thumbnail per case, one file."""

import numpy as np
import pytest
from page_helpers import read_page

from reports.dataset_page import DatasetCase, dataset_page, histograms
from reports.page import write_page

LABELS = {0: "background", 1: "liver"}


def case(number, **more):
    rng = np.random.default_rng(number)
    label = np.zeros((20, 24), np.uint8)
    label[4:9, 5:9] = 1
    facts = {
        "id": f"volume-{number}",
        "patient": f"p{number // 2}",
        "shape": (10 + number, 20, 24),
        "spacing_mm": (5.0, 0.8, 0.8),
        "codes": "LPS",
        "samples": ({"background": rng.normal(-500, 10, 50), "liver": rng.normal(100, 10, 50)},),
        "volumes_ml": {"liver": 1000.0 + number},
        "thumbnail": (rng.integers(0, 255, (20, 24)).astype(np.uint8), label),
    }
    return DatasetCase(**{**facts, **more})


def written(tmp_path, cases, **more):
    page = dataset_page("lits", cases, labels=LABELS, channels=["CT"], **more)
    return read_page(write_page(tmp_path / "report.html", page))


def test_suspicious_cases_stand_first_with_picture_and_reason(tmp_path):
    suspect = case(3, findings=["liver has 3 ml.", "the same voxels as <volume-1>."])
    found = written(tmp_path, [case(0), case(1), suspect], other_findings={"volume-9.nii": "label missing."})
    assert found.titles[:2] == ["At a glance", "Suspicious"]
    words = " ".join(found.words)
    for told in ("liver has 3 ml.", "the same voxels as <volume-1>.", "volume-9.nii", "label missing."):
        assert told in words
    assert [row[0] for row in found.tables[-1][1:]] == ["volume-3", "volume-0", "volume-1"]


def test_every_case_has_a_thumbnail(tmp_path):
    found = written(tmp_path, [case(0), case(1)])
    assert sum(source.startswith("data:image/webp") for source in found.pictures) == 2
    assert "Nothing was found." in found.words


def test_sizes_spacings_and_volumes_are_told(tmp_path):
    found = written(tmp_path, [case(0), case(1), case(2)], parts={"train": 2, "test": 1}, licence="CC-BY")
    geometry, volumes, every = found.tables
    assert geometry[1] == ["voxels", "depth", "10.0", "11.0", "12.0"]
    assert geometry[7] == ["extent, mm", "depth", "50.0", "55.0", "60.0"]
    assert volumes[1][:3] == ["liver", "3 of 3", "1001.0"]
    assert every[1][:5] == ["volume-0", "p0", "10 × 20 × 24", "5 × 0.8 × 0.8", "LPS"]
    assert "CC-BY" in found.words


def test_histograms_weigh_every_case_the_same():
    one = case(0, samples=({"liver": np.array([0.0, 0.0, 0.0, 10.0])},))
    two = case(1, samples=({"liver": np.array([10.0])},))
    edges, shares = histograms([one, two], 0)
    # Shares in the last bin: 1/4 and 1, mean 5/8.
    assert shares["liver"][-1] == pytest.approx(5 / 8)
    assert sum(shares["liver"]) == pytest.approx(1)
    assert edges[0] < edges[-1]


def test_a_collection_nobody_can_read_still_has_its_page(tmp_path):
    found = written(tmp_path, [], other_findings={"volume-0.nii": "broken"})
    assert found.titles == ["At a glance", "Suspicious"]


def test_two_hundred_cases_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    noisy = (rng.integers(0, 255, (160, 160)).astype(np.uint8), np.zeros((160, 160), np.uint8))
    page = dataset_page("lits", [case(n, thumbnail=noisy) for n in range(200)], labels=LABELS, channels=["CT"])
    assert write_page(tmp_path / "report.html", page).stat().st_size < 8e6
