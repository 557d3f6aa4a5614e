"""Who trains, who validates, who is tested: by patient, seeded, and checked for leaks."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_generators.manifest import Splits
from data_preparation.collections.base import CaseSource, PreparationError
from data_preparation.collections.parts import drawn_patients

FOLDS = 5
_log = logging.getLogger(__name__)


class LeakError(PreparationError):
    """A patient, or a case, is in two parts of one split."""


def make_splits(cases: Sequence[CaseSource], *, validation_share: float, seed: int, folds: int = FOLDS) -> Splits:
    """The official split, completed, and the folds.

    Official parts (`CaseSource.part`) are kept. Validation patients are drawn from the training patients: at least one,
    as soon as there are two and the share is above 0. Cases without an official part are training cases. The folds
    are made of all patients but the test patients: patients are sorted as text, shuffled and dealt to folds as
    scikit-learn's `KFold(folds, shuffle=True, random_state=seed)` does.

    Args:
        cases: Cases of one collection.
        validation_share: Share of the training patients, 0 to 0.9.
        seed: Decides who is drawn.
        folds: Number of folds; fewer where there are fewer patients, none for a single patient.

    Returns:
        Splits of case ids, in the order of `cases`.

    Raises:
        LeakError: A patient has cases in two official parts.
    """
    patients = sorted({case.patient for case in cases})
    part_of = _official_parts(cases)
    training = [patient for patient in patients if part_of[patient] == "train"]
    if not any(part == "validation" for part in part_of.values()):
        for patient in drawn_patients(training, validation_share, seed):
            part_of[patient] = "validation"
    official = {
        part: tuple(case.id for case in cases if part_of[case.patient] == part)
        for part in ("train", "validation", "test")
    }
    if not official["validation"]:
        _log.warning("No case is left for validation: the collection has %d training patients.", len(training))
    used = [patient for patient in patients if part_of[patient] != "test"]
    splits = Splits(official, _folds(cases, used, folds, seed), seed)
    check_leaks(splits, {case.id: case.patient for case in cases})
    return splits


def check_leaks(splits: Splits, patient_of: Mapping[str, str]) -> None:
    """Refuses splits in which a patient is in two parts.

    Args:
        splits: The official split and the folds; each is checked by itself.
        patient_of: Patient by case id.

    Raises:
        LeakError: Names the split, the patient and the two parts; or a case id without a patient.
    """
    for name, parts in [("official split", splits.official), *((f"fold {i}", f) for i, f in enumerate(splits.folds))]:
        seen: dict[str, str] = {}
        for part, ids in parts.items():
            for case_id in ids:
                patient = patient_of.get(case_id)
                if patient is None:
                    raise LeakError(f"The {name} names case {case_id}, which the collection does not have.")
                if seen.setdefault(patient, part) != part:
                    raise LeakError(
                        f"Patient {patient} is in {seen[patient]} and in {part} of the {name} (case {case_id}): keep "
                        "all cases of a patient in one part; DATA_PREPARATION.PATIENT_PATTERN says who is who."
                    )


def without_cases(splits: Splits, missing: Iterable[str]) -> Splits:
    """The same splits less some cases; everybody else stays where they were."""
    gone = set(missing)

    def rest(parts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {part: tuple(case_id for case_id in ids if case_id not in gone) for part, ids in parts.items()}

    return Splits(rest(splits.official), tuple(rest(fold) for fold in splits.folds), splits.seed)


def _official_parts(cases: Sequence[CaseSource]) -> dict[str, str]:
    part_of: dict[str, str] = {}
    for case in cases:
        part = case.part or "train"
        if part_of.setdefault(case.patient, part) != part:
            raise LeakError(
                f"Patient {case.patient} is in {part_of[case.patient]} and in {part} (case {case.id}): move all images "
                "of a patient to one part, or correct DATA_PREPARATION.PATIENT_PATTERN."
            )
    return part_of


def _folds(
    cases: Sequence[CaseSource], patients: Sequence[str], count: int, seed: int
) -> tuple[dict[str, tuple[str, ...]], ...]:
    count = min(count, len(patients))
    if count < 2:
        return ()
    order = np.arange(len(patients))
    np.random.RandomState(seed).shuffle(order)
    held_out = [{patients[index] for index in part} for part in np.array_split(order, count)]
    return tuple(
        {
            "train": tuple(case.id for case in cases if case.patient in patients and case.patient not in held),
            "validation": tuple(case.id for case in cases if case.patient in held),
        }
        for held in held_out
    )
