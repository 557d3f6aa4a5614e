"""The loader benchmarks run and say what they measured."""

import pytest

from benchmarks import augmentation, loader


def test_the_loader_benchmark_measures_every_loader(monkeypatch):
    monkeypatch.setattr(loader, "SIDE", 32)
    monkeypatch.setattr(loader, "BATCH", 2)
    result = loader.run(["--repeats", "2", "--batches", "2"])
    assert {"sequence", "sequence_augmented"} <= set(result["speeds"])
    assert all(found["median"] > 0 and len(found["all"]) == 2 for found in result["speeds"].values())


def test_a_summary_by_hand():
    assert loader.summary([1.0, 2.0, 4.0]) == {"all": [1.0, 2.0, 4.0], "median": 2.0, "spread": 1.5}


def test_the_augmentation_benchmark_measures_our_side(monkeypatch, tmp_path):
    root = loader.write_volumes(tmp_path, shape=(24, 24, 24), cases=1)
    monkeypatch.setattr(augmentation, "PATCH", (12, 12, 12))
    assert augmentation.patches(str(root), 2, 1) > 0


def test_a_side_that_fails_is_named():
    import sys

    with pytest.raises(RuntimeError, match="failed"):
        augmentation._measured([sys.executable, "-c", "raise SystemExit('no')"])
