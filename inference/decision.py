"""Post-processing decided on predictions of cases that the networks never saw, as nnU-Net does.

First: is everything but the largest connected part of all foreground removed? Only if the mean Dice rises and that of
no class falls. Then for each class or region alone: only if its own Dice rises. Source: Isensee et al., Nature Methods
2021. Departures: the decision is JSON, not a pickle, and says what it rests on.
"""

import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imaging import Volume
from inference.postprocess import keep_largest

Pair = Callable[[], tuple[Volume, Volume]]
"""Reads a prediction and its reference, classes on one grid."""


@dataclass(frozen=True)
class Decision:
    """What is done to predicted labels.

    Attributes:
        largest_of: Sets of class values of which only the largest connected part is kept, in order.
        names: What each set is called.
        dice: Mean Dice per class `"before"` and `"after"`.
    """

    largest_of: tuple[tuple[int, ...], ...] = ()
    names: tuple[str, ...] = ()
    dice: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, dict[str, float]])

    def sentence(self) -> str:
        """What was decided, in words."""
        if not self.names:
            return "Post-processing: none, removing smaller components does not raise the Dice."
        gains = {name: self.dice["after"][name] - self.dice["before"][name] for name in self.dice["after"]}
        changed = ", ".join(f"{name} +{gain:.4f}" for name, gain in gains.items() if gain > 0)
        return f"Post-processing: only the largest component of {', then of '.join(self.names)} ({changed})."

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        steps = [
            {"name": name, "values": list(values)} for name, values in zip(self.names, self.largest_of, strict=True)
        ]
        return {"keep_largest_component": steps, "dice": {when: dict(means) for when, means in self.dice.items()}}


def decide(pairs: Sequence[Pair], classes: Mapping[str, Sequence[int]], *, ignore_label: int = 255) -> Decision:
    """Decides which small components are removed.

    Args:
        pairs: One per case; each is read anew for every question, so that one case is in memory at a time.
        classes: Name to values of everything that is scored: classes, or regions, which may overlap.
        ignore_label: Reference voxels of this value do not count.

    Returns:
        The decision; nothing is removed where there is no case.
    """
    everything = tuple(sorted({value for values in classes.values() for value in values}))
    rest = {name: tuple(values) for name, values in classes.items()} if len(classes) > 1 else {}
    overlapping = sum(map(len, rest.values())) > len(everything)
    questions = [[(name, values)] for name, values in rest.items()] if overlapping else [list(rest.items())]
    accepted: list[tuple[str, tuple[int, ...]]] = []
    before, (changed,) = _compare(pairs, classes, accepted, [everything], ignore_label)
    start = current = before
    if _mean(changed) > _mean(before) and not any(changed[name] < before[name] for name in classes):
        accepted.append(("all foreground", everything))
        current = changed
    for question in questions:
        if not question:
            continue
        current, found = _compare(pairs, classes, accepted, [values for _, values in question], ignore_label)
        accepted += [step for step, dice in zip(question, found, strict=True) if dice[step[0]] > current[step[0]]]
    if accepted:
        current, _ = _compare(pairs, classes, accepted, [], ignore_label)
    names, sets = tuple(name for name, _ in accepted), tuple(values for _, values in accepted)
    return Decision(sets, names, {"before": start, "after": current})


def save_decision(path: pathlib.Path, decision: Decision, **facts: Any) -> None:
    """Writes the decision as JSON, with what it rests on."""
    from imaging.atomic import replacing

    with replacing(path) as partial:
        partial.write_text(json.dumps({**decision.to_dict(), **facts}, indent=1) + "\n", encoding="utf-8")


def load_decision(path: pathlib.Path) -> tuple[Decision, dict[str, Any]]:
    """Reads a decision and what it rests on.

    Raises:
        ValueError: The file is missing or damaged.
    """
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        steps = entry["keep_largest_component"]
        sets = tuple(tuple(int(value) for value in step["values"]) for step in steps)
        return Decision(sets, tuple(str(step["name"]) for step in steps), entry.get("dice", {})), entry
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no post-processing ({error}): run evaluate.py FOLD=all again, or type "
            "INFERENCE.POSTPROCESSING=null."
        ) from error


def _compare(
    pairs: Sequence[Pair],
    classes: Mapping[str, Sequence[int]],
    accepted: Sequence[tuple[str, tuple[int, ...]]],
    candidates: Sequence[tuple[int, ...]],
    ignore_label: int,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Mean Dice per class after the accepted steps, and after each candidate step on top of them."""
    rows: list[list[dict[str, float]]] = []
    for pair in pairs:
        prediction, reference = (volume.array for volume in pair())
        for _, values in accepted:
            prediction = keep_largest(prediction, values)
        counted = reference != ignore_label
        labels = [prediction, *(keep_largest(prediction, values) for values in candidates)]
        rows.append([_dice(label, reference, counted, classes) for label in labels])
    means = [
        {name: _nanmean([row[place][name] for row in rows]) for name in classes} for place in range(1 + len(candidates))
    ]
    return means[0], means[1:]


def _dice(
    label: np.ndarray, reference: np.ndarray, counted: np.ndarray, classes: Mapping[str, Sequence[int]]
) -> dict[str, float]:
    scores: dict[str, float] = {}
    for name, values in classes.items():
        said, true = np.isin(label, values) & counted, np.isin(reference, values) & counted
        total = int(np.count_nonzero(said)) + int(np.count_nonzero(true))
        scores[name] = 2 * int(np.count_nonzero(said & true)) / total if total else math.nan
    return scores


def _nanmean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _mean(scores: Mapping[str, float]) -> float:
    return _nanmean(list(scores.values()))
