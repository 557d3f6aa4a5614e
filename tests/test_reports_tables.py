"""Tables: every case, an honest summary, files that other programs read."""

import csv
import io
import json
import math

import numpy as np
from rich.console import Console

from reports.tables import score_rows, score_table, worst_first, write_csv, write_json

CASES = {
    "a": {"liver": {"dice": 0.9, "hd95": 3.0}, "tumor": {"dice": 0.5, "hd95": math.nan}},
    "b": {"liver": {"dice": 0.7, "hd95": 25.0}, "tumor": {"dice": math.nan, "hd95": math.nan}},
    "c": {"liver": {"dice": 0.8, "hd95": 4.0}, "tumor": {"dice": 0.3, "hd95": 8.0}},
}


def shown(table):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_header_states_policy_and_tools():
    text = shown(score_table(CASES, metrics=["dice"], title="test", notes=["Empty: nan", "scipy 1.17"]))
    assert text.index("Empty: nan") < text.index("scipy 1.17") < text.index("case")


def test_the_summary_is_over_cases_without_missing_values():
    lines = shown(score_table(CASES, metrics=["dice", "hd95"], title="test")).splitlines()
    found = {name: [line for line in lines if f" {name} " in line] for name in ("mean", "sd", "median")}
    # liver dice: mean 0.8, sd 0.1; tumour dice of a and c: mean 0.4, sd 0.1414; median hd95 of the liver 4.
    assert ["0.800" in found["mean"][0], "0.100" in found["sd"][0]] == [True, True]
    assert ["0.400" in found["mean"][1], "0.141" in found["sd"][1]] == [True, True]
    assert "4.000" in found["median"][0]


def test_a_long_cohort_lists_the_worst():
    text = shown(score_table(CASES, metrics=["dice"], title="test", rows=1))
    assert "2 better cases" in text
    assert "0.550" not in text
    assert " c " in text


def test_worst_first_ranks_by_the_mean_over_labels():
    # a: 0.7; b: 0.7 (its tumour has no value); c: 0.55.
    assert worst_first(CASES, "dice") == ["c", "a", "b"]
    assert worst_first({"x": {"l": {"dice": math.nan}}, **CASES}, "dice")[-1] == "x"


def test_csv_has_a_row_per_case_and_label(tmp_path):
    path = write_csv(tmp_path / "metrics.csv", score_rows(CASES))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[0] == {"case": "a", "label": "liver", "dice": "0.9", "hd95": "3.0"}


def test_json_has_null_where_there_is_no_number(tmp_path):
    path = write_json(tmp_path / "s.json", {"a": math.nan, "b": [math.inf, np.float32(0.5)], "c": {"d": np.int64(3)}})
    assert json.loads(path.read_text()) == {"a": None, "b": [None, 0.5], "c": {"d": 3}}


def test_long_case_names_leave_room_for_the_values():
    cases = {"0" * 64: {"nucleus": {"dice": 0.875}}}
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(score_table(cases, metrics=["dice"], title="t"))
    assert "0.875" in console.export_text()
