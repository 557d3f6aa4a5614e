"""Every case predicted once, by the networks of the fold that kept it for validation."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imaging import Volume, read_label
from inference.decision import Decision, decide, load_decision, save_decision
from inference.ledger import Ledger
from inference.reading import Loaded, segment
from inference.scored import Scored, score_tasks
from inference.scoring import Policy
from inference.segmenter import Segmenter
from inference.tasks import Cohort, Task

PROGRESS, DECISION = "progress.json", "postprocessing.json"


def cross_validate(
    cohorts: Sequence[Cohort],
    open_folds: Callable[[], Sequence[Segmenter]],
    *,
    policy: Policy,
    folder: pathlib.Path,
    settings: Mapping[str, Any],
    on_case: Callable[[str], None] | None = None,
) -> Scored:
    """Predicts and scores the validation cases of every fold.

    A case that was finished with the same settings, by an earlier call that was killed or not, is not done again.

    Args:
        cohorts: The validation cases of each fold.
        open_folds: The segmenter of each fold; called when the first case has to be predicted.
        policy: What every number depends on.
        folder: Predictions and progress go there.
        settings: Whatever predictions depend on: weights, how they are applied; plain JSON types.
        on_case: Called with the name of every case that came to an end.
    """
    ledger = Ledger(folder / PROGRESS, {**settings, "policy": dataclasses.asdict(policy)})
    opened = functools.cache(open_folds)
    scored = Scored()
    for fold, cohort in enumerate(cohorts):

        def answer(task: Task, loaded: Loaded, fold: int = fold) -> Volume:
            return segment(loaded, opened()[fold], source=task.name)

        scored = score_tasks(
            cohort.tasks,
            answer,
            policy=policy,
            predictions=folder / "predictions",
            on_case=on_case,
            ledger=ledger,
            into=scored,
        )
    return scored


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
