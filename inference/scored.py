"""Scoring a cohort: every prediction is scored on the grid of its reference, several cases beside each other."""

import contextlib
import dataclasses
import glob
import pathlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imaging import Volume, read_label
from inference.calibration import case_calibration
from inference.details import case_details
from inference.kept import read_probabilities
from inference.ledger import Ledger
from inference.parallel import in_parallel
from inference.predicted import Predicted
from inference.scoring import Policy, Scores, Slicewise, class_counts, pooled_scores, score_case, slicewise
from inference.tasks import Task
from metrics.calibration import Reliability
from metrics.details import Details
from metrics.overlap import Counts

_SECONDS_BETWEEN_SAVES = 2.0


@dataclass
class Scored:
    """A scored cohort.

    Attributes:
        scores: Case to class to metric.
        pooled: Patient to class to overlap scores of all the patient's voxels; empty where every case is a patient.
        slicewise: The predecessor's figures over all slices.
        files: Case to the file of its prediction.
        failed: What could not be scored, and why, by name.
        counts: Patient to the voxel counts of its cases.
        details: Case to its lesions, challenge scores and calibration.
    """

    scores: dict[str, Scores] = field(default_factory=dict[str, Scores])
    pooled: dict[str, Scores] = field(default_factory=dict[str, Scores])
    slicewise: Slicewise = field(default_factory=Slicewise)
    files: dict[str, pathlib.Path] = field(default_factory=dict[str, pathlib.Path])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    counts: dict[str, list[dict[str, Counts]]] = field(default_factory=dict[str, list[dict[str, Counts]]])
    details: dict[str, Details] = field(default_factory=dict[str, Details])


def score_predicted(
    tasks: Sequence[Task],
    predicted: Predicted,
    *,
    policy: Policy,
    workers: int = 1,
    ledger: Ledger | None = None,
    on_case: Callable[[str], None] | None = None,
) -> Scored:
    """Scores predictions that lie in files; one that fails is listed and the others go on.

    Args:
        tasks: What is scored; those without a prediction are listed where they failed before.
        predicted: Their files, and the calibration that was measured on the way.
        policy: What every number depends on.
        workers: Processes, see `parallel.in_parallel`; the result does not depend on it.
        ledger: Remembers scores; a case whose files did not change is not scored again.
        on_case: Called with the name of every case that came to an end.
    """
    scored = Scored(files=dict(predicted.files), failed=dict(predicted.failed))
    there = [task for task in tasks if task.name in predicted.files]
    known = _remembered(there, predicted, ledger)
    left = [task for task in there if task.name not in known]
    told = on_case or (lambda _name: None)
    for name in known:
        told(name)
    kept = predicted.kept if policy.details.calibration else None
    jobs = [_Job(task, predicted.files[task.name], policy, kept) for task in left]
    with _remembering(ledger, predicted) as remember:
        for job, facts, problem in in_parallel(_score_file, jobs, workers=workers):
            if problem is None:
                known[job.task.name] = facts
                remember(job.task, facts)
            else:
                scored.failed[job.task.name] = problem
            told(job.task.name)
    for task in there:
        if task.name in known:
            _add(scored, task, known[task.name], predicted.calibration.get(task.name, {}), policy)
    if len(scored.counts) < len(scored.scores):
        scored.pooled = pooled_scores(scored.counts)
    return scored


@dataclass(frozen=True)
class _Job:
    """What a process needs to score a case."""

    task: Task
    file: pathlib.Path
    policy: Policy
    kept: pathlib.Path | None


def _remembered(tasks: Sequence[Task], predicted: Predicted, ledger: Ledger | None) -> dict[str, Any]:
    """What was scored before, by case."""
    if ledger is None:
        return {}
    finished = (task for task in tasks if ledger.finished(task.name, *_sources(task, predicted)))
    return {task.name: ledger.facts(task.name) for task in finished}


@contextlib.contextmanager
def _remembering(
    ledger: Ledger | None, predicted: Predicted
) -> Generator[Callable[[Task, Mapping[str, Any]], None], None, None]:
    """Takes what was scored into the ledger, which is written now and then and at the end."""
    saved, added = time.monotonic(), False

    def remember(task: Task, facts: Mapping[str, Any]) -> None:
        nonlocal saved, added
        if ledger is None:
            return
        late = time.monotonic() - saved > _SECONDS_BETWEEN_SAVES
        saved, added = time.monotonic() if late else saved, True
        ledger.add(task.name, _sources(task, predicted), [], facts=facts, save=late)

    try:
        yield remember
    finally:
        if ledger is not None and added:
            ledger.save()


def _sources(task: Task, predicted: Predicted) -> tuple[pathlib.Path, ...]:
    """The files that the score of a task depends on."""
    kept = () if predicted.kept is None else sorted(predicted.kept.glob(f"{glob.escape(task.name)}_*"))
    return (predicted.files[task.name], *task.sources, *kept)


def _add(
    scored: Scored, task: Task, facts: Mapping[str, Any], calibration: Mapping[str, Reliability], policy: Policy
) -> None:
    """Takes a case in; in the order of the tasks, so that sums do not depend on who was ready first."""
    details = Details.from_dict(facts["details"])
    details = dataclasses.replace(details, calibration=calibration or details.calibration)
    columns = details.scores(policy.details.lesion_iou)
    scored.scores[task.name] = {
        label: {**values, **columns.get(label, {})} for label, values in facts["scores"].items()
    }
    scored.details[task.name] = details
    scored.slicewise += Slicewise(*facts["slicewise"])
    counts = {name: Counts(*values) for name, values in facts["counts"].items()}
    scored.counts.setdefault(task.patient, []).append(counts)


def _score_file(job: _Job) -> dict[str, Any]:
    """Everything that is kept of a scored case, as plain JSON types."""
    policy, kept = job.policy, job.kept
    prediction, reference = read_label(job.file), job.task.reference()
    scores = score_case(prediction, reference, policy)
    details = case_details(
        reference.array,
        prediction.array,
        policy.details,
        spacing_mm=reference.spacing_mm,
        classes=policy.scored,
        ignore_label=policy.ignore_label,
    )
    if kept is not None:
        calibration = _kept_calibration(kept / job.task.name, reference, prediction, policy)
        details = dataclasses.replace(details, calibration=calibration)
    counted = class_counts(prediction, reference, policy)
    return {
        "scores": scores,
        "slicewise": dataclasses.astuple(slicewise(prediction, reference, ignore_label=policy.ignore_label)),
        "counts": {name: dataclasses.astuple(found) for name, found in counted.items()},
        "details": details.to_dict(),
    }


def _kept_calibration(
    stem: pathlib.Path, reference: Volume, prediction: Volume, policy: Policy
) -> dict[str, Reliability]:
    """Calibration of probabilities that lie in files; nothing where there are none."""
    regions = list(policy.regions.values()) or None
    found = read_probabilities(stem.parent, stem.name, reference, classes=policy.classes, regions=regions)
    if found is None:
        return {}
    return case_calibration(found, reference, prediction, classes=policy.scored, ignore_label=policy.ignore_label)
