"""The benchmark of UNETR++ measures both sides in turn and compares them."""

import json
import subprocess

import numpy as np
import pytest

from benchmarks import unetr_plusplus as benchmark


@pytest.fixture
def sides(monkeypatch):
    """Processes that answer at once: ours takes half of the peer's time, and the answers are equal."""
    commands = []

    def draw(preset, files):
        del preset
        answer = np.ones((1, 2, 2, 2, 3), np.float32) * np.arange(3, dtype=np.float32)
        np.save(files[2], answer)
        np.save(files[3], np.moveaxis(answer, -1, 1))

    def once(command):
        commands.append(command)
        slow = 2.0 if "peer" in command[1] else 1.0
        return {"seconds": [slow] * 3, "processor_seconds": [slow] * 3, "forward_mb": 50 * slow, "process_mb": 100}

    monkeypatch.setattr(benchmark, "_draw", draw)
    monkeypatch.setattr(benchmark, "_once", once)
    return commands


def test_sides_take_turns_with_equal_threads_and_ratios_are_theirs_over_ours(sides):
    result = benchmark.run(["--peers", "python", "--rounds", "2", "--threads", "3"])
    assert ["peer" in command[1] for command in sides] == [False, True, False, True]
    assert all("3" in command for command in sides)
    assert result["pytorch_over_ours"] == {
        "seconds": 2.0, "processor_seconds": 2.0, "forward_mb": 2.0, "process_mb": 1.0
    }  # fmt: skip
    assert result["largest_difference"] == 0.0
    json.dumps(result)


def test_without_a_peer_only_ours_is_measured(sides):
    assert "pytorch" not in benchmark.run(["--rounds", "1"])
    assert len(sides) == 1


def test_a_failing_side_is_one_line(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "trace\nModuleNotFoundError: No module named 'torch'\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit, match="No module named 'torch'"):
        benchmark._once(["python", "unetr_plusplus_peer.py"])
