"""The benchmark of training steps measures every combination and says on what."""

import pytest

from benchmarks.train_step import run


@pytest.mark.slow
def test_every_combination_is_measured():
    words = ["--models", "unet", "--size", "16", "16", "--steps", "2", "--option", "filters=[4,4]"]
    found = run(words)
    assert [(entry["amp"], entry["xla"]) for entry in found["results"]] == [
        ("float32", False),
        ("mixed_bfloat16", False),
        ("float32", True),
        ("mixed_bfloat16", True),
    ]
    assert all(entry["step"]["median_ms"] > 0 for entry in found["results"])
    assert found["hardware"]["processors"] >= 1
