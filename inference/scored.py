"""Scoring a cohort: every task is answered, scored on the grid of its reference, and kept if wanted."""

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imaging import Volume, write_volume
from inference.cohort import Steps, run_cohort
from inference.reading import Loaded
from inference.scoring import Policy, Scores, Slicewise, class_counts, pooled_scores, score_case, slicewise
from inference.tasks import Task
from metrics.overlap import Counts

Answer = Callable[[Task, Loaded], Volume]
"""The prediction of a task, on the grid of its original file."""


@dataclass
class Scored:
    """A scored cohort.

    Attributes:
        scores: Case to class to metric.
        pooled: Patient to class to overlap scores of all the patient's voxels; empty where every case is a patient.
        slicewise: The predecessor's figures over all slices.
        files: Case to the file of its prediction, where they were written.
        failed: What could not be scored, and why, by name.
    """

    scores: dict[str, Scores] = field(default_factory=dict[str, Scores])
    pooled: dict[str, Scores] = field(default_factory=dict[str, Scores])
    slicewise: Slicewise = field(default_factory=Slicewise)
    files: dict[str, pathlib.Path] = field(default_factory=dict[str, pathlib.Path])
    failed: dict[str, str] = field(default_factory=dict[str, str])


def score_tasks(
    tasks: Sequence[Task],
    answer: Answer,
    *,
    policy: Policy,
    predictions: pathlib.Path | None = None,
    on_case: Callable[[str], None] | None = None,
) -> Scored:
    """Scores every task; one that fails is listed and the others go on.

    Args:
        tasks: What is scored.
        answer: The prediction of a task.
        policy: What every number depends on.
        predictions: Folder to write the predictions to, with the names of the classes.
        on_case: Called with the name of every task that came to an end.
    """
    scored = Scored()
    counts: dict[str, list[dict[str, Counts]]] = {}

    def write(task: Task, answered: tuple[Volume, Volume]) -> None:
        scored.scores[task.name] = score_case(*answered, policy)
        scored.slicewise += slicewise(*answered)
        counts.setdefault(task.patient, []).append(class_counts(*answered, policy))
        if predictions is not None:
            path = predictions / f"{task.name}{task.suffix}"
            scored.files[task.name] = write_volume(path, answered[0], labels=policy.names)

    steps = Steps(
        name=lambda task: task.name,
        read=lambda task: (task.load(), task.reference()),
        predict=lambda task, read: (answer(task, read[0]), read[1]),
        write=write,
    )
    scored.failed.update(run_cohort(tasks, steps, on_case=on_case).failed)
    if len(counts) < len(scored.scores):
        scored.pooled = pooled_scores(counts)
    return scored
