"""Splits that come with the project: the published numbers, their honest form, and how DATASET.SPLIT names them."""

import json

import pytest

from data_preparation.collections import CaseSource, PreparationError
from data_preparation.collections.parts import published_names, published_tables, with_drawn_test, with_published_parts
from data_preparation.planned import FOLD_SEED
from data_preparation.published_splits import published_splits
from data_preparation.splits import make_splits

SIZES = {"synapse": (18, 12), "btcv": (24, 6), "acdc": (160, 40), "brats": (387, 73), "lung": (50, 13)}
KEPT = {"tumor": "brats"}


def sources(ids):
    return [CaseSource(name, name.split("_frame")[0], (), None) for name in ids]


def everybody(collection):
    return sources(sorted(name for ids in published_tables("unetr_plusplus")[collection].values() for name in ids))


def test_the_numbers_are_those_of_the_originals(shared):
    recorded = json.loads((shared / "fixtures/unetr_plusplus_splits.json").read_text())
    tables = published_tables("unetr_plusplus")
    for name in ("synapse", "acdc", "lung", "tumor"):
        for part in ("train", "val"):
            assert tables[KEPT.get(name, name)][part] == recorded[name][part]
    assert tables["brats"]["left_out"] == recorded["tumor"]["heldout_24_in_nnformer_test"]
    first = published_tables("unetr_plusplus_70_10_20")["acdc"]
    assert {part: first[part] for part in ("train", "val")} == recorded["acdc_nnformer"]
    assert first["test"] == recorded["acdc"]["val"]


@pytest.mark.parametrize("collection", SIZES)
def test_a_published_split_is_taken_by_name(collection):
    splits = published_splits("unetr_plusplus", everybody(collection), collection=collection)
    assert len(splits.folds) == 1
    assert (len(splits.folds[0]["train"]), len(splits.folds[0]["validation"])) == SIZES[collection]


def test_btcv_and_synapse_split_the_same_cases_differently():
    parts = [published_splits("unetr_plusplus", everybody("btcv"), collection=name) for name in ("synapse", "btcv")]
    assert [len(splits.folds[0]["validation"]) for splits in parts] == [12, 6]


def test_the_papers_ten_validation_patients_stand_apart_from_its_twenty_test_patients():
    splits = published_splits("unetr_plusplus_70_10_20", everybody("acdc"), collection="acdc")
    patients = {part: {name.split("_")[0] for name in ids} for part, ids in splits.official.items()}
    assert {part: len(ids) for part, ids in patients.items()} == {"train": 70, "validation": 10, "test": 20}


@pytest.mark.parametrize("collection", SIZES)
def test_by_default_nobody_who_is_tested_chooses_the_weights(collection):
    cases = with_published_parts(everybody(collection), collection, name="unetr_plusplus")
    splits = make_splits(cases, validation_share=0.1, seed=FOLD_SEED)
    published = published_tables("unetr_plusplus")[collection]
    assert set(splits.official["test"]) == set(published["val"])
    assert splits.official["validation"]
    assert set(splits.official["train"]) <= set(published["train"])
    assert all(not set(ids) & set(published["val"]) for fold in splits.folds for ids in fold.values())


def test_fifteen_percent_of_the_patients_are_drawn_where_nothing_is_published():
    cases = with_drawn_test(sources([f"p{index:02d}" for index in range(20)]))
    assert sum(case.part == "test" for case in cases) == 3
    assert with_drawn_test(cases[:1])[0].part == cases[0].part
    assert with_drawn_test(cases) == with_drawn_test(tuple(reversed(cases)))[::-1]


def test_a_misspelt_name_lists_the_names():
    with pytest.raises(PreparationError, match=r"type official, folds, unetr_plusplus, .*or a JSON file"):
        published_splits("unetr_plus", everybody("lung"), collection="lung")


def test_every_table_is_free_of_leaks():
    for name in published_names():
        for collection in published_tables(name):
            cases = sources(sorted(i for ids in published_tables(name)[collection].values() for i in ids))
            published_splits(f"{name}#{collection}", cases)
