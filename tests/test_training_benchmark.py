"""The benchmark of training steps measures every combination and says on what."""

import pytest

from benchmarks.train_step import QUICK, run


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


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["sequence", pytest.param("dali", marks=pytest.mark.dali)])
def test_a_loader_may_feed_the_step_and_the_share_of_the_peak_is_said(loader):
    if loader == "dali":
        pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed: make setup")
    found = run([*QUICK, "--loader", loader, "--amp", "off", "--xla", "off", "--peak-tflops", "0.1"])
    (entry,) = found["results"]
    assert entry["step"]["share_of_peak"] > 0
    # A step counts three times the operations of a forward pass.
    per_sample = entry["step"]["tflop_per_s"] * entry["step"]["median_ms"] / 1e3 / found["batch"]
    assert per_sample == pytest.approx(3 * entry["tflop_per_pass"], rel=0.01)
    assert found["table"][0]["model"] == "unet"


def test_a_failing_combination_is_named_in_the_table():
    found = run(["--models", "unet", "--option", "filtres=[4,4]", "--amp", "off", "--xla", "off"])
    assert "filters" in found["table"][0]["failed"]
