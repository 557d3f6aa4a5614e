"""compare.py: what differs between runs, how surely, and in which cases."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from page_helpers import read_page

import compare as script
from configs import compose
from reports.comparison import differences
from reports.runs import read_evaluated


def write_run(root, name, dice, *, patients=None, config=None, hd95=None):
    """An evaluated run: Dice per case of one class."""
    folder = root / "outputs" / name / "evaluation"
    folder.mkdir(parents=True)
    with (folder / "metrics.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "label", "dice", "hd95"])
        for number, (case, value) in enumerate(dice.items()):
            writer.writerow([case, "liver", value, 5.0 if hd95 is None else hd95[number]])
    (folder / "summary.json").write_text(json.dumps({"part": "test cases", "patients": patients or {}}))
    if config is not None:
        (folder.parent / "config.yaml").write_text(config)


def cases(values):
    return {f"case{number}": value for number, value in enumerate(values)}


def compared(root, *runs, more=()):
    words = script.positional([f"WORK_DIR={root}", *runs, *more])
    return script.compare(compose(words))


def dice_of(found):
    return next(entry for entry in found if entry.metric == "dice")


def test_difference_interval_test_and_changed_cases_by_hand(tmp_path):
    write_run(tmp_path, "a", cases([0.5, 0.6, 0.7, 0.8]))
    write_run(tmp_path, "b", cases([0.5, 0.7, 0.5, 0.9]))
    _, (found,), _ = compared(tmp_path, "a", "b")
    # 0, +0.1, -0.2, +0.1: no change on average.
    entry = dice_of(found)
    assert (entry.first, entry.second) == (pytest.approx(0.65), pytest.approx(0.65))
    assert entry.result.mean == pytest.approx(0.0)
    assert next(iter(entry.cases.items())) == ("case2", pytest.approx(-0.2))
    assert (entry.result.better, entry.result.worse) == (2, 1)
    assert entry.verdict == "–"


def test_a_planted_point_over_sixty_cases_is_found_and_nothing_is_not(tmp_path, rng):
    base = rng.uniform(0.6, 0.95, 60)
    write_run(tmp_path, "a", cases(base))
    write_run(tmp_path, "b", cases(base + 0.01 + rng.normal(0, 0.02, 60)))
    write_run(tmp_path, "c", cases(base + rng.permutation(np.r_[np.full(30, 0.02), np.full(30, -0.02)])))
    better, same = (dice_of(compared(tmp_path, "a", other)[1][0]) for other in ("b", "c"))
    assert better.verdict == "better" and better.result.interval[0] > 0
    assert same.verdict == "–" and same.result.interval[0] < 0 < same.result.interval[1]


def test_a_smaller_distance_is_better(tmp_path, rng):
    write_run(tmp_path, "a", cases(np.full(12, 0.9)), hd95=np.full(12, 6.0))
    write_run(tmp_path, "b", cases(np.full(12, 0.9)), hd95=rng.uniform(3, 5, 12))
    _, (found,), page = compared(tmp_path, "a", "b")
    entry = next(entry for entry in found if entry.metric == "hd95")
    assert entry.result.mean < 0 and entry.verdict == "better"
    told = json.loads((page.parent / "comparison.json").read_text())["comparisons"][0]["differences"]
    assert [row["better"] for row in told if row["metric"] == "hd95"] == [12]


def test_tests_are_over_patients_and_not_over_their_cases(tmp_path):
    patients = {f"case{number}": f"p{number // 4}" for number in range(8)}
    write_run(tmp_path, "a", cases([0.5] * 8), patients=patients)
    write_run(tmp_path, "b", cases([0.6] * 4 + [0.7] * 4), patients=patients)
    entry = dice_of(compared(tmp_path, "a", "b")[1][0])
    assert list(entry.result.differences.values()) == pytest.approx([0.2, 0.1])
    assert len(entry.cases) == 8


def test_cases_of_one_run_only_are_named(tmp_path):
    write_run(tmp_path, "a", cases([0.5, 0.6, 0.7]))
    write_run(tmp_path, "b", {**cases([0.5, 0.7]), "extra": 0.1})
    page = compared(tmp_path, "a", "b")[2]
    assert "case2, extra" in page.read_text()


def test_page_and_table_are_written(tmp_path):
    write_run(tmp_path, "a", cases([0.5, 0.6, 0.7]))
    write_run(tmp_path, "b", cases([0.6, 0.7, 0.9]))
    page = compared(tmp_path, "a", "b")[2]
    assert page == tmp_path / "outputs" / "comparisons" / "a-vs-b" / "report.html"
    found = read_page(page)
    assert found.titles == ["b against a", "a", "b", "How it was measured"]
    assert found.tables[0][1][:5] == ["liver", "Dice", "0.600", "0.733", "+0.133"]
    assert [row[0] for row in found.tables[1][1:]] == ["case2", "case0", "case1"]
    assert len(found.pictures) == 2
    with (page.parent / "differences.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case"] for row in rows} == {"case0", "case1", "case2"}


class TestSeveral:
    """Seeds and folds together."""

    def test_seeds_are_averaged_case_by_case(self, tmp_path):
        for seed, value in ((1, 0.5), (2, 0.7)):
            write_run(tmp_path, f"a-{seed}", cases([value]), config=f"SEED: {seed}\nMODEL: {{TYPE: unet}}\n")
            write_run(tmp_path, f"b-{seed}", cases([value + 0.1]), config=f"SEED: {seed}\nMODEL: {{TYPE: unet3plus}}\n")
        groups, (found,), _ = compared(tmp_path, "a-1", "b-1", "a-2", "b-2")
        assert [group.name for group in groups] == ["a (2 runs)", "b (2 runs)"]
        entry = dice_of(found)
        assert (entry.first, entry.second) == (pytest.approx(0.6), pytest.approx(0.7))

    def test_folds_are_joined(self, tmp_path):
        for fold in range(3):
            write_run(tmp_path, f"fold{fold}", {f"case{fold}": 0.1 * fold}, config=f"FOLD: {fold}\n")
        groups, found, page = compared(tmp_path, "fold0", "fold1", "fold2")
        assert len(groups) == 1 and found == []
        assert list(groups[0].cases) == ["case0", "case1", "case2"]
        assert read_page(page).tables[0][1][:3] == ["liver", "Dice", "0.100"]

    def test_two_runs_are_compared_even_where_only_the_seed_differs(self, tmp_path):
        for seed in (1, 2):
            write_run(tmp_path, f"s{seed}", cases([0.5, 0.6]), config=f"SEED: {seed}\n")
        assert len(compared(tmp_path, "s1", "s2")[0]) == 2

    def test_commas_take_runs_together(self, tmp_path):
        for name, value in (("a", 0.2), ("b", 0.4), ("c", 0.6)):
            write_run(tmp_path, name, cases([value]))
        _, (found,), _ = compared(tmp_path, "a,b", "c")
        assert dice_of(found).first == pytest.approx(0.3)

    def test_every_other_run_is_compared_with_the_first(self, tmp_path):
        for name, value in (("a", 0.2), ("b", 0.4), ("c", 0.6)):
            write_run(tmp_path, name, cases([value]))
        _, found, _ = compared(tmp_path, "a", "b", "c")
        assert [dice_of(entries).result.mean for entries in found] == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize(
    ("runs", "answer"),
    [
        ((), "python compare.py outputs/RUN_A outputs/RUN_B"),
        (("a",), "python compare.py outputs/RUN_A outputs/RUN_B"),
        (("a", "nowhere"), "There is no run nowhere"),
        (("a", "unscored"), "python evaluate.py RUN_NAME=unscored"),
        (("a", "other"), "share no case"),
    ],
)
def test_mistakes_are_answered_with_what_to_type(tmp_path, runs, answer):
    write_run(tmp_path, "a", cases([0.5]))
    write_run(tmp_path, "other", {"else": 0.5})
    (tmp_path / "outputs" / "unscored").mkdir()
    with pytest.raises(ValueError, match="^[^\n]*$") as caught:
        compared(tmp_path, *runs)
    assert answer in str(caught.value)


def test_runs_are_typed_as_plain_words(project, tmp_path):
    write_run(tmp_path, "a", cases([0.5, 0.6]))
    write_run(tmp_path, "it's b", cases([0.6, 0.6]))
    done = subprocess.run(
        [sys.executable, str(project / "compare.py"), "outputs/a", str(tmp_path / "outputs" / "it's b")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(project)},
    )
    assert done.returncode == 0, done.stderr
    assert "+0.050" in done.stdout
    assert "…" not in done.stdout
    assert "Changed most, Dice of liver: case0 +0.100" in done.stdout


def test_an_empty_cell_is_not_defined(tmp_path):
    write_run(tmp_path, "a", {"case0": "", "case1": 0.5})
    write_run(tmp_path, "b", {"case0": 0.5, "case1": 0.6})
    runs = [read_evaluated(tmp_path / "outputs" / name) for name in ("a", "b")]
    assert list(dice_of(differences(*runs)).cases) == ["case1"]


def test_lesions_are_compared_where_they_were_counted(tmp_path):
    for name, value in (("a", 0.5), ("b", 0.7)):
        write_run(tmp_path, name, cases([0.5, 0.6]))
        path = tmp_path / "outputs" / name / "evaluation" / "metrics.csv"
        path.write_text(
            "case,label,dice,lesion_f1_iou_0,ece\n"
            + "".join(f"case{n},liver,0.9,,0.1\ncase{n},tumor,0.5,{value},{0.2 - value / 10}\n" for n in range(6))
        )
    _, (found,), _ = compared(tmp_path, "a", "b")
    rows = {(entry.label, entry.metric): entry for entry in found}
    assert ("liver", "lesion_f1_iou_0") not in rows
    assert rows["tumor", "lesion_f1_iou_0"].verdict == "better"
    # A smaller calibration error is better.
    assert rows["tumor", "ece"].result.mean < 0 and rows["tumor", "ece"].verdict == "better"
