"""Splits: official parts kept, patients never shared, draws repeatable."""

import pathlib

import pytest

from data_generators.manifest import Splits
from data_preparation.collections import CaseSource
from data_preparation.splits import LeakError, check_leaks, make_splits, without_cases


def cases(*rows):
    """Rows of (id, patient, part)."""
    return [CaseSource(name, patient, (pathlib.Path(name),), None, part) for name, patient, part in rows]


def lits(count=131):
    return cases(*((f"volume-{n}", str(n), "test" if n < 28 else "train") for n in range(count)))


def test_lits_keeps_its_test_cases_and_takes_validation_from_training():
    official = make_splits(lits(), validation_share=0.1, seed=5).official
    assert official["test"] == tuple(f"volume-{n}" for n in range(28))
    assert len(official["validation"]) == 10  # round(0.1 * 103)
    assert len(official["train"]) == 93
    assert not set(official["validation"]) & set(official["test"])


def test_the_seed_decides_who_validates():
    draws = [make_splits(lits(), validation_share=0.1, seed=seed).official["validation"] for seed in (5, 5, 6)]
    assert draws[0] == draws[1] != draws[2]


def test_test_cases_are_in_no_fold():
    splits = make_splits(lits(), validation_share=0.1, seed=5)
    assert len(splits.folds) == 5
    assert all("volume-3" not in fold[part] for fold in splits.folds for part in fold)


def test_every_case_validates_in_exactly_one_fold():
    splits = make_splits(lits(), validation_share=0.1, seed=5)
    held_out = [case_id for fold in splits.folds for case_id in fold["validation"]]
    assert sorted(held_out) == sorted(f"volume-{n}" for n in range(28, 131))
    assert [len(fold["validation"]) for fold in splits.folds] == [21, 21, 21, 20, 20]


def test_patients_stay_together():
    rows = [(f"p{patient}_{scan}", f"p{patient}", None) for patient in range(7) for scan in range(3)]
    splits = make_splits(cases(*rows), validation_share=0.3, seed=1)
    for parts in (splits.official, *splits.folds):
        owners = [{case_id.split("_")[0] for case_id in ids} for ids in parts.values()]
        assert sum(map(len, owners)) == len(set().union(*owners)) == 7
    assert len(splits.official["validation"]) == 6  # two of seven patients, three scans each


def test_a_stated_validation_part_is_kept():
    rows = cases(("a", "a", "train"), ("b", "b", "train"), ("c", "c", "validation"))
    assert make_splits(rows, validation_share=0.5, seed=0).official["validation"] == ("c",)


@pytest.mark.parametrize(("count", "folds"), [(1, 0), (2, 2), (3, 3), (9, 5)])
def test_few_patients_give_few_folds(count, folds):
    splits = make_splits(cases(*((str(n), str(n), None) for n in range(count))), validation_share=0.1, seed=0)
    assert len(splits.folds) == folds
    assert len(splits.official["validation"]) == (count > 1)


def test_no_share_means_no_validation():
    assert make_splits(lits(), validation_share=0.0, seed=5).official["validation"] == ()


def test_folds_follow_the_published_rule():
    # KFold(5, shuffle=True, random_state=12345): arange(10) shuffled by RandomState(12345), dealt in order.
    splits = make_splits(cases(*((str(n), str(n), None) for n in range(10))), validation_share=0, seed=12345)
    first = [set(fold["validation"]) for fold in splits.folds]
    assert [sorted(part) for part in first] == [["0", "7"], ["3", "9"], ["4", "6"], ["1", "8"], ["2", "5"]]


def test_a_planted_leak_is_noticed():
    patients = {"a1": "a", "a2": "a", "b1": "b"}
    with pytest.raises(LeakError, match=r"Patient a is in train and in test of the official split \(case a2\)"):
        check_leaks(Splits({"train": ("a1", "b1"), "test": ("a2",)}), patients)
    with pytest.raises(LeakError, match="fold 0"):
        check_leaks(Splits({}, ({"train": ("a1",), "validation": ("a2",)},)), patients)
    check_leaks(Splits({"train": ("a1", "a2"), "test": ("b1",)}), patients)


def test_an_unknown_case_in_a_split_is_noticed():
    with pytest.raises(LeakError, match="case zz"):
        check_leaks(Splits({"train": ("zz",)}), {})


def test_a_patient_in_two_official_parts_is_refused():
    with pytest.raises(LeakError, match=r"Patient p is in train and in test.*PATIENT_PATTERN"):
        make_splits(cases(("a", "p", "train"), ("b", "p", "test")), validation_share=0.1, seed=0)


def test_a_failed_case_moves_nobody_else():
    splits = make_splits(lits(40), validation_share=0.2, seed=5)
    rest = without_cases(splits, ["volume-30"])
    assert rest.official["train"] == tuple(case for case in splits.official["train"] if case != "volume-30")
    assert rest.official["test"] == splits.official["test"]
    assert all("volume-30" not in ids for fold in rest.folds for ids in fold.values())
