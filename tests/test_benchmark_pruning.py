import json

import pytest
from omegaconf import OmegaConf

from benchmarks.__main__ import main
from benchmarks.pruning import level_table, run_table, smallest
from configs import compose
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


def test_a_trained_run_gets_a_dice_for_every_level(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    said = ["MODEL.TYPE=unetplusplus", "MODEL.DEEP_SUPERVISION=True", "MODEL.FILTERS=[2,3,4]", "INPUT.PATCH=[8,8]"]
    OmegaConf.save(compose(said), folder / "config.yaml")
    dice = {"L1": 0.8, "L2": 0.9}
    monkeypatch.setattr("benchmarks.pruning._dice", lambda run, level, rest: dice[level])
    rows = run_table(folder, [], repeats=1)
    assert [row["dice"] for row in rows] == [0.8, 0.9]
    assert rows[0]["dice_below_deepest"] == 0.1


def test_the_smallest_level_within_a_point():
    rows = [
        {"level": f"L{n}", "dice": d, "dice_below_deepest": round(0.9 - d, 4)} for n, d in enumerate((0.8, 0.895, 0.9))
    ]
    costs = {"share_of_gmac": 0.5, "share_of_time": 0.4}
    assert smallest([row | costs for row in rows]) == {
        "level": "L1",
        "dice": 0.895,
        "dice_below_deepest": 0.005,
        **costs,
    }


@pytest.mark.parametrize(
    ("said", "message"),
    [(None, "no config.yaml"), (["MODEL.TYPE=unet"], "a run of unet"), (["MODEL.TYPE=unetplusplus"], "the heads")],
)
def test_a_run_that_cannot_be_pruned_is_answered(tmp_path, said, message):
    if said is not None:
        OmegaConf.save(compose(said), tmp_path / "config.yaml")
    with pytest.raises(ValueError, match=message):
        run_table(tmp_path, [], repeats=1)
