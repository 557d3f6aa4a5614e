"""Scoring a cohort: every task is answered, scored on the grid of its reference, and kept if wanted."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imaging import Volume, write_volume
from inference.cohort import Steps, run_cohort
from inference.ledger import Ledger
from inference.reading import Loaded, segment
from inference.scoring import Policy, Scores, Slicewise, class_counts, pooled_scores, score_case, slicewise
from inference.segmenter import Segmenter
from inference.tasks import Task
from metrics.overlap import Counts

Answer = Callable[[Task, Loaded], Volume]
"""The prediction of a task, on the grid of its original file."""


def answer_with(segmenter: Segmenter) -> Answer:
    """Predicts each task with this segmenter."""
    return lambda task, loaded: segment(loaded, segmenter, source=task.name)


@dataclass
class Scored:
    """A scored cohort.

    Attributes:
        scores: Case to class to metric.
        pooled: Patient to class to overlap scores of all the patient's voxels; empty where every case is a patient.
        slicewise: The predecessor's figures over all slices.
        files: Case to the file of its prediction, where they were written.
        failed: What could not be scored, and why, by name.
        counts: Patient to the voxel counts of its cases.
    """

    scores: dict[str, Scores] = field(default_factory=dict[str, Scores])
    pooled: dict[str, Scores] = field(default_factory=dict[str, Scores])
    slicewise: Slicewise = field(default_factory=Slicewise)
    files: dict[str, pathlib.Path] = field(default_factory=dict[str, pathlib.Path])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    counts: dict[str, list[dict[str, Counts]]] = field(default_factory=dict[str, list[dict[str, Counts]]])


def score_tasks(
    tasks: Sequence[Task],
    answer: Answer,
    *,
    policy: Policy,
    predictions: pathlib.Path | None = None,
    on_case: Callable[[str], None] | None = None,
    ledger: Ledger | None = None,
    into: Scored | None = None,
) -> Scored:
    """Scores every task; one that fails is listed and the others go on.

    Args:
        tasks: What is scored.
        answer: The prediction of a task.
        policy: What every number depends on.
        predictions: Folder to write the predictions to, with the names of the classes.
        on_case: Called with the name of every task that came to an end.
        ledger: Remembers scores and predictions; what it holds is not done again.
        into: Scores of other tasks, such as other folds, to add to.
    """
    scored = Scored() if into is None else into

    def add(task: Task, facts: Mapping[str, Any]) -> None:
        scored.scores[task.name] = facts["scores"]
        scored.slicewise += Slicewise(*facts["slicewise"])
        counts = {name: Counts(*values) for name, values in facts["counts"].items()}
        scored.counts.setdefault(task.patient, []).append(counts)

    def write(task: Task, answered: tuple[Volume, Volume]) -> None:
        facts = _facts(*answered, policy)
        if predictions is not None:
            path = predictions / f"{task.name}{task.suffix}"
            scored.files[task.name] = write_volume(path, answered[0], labels=policy.names)
            if ledger is not None:
                ledger.add(task.name, task.sources, [path], facts=facts)
        add(task, facts)

    def done(task: Task) -> bool:
        if ledger is None or not ledger.finished(task.name, *task.sources):
            return False
        add(task, ledger.facts(task.name))
        scored.files[task.name] = ledger.files(task.name)[0]
        return True

    steps = Steps(
        name=lambda task: task.name,
        read=lambda task: (task.load(), task.reference()),
        predict=lambda task, read: (answer(task, read[0]), read[1]),
        write=write,
        done=done,
    )
    scored.failed.update(run_cohort(tasks, steps, on_case=on_case).failed)
    if len(scored.counts) < len(scored.scores):
        scored.pooled = pooled_scores(scored.counts)
    return scored


def _facts(prediction: Volume, reference: Volume, policy: Policy) -> dict[str, Any]:
    """Everything that is kept of a scored case, as plain JSON types."""
    scores = score_case(prediction, reference, policy)
    counted = class_counts(prediction, reference, policy)
    return {
        "scores": scores,
        "slicewise": dataclasses.astuple(slicewise(prediction, reference, ignore_label=policy.ignore_label)),
        "counts": {name: dataclasses.astuple(found) for name, found in counted.items()},
    }
