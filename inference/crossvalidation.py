"""Every case predicted once, by the networks of the fold that kept it for validation."""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imaging import Volume, read_label
from inference.decision import Decision, decide, load_decision, save_decision
from inference.predicted import Answered, Predicted, answer_with, predict_tasks, prediction_ledger
from inference.reading import Loaded
from inference.scored import Scored
from inference.scoring import Policy
from inference.segmenter import Segmenter
from inference.tasks import Cohort, Task

DECISION = "postprocessing.json"


def predict_folds(
    cohorts: Sequence[Cohort],
    open_folds: Callable[[], Sequence[Segmenter]],
    *,
    policy: Policy,
    folder: pathlib.Path,
    settings: Mapping[str, Any],
    on_case: Callable[[str], None] | None = None,
) -> Predicted:
    """Predicts the validation cases of every fold.

    A case that was finished with the same settings, by an earlier call that was killed or not, is not done again.

    Args:
        cohorts: The validation cases of each fold.
        open_folds: The segmenter of each fold; called when the first case has to be predicted.
        policy: Names of the classes; whether probabilities are judged.
        folder: Labels and progress go there.
        settings: Whatever predictions depend on: weights, how they are applied; plain JSON types.
        on_case: Called with the name of every case that came to an end.
    """
    ledger = prediction_ledger(folder, policy, settings)
    opened = functools.cache(open_folds)
    found = Predicted()
    for fold, cohort in enumerate(cohorts):

        def answer(task: Task, loaded: Loaded, fold: int = fold) -> Answered:
            return answer_with(opened()[fold], record=policy.details.calibration)(task, loaded)

        more = predict_tasks(
            cohort.tasks, answer, policy=policy, folder=folder / "predictions", ledger=ledger, on_case=on_case
        )
        found.update(more)
    return found


def decide_once(
    path: pathlib.Path, scored: Scored, tasks: Sequence[Task], *, policy: Policy, settings: Mapping[str, Any]
) -> Decision:
    """The post-processing that the out-of-fold predictions speak for; read again where it was decided on the same.

    Args:
        path: JSON file of the decision.
        scored: The scored cases with the files of their predictions.
        tasks: All cases.
        policy: What is scored.
        settings: Of the predictions.
    """
    there = [task for task in tasks if task.name in scored.files]
    facts = {"settings": settings["weights"], "cases": [task.name for task in there]}
    if path.is_file():
        decision, before = load_decision(path)
        if all(before.get(key) == value for key, value in facts.items()):
            return decision
    pairs = [functools.partial(_pair, task, scored.files[task.name]) for task in there]
    decision = decide(pairs, policy.classes, ignore_label=policy.ignore_label)
    save_decision(path, decision, **facts)
    return decision


def _pair(task: Task, file: pathlib.Path) -> tuple[Volume, Volume]:
    return read_label(file), task.reference()
