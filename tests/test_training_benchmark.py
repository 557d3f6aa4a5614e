"""The benchmark of training steps measures every combination and says on what."""

import pytest

from benchmarks import train_step
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
def test_a_domain_of_the_universal_network_is_measured():
    words = ["--models", "universal_unet", "--size", "32", "32", "32", "--steps", "1", "--option", "base_filters=4"]
    (entry,) = run([*words, "--amp", "off", "--xla", "off"])["results"]
    assert entry["forward"]["median_ms"] > 0


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


@pytest.mark.parametrize(("option", "compared"), [("convolution=auto", True), ("filters=[4,4]", False)])
def test_a_peer_is_measured_once_where_it_has_the_network(monkeypatch, option, compared):
    times = {"step": {"median_ms": 100.0}, "forward": {"median_ms": 10.0}}
    entry = {"model": "unet3plus", "shape": [16, 16, 3], "tflop_per_pass": 1.0, "hardware": None, "versions": None}
    asked = []

    def peer(command):
        asked.append(command[2:])
        return {"parameters": 7, "step": [0.3, 0.3], "forward": [0.05, 0.05]}

    monkeypatch.setattr(train_step, "_in_process", lambda *_, **__: {**entry, **times})
    monkeypatch.setattr(train_step, "peer_python", lambda python, *_: python)
    monkeypatch.setattr(train_step, "answer", peer)
    found = run(["--peers", "python", "--option", option, "--batch", "3"])
    assert len(asked) == compared
    for measured in found["results"]:
        assert ("peer" in measured) is compared
        if compared:
            assert (measured["peer"]["step_ratio"], measured["peer"]["forward_ratio"]) == (3.0, 5.0)
            # A step of three samples counts three times the operations of a forward pass.
            assert [measured["peer"][part]["tflop_per_s"] for part in ("step", "forward")] == [30.0, 60.0]
            assert asked[0][0] == "unet3plus"
            assert asked[0][-4:] == ["2", "16", "16", "3"]


def test_a_failing_combination_is_named_in_the_table():
    found = run(["--models", "unet", "--option", "filtres=[4,4]", "--amp", "off", "--xla", "off"])
    assert "filters" in found["table"][0]["failed"]
