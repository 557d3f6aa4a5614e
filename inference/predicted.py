"""The network's part of an evaluation: every task predicted once, its label written, its probabilities judged."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imaging import Volume, write_volume
from inference.calibration import case_calibration
from inference.cohort import Steps, run_cohort
from inference.ledger import Ledger
from inference.probabilities import Probabilities, segment_recorded
from inference.reading import Loaded, segment
from inference.scoring import Policy
from inference.segmenter import Segmenter
from inference.tasks import Task
from metrics.calibration import Reliability
from metrics.details import Details

PROGRESS = "progress.json"
Answered = tuple[Volume, Probabilities | None]
Answer = Callable[[Task, Loaded], Answered]
"""The prediction of a task, on the grid of its original file, and its probabilities where they are kept."""


def answer_with(segmenter: Segmenter, *, record: bool) -> Answer:
    """Predicts each task with this segmenter; `record`: and keeps the probabilities."""

    def answer(task: Task, loaded: Loaded) -> Answered:
        if record:
            return segment_recorded(loaded, segmenter, source=task.name)
        return segment(loaded, segmenter, source=task.name), None

    return answer


@dataclass
class Predicted:
    """What came out.

    Attributes:
        files: Case to the file of its prediction.
        calibration: Case to its voxels by confidence, where probabilities were kept.
        failed: What could not be predicted, and why, by name.
        kept: Folder of probabilities that lie in files, see `inference.kept`.
    """

    files: dict[str, pathlib.Path] = field(default_factory=dict[str, pathlib.Path])
    calibration: dict[str, dict[str, Reliability]] = field(default_factory=dict[str, dict[str, Reliability]])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    kept: pathlib.Path | None = None

    def update(self, other: "Predicted") -> None:
        """Takes in what came out of other tasks."""
        self.files.update(other.files)
        self.calibration.update(other.calibration)
        self.failed.update(other.failed)


def prediction_ledger(folder: pathlib.Path, policy: Policy, settings: Mapping[str, Any]) -> Ledger:
    """What remembers predictions in an evaluation's folder.

    Args:
        folder: Of the evaluation; labels lie below it.
        policy: Calibration, where it is measured, depends on the classes.
        settings: Whatever predictions depend on: weights, how they are applied; plain JSON types.
    """
    judged = {"classes": policy.scored, "ignore": policy.ignore_label} if policy.details.calibration else None
    return Ledger(folder / PROGRESS, {**settings, "names": policy.names, "calibration": judged})


def predict_tasks(
    tasks: Sequence[Task],
    answer: Answer,
    *,
    policy: Policy,
    folder: pathlib.Path,
    ledger: Ledger | None = None,
    on_case: Callable[[str], None] | None = None,
) -> Predicted:
    """Predicts every task; one that fails is listed and the others go on.

    Args:
        tasks: What is predicted.
        answer: The prediction of a task.
        policy: Names of the classes; whether probabilities are judged.
        folder: Labels are written there.
        ledger: Remembers what was predicted; that is not done again.
        on_case: Called with the name of every task that came to an end.
    """
    found = Predicted()

    def predict(task: Task, read: tuple[Loaded, Volume | None]) -> tuple[Volume, dict[str, Reliability]]:
        # Judged here and not in the writing thread: the probabilities of one case are in memory, not those of two.
        label, probabilities = answer(task, read[0])
        if probabilities is None or read[1] is None:
            return label, {}
        return label, case_calibration(
            probabilities, read[1], label, classes=policy.scored, ignore_label=policy.ignore_label
        )

    def write(task: Task, answered: tuple[Volume, dict[str, Reliability]]) -> None:
        label, calibration = answered
        path = write_volume(folder / f"{task.name}{task.suffix}", label, labels=policy.names)
        if ledger is not None:
            ledger.add(task.name, task.sources, [path], facts=Details(calibration=calibration).to_dict())
        found.files[task.name], found.calibration[task.name] = path, calibration

    def done(task: Task) -> bool:
        if ledger is None or not ledger.finished(task.name, *task.sources):
            return False
        found.files[task.name] = ledger.files(task.name)[0]
        found.calibration[task.name] = dict(Details.from_dict(ledger.facts(task.name)).calibration)
        return True

    steps = Steps(
        name=lambda task: task.name,
        read=lambda task: (task.load(), task.reference() if policy.details.calibration else None),
        predict=predict,
        write=write,
        done=done,
    )
    found.failed = run_cohort(tasks, steps, on_case=on_case).failed
    return found
