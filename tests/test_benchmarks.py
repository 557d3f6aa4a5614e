"""Benchmarks: each can be run by its name, all of them in turn, options reach those that take them."""

import contextlib
import json

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.depthwise import run


@pytest.fixture
def fake(monkeypatch):
    seen = {}

    class Module:
        QUICK = ("--small",)

        def __init__(self, name):
            self.name = name

        def run(self, options):
            seen[self.name] = list(options)
            return {"ran": self.name, "table": [{"side": "ours", "seconds": 1.5}, {"side": "theirs", "calls": 2000}]}

    monkeypatch.setattr(benchmarks.importlib, "import_module", Module)
    return seen


def test_all_runs_each_and_peers_reach_only_those_that_compare(fake, capsys):
    assert benchmarks.main(["all", "--peers", "python"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(benchmarks.BENCHMARKS)
    assert fake["benchmarks.augmentation"] == ["--peers", "python"]
    assert fake["benchmarks.preparation"] == []


def test_the_smallest_run_comes_before_what_is_said(fake):
    assert benchmarks.main(["loader", "--quick", "--repeats", "2"]) == 0
    assert fake["benchmarks.loader"] == ["--small", "--repeats", "2"]


def test_a_benchmark_prints_its_own_help(capsys):
    for words, told in ((["--help"], "--quick"), (["train_step", "--help"], "--peak-tflops")):
        with contextlib.suppress(SystemExit):
            benchmarks.main(words)
        assert told in capsys.readouterr().out


def test_one_gets_its_options_and_writes_its_result(fake, tmp_path):
    assert benchmarks.main(["loader", "--out", str(tmp_path / "a" / "loader.json"), "--repeats", "2"]) == 0
    assert fake["benchmarks.loader"] == ["--repeats", "2"]
    written = json.loads((tmp_path / "a" / "loader.json").read_text())
    assert written["ran"] == "benchmarks.loader"
    assert written["machine"]["cores"] >= 1


def test_the_table_stands_beside_the_json(fake, capsys):
    assert benchmarks.main(["loader"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["table"][0] == {"side": "ours", "seconds": 1.5}
    assert "theirs" in said.err
    assert "2,000" in said.err


def test_a_misspelt_name_is_answered(fake, capsys):
    assert benchmarks.main(["loadr"]) == 2
    assert "Did you mean loader" in capsys.readouterr().err


@pytest.mark.slow
def test_depthwise_executions_are_measured():
    result = run(["--repeats", "1", "--grids", "1"])
    sides = result["milliseconds"]["32x64x64x16"]
    assert set(sides["fastest"].values()) <= {"slices", "shifted", "grouped"}
    assert all(sides[side]["forward_backward"] > 0 for side in ("slices", "shifted", "grouped"))
