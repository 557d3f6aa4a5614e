"""CHECK=True: every planted fault is found, named and given a remedy; nothing is written."""

import gzip

import numpy as np
import pytest
from preparation_helpers import lits, small_case, write_lits, write_nifti, write_pair

from data_preparation.check import check_collection
from data_preparation.collections import Finding


def check(folder):
    return check_collection(lits(folder), workers=1, progress=False)


def only(findings) -> Finding:
    assert len(findings) == 1, findings
    assert "\n" not in str(findings[0])
    return findings[0]


def test_sound_cases_have_no_findings(tmp_path):
    assert check(write_lits(tmp_path)) == []


def test_nothing_is_written(tmp_path):
    write_lits(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    check(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_all_findings_are_listed_not_only_the_first(tmp_path):
    write_lits(tmp_path)
    (tmp_path / "volume-0.nii").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    write_nifti(tmp_path / "segmentation-28.nii", np.zeros((5, 12, 16), np.uint8))
    (tmp_path / "segmentation-29.nii").unlink()
    assert {finding.file.rsplit("/", 1)[1] for finding in check(tmp_path)} == {
        "volume-0.nii",
        "segmentation-28.nii",
        "volume-29.nii",
    }


def test_lfs_pointers(tmp_path):
    write_lits(tmp_path, (0,))
    (tmp_path / "volume-0.nii").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    found = str(only(check(tmp_path)))
    assert "volume-0.nii" in found
    assert "Git LFS pointer" in found
    assert "git lfs pull" in found


def test_truncated_gzip(tmp_path):
    write_pair(tmp_path, 0, *small_case(0), suffix=".nii.gz")
    whole = (tmp_path / "volume-0.nii.gz").read_bytes()
    (tmp_path / "volume-0.nii.gz").write_bytes(whole[: len(whole) // 2])
    found = str(only(check(tmp_path)))
    assert "volume-0.nii.gz" in found
    assert "again" in found


def test_not_gzip_at_all(tmp_path):
    write_pair(tmp_path, 0, *small_case(0), suffix=".nii.gz")
    (tmp_path / "segmentation-0.nii.gz").write_bytes(gzip.compress(b"hello"))
    assert "segmentation-0.nii.gz" in str(only(check(tmp_path)))


def test_geometry_mismatch(tmp_path):
    write_lits(tmp_path, (0,))
    write_nifti(tmp_path / "segmentation-0.nii", small_case(0)[1], "RAS")
    write_nifti(tmp_path / "volume-0.nii", small_case(0)[0].astype(np.int16), "LPS")
    assert "the label lies elsewhere" in str(only(check(tmp_path)))
    write_nifti(tmp_path / "segmentation-0.nii", small_case(0, (5, 12, 15))[1])
    assert "5 x 12 x 15 voxels, the image 5 x 12 x 16" in str(only(check(tmp_path)))


def test_unexpected_values_and_fractions(tmp_path):
    hu, label = small_case(0)
    write_pair(tmp_path, 0, hu, label * 100)
    assert "unexpected label values 100, 200" in str(only(check(tmp_path)))
    write_nifti(tmp_path / "segmentation-0.nii", (label * 0.5).astype(np.float32))
    assert "fractional" in str(only(check(tmp_path)))


def test_zero_255_masks_are_not_taken_for_ignored(tmp_path):
    hu, label = small_case(0)
    write_pair(tmp_path, 0, hu, (label > 0) * 255)
    assert any("MASK_THRESHOLD" in str(finding) for finding in check(tmp_path))


def test_empty_labels(tmp_path):
    write_pair(tmp_path, 0, small_case(0)[0], np.zeros((5, 12, 16)))
    assert "the label is empty" in str(only(check(tmp_path)))


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SAL"])
def test_the_same_voxels_under_two_names(tmp_path, codes):
    hu, label = small_case(0)
    write_lits(tmp_path, (28,))
    write_pair(tmp_path, 0, hu, label, suffix=".nii.gz")
    write_pair(tmp_path, 40, hu, label, codes=codes)
    found = str(only(check(tmp_path)))
    assert "volume-40.nii" in found
    assert "volume-0.nii.gz" in found


def test_voxels_that_are_not_finite(tmp_path):
    hu, label = small_case(0)
    write_pair(tmp_path, 0, hu, label)
    hu = hu.astype(np.float32)
    hu[0, 0, :3] = np.nan
    write_nifti(tmp_path / "volume-0.nii", hu)
    assert "3 voxels are NaN or infinite" in str(only(check(tmp_path)))


def test_images_of_one_value(tmp_path):
    write_pair(tmp_path, 0, np.full((5, 12, 16), -1000), small_case(0)[1])
    assert "every voxel is -1000" in str(only(check(tmp_path)))


def test_missing_partners(tmp_path):
    write_lits(tmp_path)
    (tmp_path / "volume-28.nii").unlink()
    (tmp_path / "segmentation-29.nii").unlink()
    found = sorted(str(finding) for finding in check(tmp_path))
    assert "segmentation-28.nii: image missing." in found[0]
    assert "volume-29.nii: label missing." in found[1]


def as_lits(folder, pairs):
    """Links files under LiTS names, to bring them before the checker."""
    for number, (image, label) in enumerate(pairs):
        for name, source in (("volume", image), ("segmentation", label)):
            (folder / f"{name}-{number}.nii.gz").symlink_to(source)
    return folder


def test_the_pointers_of_a_real_repository(shared, tmp_path):
    source = shared / "data" / "edge_cases" / "git_lfs_pointers"
    pairs = [(path, source / "labels" / path.name) for path in sorted((source / "images").iterdir())]
    found = check(as_lits(tmp_path, pairs))
    assert len(found) == 2 * len(pairs) == 26
    assert all("Git LFS pointer" in str(finding) for finding in found)


def test_labels_200_500_600_are_listed(shared, tmp_path):
    source = shared / "data" / "edge_cases" / "cmr_noncontiguous_labels"
    pairs = [(source / f"image_{n}.nii.gz", source / f"label_{n}.nii.gz") for n in (7, 13, 20)]
    found = [str(finding) for finding in check(as_lits(tmp_path, pairs))]
    assert len(found) == 3
    assert all("unexpected label values 200, 500, 600" in text for text in found)


def test_image_and_label_of_different_patients(shared, tmp_path):
    source = shared / "data" / "edge_cases" / "hippocampus_withdrawn"
    image = source / "image_hippocampus_118.nii.gz"
    pairs = [(image, source / f"label_hippocampus_{n}.nii.gz") for n in ("010", "281")]
    found = [str(finding) for finding in check(as_lits(tmp_path, pairs))]
    assert sum("voxels, the image" in text for text in found) == 2
    assert sum("the same voxels as" in text for text in found) == 1
    assert len(found) == 3
