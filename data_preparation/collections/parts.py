"""Who is tested: the cases that a published split holds out, or patients drawn where nothing is published."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from data_preparation.collections.base import CaseSource

TABLES = pathlib.Path(__file__).resolve().parents[1] / "published"
TEST_SHARE = 0.15
_SEED = 12345

Table = Mapping[str, Sequence[str]]


def published_names() -> tuple[str, ...]:
    """What `DATASET.SPLIT` may name: publications whose splits come with the project."""
    return tuple(sorted(path.stem for path in TABLES.glob("*.json")))


@functools.cache
def published_tables(name: str) -> Mapping[str, Table]:
    """The splits of a publication: collection to `train`, `val` and perhaps `test`, as case ids."""
    return json.loads((TABLES / f"{name}.json").read_text(encoding="utf-8"))


def with_published_parts(cases: Sequence[CaseSource], collection: str, *, name: str) -> tuple[CaseSource, ...]:
    """The honest form of a published split whose validation cases are its test cases.

    What was published as validation becomes the test part; cases that were left out validate; everybody else trains.
    A patient whose cases the split does not name trains as well.

    Args:
        cases: Of the collection; parts that they have already stay.
        collection: Key of the table.
        name: Of the publication, see `published_names`.
    """
    table = published_tables(name)[collection]
    part_of = {case_id: "test" for case_id in table["val"]} | dict.fromkeys(table.get("left_out", ()), "validation")
    by_patient = {case.patient: part_of[case.id] for case in cases if case.id in part_of}
    return tuple(dataclasses.replace(case, part=case.part or by_patient.get(case.patient)) for case in cases)


def with_drawn_test(cases: Sequence[CaseSource]) -> tuple[CaseSource, ...]:
    """15 % of the patients, drawn by a fixed seed, as test part: at least one of two, and never all."""
    chosen = set(drawn_patients(sorted({case.patient for case in cases}), TEST_SHARE, _SEED))
    return tuple(dataclasses.replace(case, part="test") if case.patient in chosen else case for case in cases)


def drawn_patients(patients: Sequence[str], share: float, seed: int) -> list[str]:
    """A share of the patients: at least one, as soon as there are two and the share is above 0, and never all."""
    if share <= 0 or len(patients) < 2:
        return []
    count = min(max(1, round(share * len(patients))), len(patients) - 1)
    order = np.random.default_rng(seed).permutation(len(patients))
    return [patients[int(index)] for index in order[:count]]
