"""Scores as a publication defines them, beside our own."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.cohorts import make_policy

if TYPE_CHECKING:
    from inference.decision import Decision
    from inference.tasks import Cohort

_DIFFERS = (
    "UNETR++'s tables: HD95 in voxels whatever their size, by MedPy's definition; a class that is empty in one of both "
    "costs 0, in both scores Dice 1; of Synapse 8 of 13 organs; after keeping largest components chosen on these cases."
)


def published_facts(cfg: DictConfig, cohort: "Cohort", files: Mapping[str, pathlib.Path]) -> dict[str, Any]:
    """The scores of `EVALUATION.PROTOCOL`, before and after post-processing; of a UNETR++ without it, how they differ.

    Args:
        cfg: Says the protocol.
        cohort: The cases, with their references.
        files: Case to its predicted label file.

    Returns:
        For the summary: `published` with every mean and case, and `sentences` for the page.

    Raises:
        ValueError: The protocol's classes are not there.
    """
    if cfg.EVALUATION.PROTOCOL is None:
        own = cfg.MODEL.TYPE == "unetr_plusplus"
        return {"sentences": [f"{_DIFFERS} EVALUATION.PROTOCOL=unetr_plusplus reports these too."]} if own else {}
    if not files:
        return {}
    from inference.decision import decide
    from metrics.unetr_plusplus import published_classes

    policy = make_policy(cfg, cohort)
    everything = dict(policy.details.sets) or policy.classes  # BraTS is published by its overlapping regions
    classes = published_classes(str(cfg.DATASET.COLLECTION), dict(cohort.declared) or everything)
    reading, ignore = _pairs(cohort, files), policy.ignore_label
    decision = decide(list(reading.values()), everything, ignore_label=ignore)
    tables = {
        "before": _scores(reading, classes, None, ignore_label=ignore),
        "after": _scores(reading, classes, decision, ignore_label=ignore),
    }
    said = [f"{_DIFFERS} They are below; everything else is as written above.", decision.sentence()]
    for when, table in tables.items():
        means = ", ".join(f"{name} {found['dice']:.4f}" for name, found in table["means"].items())
        distance = f"HD95 {table['means']['mean']['hd95_voxels']:.2f} voxels"
        said.append(f"UNETR++'s definition {when} post-processing: Dice {means}; {distance}.")
    return {"published": {"protocol": "unetr_plusplus", **tables, **decision.to_dict()}, "sentences": said}


def _pairs(cohort: "Cohort", files: Mapping[str, pathlib.Path]) -> dict[str, Any]:
    """Case to what reads its prediction and its reference; one case is in memory at a time."""
    from imaging import read_label

    def reader(task: Any) -> Any:
        return lambda: (read_label(files[task.name]), task.reference())

    return {task.name: reader(task) for task in cohort.tasks if task.name in files}


def _scores(
    reading: Mapping[str, Any],
    classes: Mapping[str, tuple[int, ...]],
    decision: "Decision | None",
    *,
    ignore_label: int,
) -> dict[str, Any]:
    """Means and cases, after the decision where there is one."""
    from inference.postprocess import keep_largest
    from metrics.unetr_plusplus import published_case, published_means

    cases: dict[str, dict[str, dict[str, float]]] = {}
    for name, read in reading.items():
        prediction, reference = (volume.array for volume in read())
        for values in () if decision is None else decision.largest_of:
            prediction = keep_largest(prediction, values)
        cases[name] = published_case(reference, prediction, classes, ignore_label=ignore_label)
    return {"means": published_means(cases), "cases": cases}
