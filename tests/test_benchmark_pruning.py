import json

import pytest

from benchmarks.__main__ import main
from benchmarks.pruning import level_table
from models import build_model


def test_one_row_per_level_with_the_published_sizes():
    network = build_model(
        "unetplusplus", input_shape=(None, None, 1), num_classes=1, recipe="paper", deep_supervision=True
    )
    rows = level_table(network, (16, 16), repeats=1)
    assert [row["level"] for row in rows] == ["L1", "L2", "L3", "L4"]
    assert [row["parameters"] for row in rows] == [100_961, 511_105, 2_204_961, 9_041_601]
    assert all(row["seconds"] > 0 for row in rows)


def test_shares_of_multiply_adds_are_the_published_ones(monkeypatch):
    # 3D, L1 to L5: 35.22, 78.60, 137.07, 209.94, 296.67 GMAC at 64 x 64 x 64; the shares do not depend on the size.
    monkeypatch.setattr("benchmarks.pruning._seconds", lambda *_: 1.0)
    network = build_model(
        "unetplusplus", input_shape=(None, None, None, 1), num_classes=3, filters=[4, 8, 16], deep_supervision=True
    )
    rows = level_table(network, (8, 8, 8), repeats=1)
    assert rows[-1]["share_of_gmac"] == 1.0
    assert rows[0]["share_of_gmac"] < 0.7
    assert rows[0]["gmac"] < rows[1]["gmac"]


@pytest.mark.slow
def test_the_command_measures_both_ranks(capsys):
    assert main(["pruning", "--size-2d", "32", "32", "--size-3d", "32", "32", "32", "--repeats", "1"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert [len(tables[rank]) for rank in ("2d", "3d")] == [4, 5]
    assert tables["3d"][2]["share_of_gmac"] == pytest.approx(0.462, abs=0.002)
