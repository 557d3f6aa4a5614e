"""Scores a trained run per case, on the grid of the original files.

python evaluate.py MODEL.TYPE=unet3plus                               # the test part; or EVALUATION.SPLIT=validation
python evaluate.py dataset=lits EVALUATION.PREDICTIONS=<folder>       # label files that exist already

Writes report.html, metrics.csv, summary.json, pictures and the predictions to `evaluation` in the run's folder. Leaves
with 1 where a case failed; the others are scored.
"""

import dataclasses
import logging
import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from configs import ConfigError, entry
from configs.facts import class_count, image_files, model_choice, place, plain, prepared_folder, slices_and_channels
from configs.runs import find_run, with_run
from data_generators.manifest import label_lut, load_manifest, load_splits

if TYPE_CHECKING:
    from data_generators.folders import FolderSource
    from data_generators.records import Case, Manifest, Splits
    from imaging import Volume
    from inference.scored import Answer
    from inference.segmenter import Segmenter
    from inference.tasks import Task
    from reports.evaluation import Evaluation

_LOG = logging.getLogger(__name__)
SHOWN = ("dice", "iou", "precision", "recall", "hd95")


@dataclasses.dataclass(frozen=True)
class Cohort:
    """What is scored: cases, class names with background, slices and channels of an input, name, unit of distances."""

    tasks: "list[Task]"
    names: dict[int, str]
    slices: int
    channels: int
    part: str
    unit: str = "mm"


def check(cfg: DictConfig) -> None:
    """Answers a misspelt network or option before anything slow is imported."""
    from models import check_options

    check_options(*model_choice(cfg))


def main(cfg: DictConfig) -> int:
    """Evaluates, prints the table, lists what failed; 1 if anything did."""
    from rich.console import Console

    from reports.tables import score_table

    evaluation, folder = evaluate(cfg)
    if evaluation.scores:
        present = {metric for scores in evaluation.scores.values() for values in scores.values() for metric in values}
        shown = [metric for metric in SHOWN if metric in present]
        shown += sorted(metric for metric in present if metric.startswith("nsd"))
        count = len(evaluation.scores)
        title = f"{evaluation.facts['part']}: {count} case{'s' * (count != 1)}"
        Console().print(score_table(evaluation.scores, metrics=shown, title=title, notes=evaluation.notes))
    if evaluation.pooled:
        title = "Per patient, all of a patient's images together:"
        Console().print(score_table(evaluation.pooled, metrics=SHOWN[:4], title=title))
    if evaluation.facts.get("slicewise"):
        print(evaluation.facts["slicewise"])
    print(f"Scores and pictures: {folder / 'report.html'}")
    for name, message in evaluation.failed.items():
        print(f"Failed: {name}: {message}", file=sys.stderr)
    return 1 if evaluation.failed or not evaluation.scores else 0


def evaluate(cfg: DictConfig) -> "tuple[Evaluation, pathlib.Path]":
    """Predicts (or reads) and scores every case of a part of the split.

    Args:
        cfg: A composed configuration, see `configs.compose`.

    Returns:
        Scores and failures, and the folder they are written to.

    Raises:
        ValueError: There is no such run, no such part, or no case in it.
    """
    if cfg.EVALUATION.PREDICTIONS is not None:
        return _evaluate_files(cfg)
    from inference.reading import segment

    run = find_run(cfg)
    cfg = with_run(cfg, run)
    cohort = find_cohort(cfg)
    segmenter, weights = _segmenter(cfg, run, cohort)
    folder = run / "evaluation"
    evaluation, files = _score(
        cfg,
        cohort,
        answer=lambda task, loaded: segment(loaded, segmenter, source=task.name),
        predictions=folder / "predictions",
    )
    evaluation.facts = {"run": run.name, "weights": weights.name, **evaluation.facts}
    _finish(cfg, cohort, evaluation, files, folder)
    return evaluation, folder


def _evaluate_files(cfg: DictConfig) -> "tuple[Evaluation, pathlib.Path]":
    """Scores label files that exist already; needs no run."""
    from imaging import read_label
    from inference.scoring import match_predictions

    given = place(cfg, cfg.EVALUATION.PREDICTIONS)
    if not given.is_dir():
        raise ConfigError(f"EVALUATION.PREDICTIONS: {given} is no folder; type the folder of label files.")
    cohort = find_cohort(cfg)
    files, problems = match_predictions(given, [task.name for task in cohort.tasks])
    there = dataclasses.replace(cohort, tasks=[task for task in cohort.tasks if task.name in files])
    evaluation, _ = _score(cfg, there, answer=lambda task, _loaded: read_label(files[task.name]), predictions=None)
    evaluation.failed.update(problems)
    evaluation.facts = {"predictions": str(given), **evaluation.facts}
    _finish(cfg, cohort, evaluation, files, given / "evaluation")
    return evaluation, given / "evaluation"


def find_cohort(cfg: DictConfig) -> Cohort:
    """The cases of the part of the split that the configuration names."""
    root = prepared_folder(cfg)
    return _find_pictures(cfg) if root is None else _find_prepared(cfg, root)


def _find_prepared(cfg: DictConfig, root: pathlib.Path) -> Cohort:
    from inference.tasks import prepared_tasks

    manifest = load_manifest(root)
    table, names = label_lut(manifest.labels, plain(cfg.DATASET.LABELS))
    case_ids, part = _part(cfg, load_splits(root))
    tasks = prepared_tasks(root, case_ids, table=table, read_label=_label_reader(cfg, manifest))
    slices, channels = slices_and_channels(cfg, len(manifest.channels))
    return Cohort(tasks, dict(enumerate(names)), slices, channels, f"{manifest.collection}, {part}")


def _part(cfg: DictConfig, splits: "Splits") -> tuple[tuple[str, ...], str]:
    """Case ids and the name of the part. Folds have no test part: their validation cases are scored."""
    wanted = cfg.EVALUATION.SPLIT
    if cfg.FOLD == "all":
        raise ConfigError("FOLD=all is not evaluated at once: type FOLD=0, then 1 and so on.")
    if cfg.FOLD is None and cfg.DATASET.SPLIT == "official":
        parts, place_of = splits.official, "the official split"
    else:
        parts, place_of = splits.fold(int(cfg.FOLD or 0)), f"fold {int(cfg.FOLD or 0)}"
    if not parts.get(wanted) and wanted == "test" and parts.get("validation"):
        _LOG.warning("There are no test cases in %s: its validation cases are scored.", place_of)
        wanted = "validation"
    if not parts.get(wanted):
        having = ", ".join(f"{name} ({len(ids)})" for name, ids in parts.items() if ids)
        raise ConfigError(f"There are no {wanted} cases in {place_of}, only {having}: type EVALUATION.SPLIT=...")
    return parts[wanted], f"{wanted} cases of {place_of}"


def _label_reader(cfg: DictConfig, manifest: "Manifest") -> "Callable[[Case], Volume | None]":
    """Reads the original label of a prepared case as its preparation did."""
    from data_preparation.collections import CaseSource, original_label_reader

    read = original_label_reader(manifest, mask_threshold=cfg.DATA_PREPARATION.MASK_THRESHOLD)

    def read_label(case: "Case") -> "Volume | None":
        if case.label_source is None:
            return None
        images = tuple(pathlib.Path(source.path) for source in case.sources)
        return read(CaseSource(case.id, case.patient, images, pathlib.Path(case.label_source.path)))

    return read_label


def _find_pictures(cfg: DictConfig) -> Cohort:
    from inference.tasks import picture_tasks

    if cfg.DATASET.LABELS is None:
        raise ConfigError("Mask values have no names: type DATASET.LABELS={liver: 1}, or with more classes.")
    table, names = label_lut({}, plain(cfg.DATASET.LABELS))
    source, part = _picture_source(cfg, table)
    return Cohort(picture_tasks(source), dict(enumerate(names)), 1, cfg.INPUT.CHANNELS, part, "pixels")


def _picture_source(cfg: DictConfig, table: Any) -> "tuple[FolderSource, str]":
    """The validation pictures: those of DATASET.VAL, or the patients that training left out."""
    from data_generators.folders import FolderSource
    from inference.reading import picture_options
    from training.data import held_out

    options = picture_options(plain(cfg.PREPROCESS_DATA), channels=cfg.INPUT.CHANNELS, table=table)
    patients = cfg.PREPROCESS_DATA.PATIENT_PATTERN

    def source(part: str) -> FolderSource:
        files = image_files(cfg, part)
        return FolderSource(files.images, files.masks, options=options, patient_pattern=patients)

    images = cfg.DATASET.VAL.IMAGES_PATH
    training = cfg.EVALUATION.SPLIT == "train"
    if images is not None and (not isinstance(images, str) or place(cfg, images).exists()):
        return (source("TRAIN"), "training pictures") if training else (source("VAL"), "validation pictures")
    everything = source("TRAIN")
    held = held_out(everything.patients, share=cfg.DATASET.VALIDATION_SHARE, seed=cfg.SEED)
    chosen = everything.select(np.flatnonzero(held != training))
    return chosen, "training pictures" if training else "pictures of held-out patients"


def _segmenter(cfg: DictConfig, run: pathlib.Path, cohort: Cohort) -> "tuple[Segmenter, pathlib.Path]":
    from inference.loading import checkpoint_path, open_segmenter

    saved = cfg.CALLBACKS.MODEL_CHECKPOINT.PATH
    weights = checkpoint_path(place(cfg, saved) if saved else run / "checkpoints", cfg.CHECKPOINT)
    classes = list(cohort.names.values())[1:]
    spatial = plain(cfg.INPUT.PATCH) or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)
    segmenter = open_segmenter(
        model_choice(cfg),
        weights=weights,
        input_shape=(*spatial, cohort.channels),
        num_classes=class_count(cfg, classes),
        foreground=len(classes),
        options=plain(cfg.INFERENCE),
        slices=cohort.slices,
        mirror=cfg.TTA,
    )
    return segmenter, weights


def _score(
    cfg: DictConfig, cohort: Cohort, *, answer: "Answer", predictions: pathlib.Path | None
) -> "tuple[Evaluation, dict[str, pathlib.Path]]":
    """Scores every task; writes the predictions where a folder is given, and returns their files."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from inference.scored import score_tasks
    from inference.scoring import Policy
    from reports.evaluation import Evaluation

    policy = Policy(
        names=cohort.names,
        tolerance_mm=tuple(float(value) for value in plain(cfg.EVALUATION.TOLERANCE_MM)),
        empty=cfg.EVALUATION.EMPTY,
        ignore_label=cfg.DATASET.IGNORE_LABEL,
        unit=cohort.unit,
    )
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=cfg.VERBOSE == 0, transient=True) as bar:
        row = bar.add_task("Evaluating", total=len(cohort.tasks))
        scored = score_tasks(
            cohort.tasks, answer, policy=policy, predictions=predictions, on_case=lambda _name: bar.advance(row)
        )
    facts = {"part": cohort.part}
    if cfg.EVALUATION.SLICEWISE:
        facts["slicewise"] = scored.slicewise.sentence()
    patients = {task.name: task.patient for task in cohort.tasks}
    evaluation = Evaluation(scored.scores, scored.pooled, patients, scored.failed, policy.notes(), facts)
    return evaluation, scored.files


def _finish(
    cfg: DictConfig, cohort: Cohort, evaluation: "Evaluation", files: dict[str, pathlib.Path], folder: pathlib.Path
) -> None:
    """Writes the scores, the pictures of the worst, median and best cases, and the page."""
    from imaging import read_label
    from inference.reading import as_shown
    from inference.tasks import with_reference
    from reports.evaluation_page import CaseView, write_evaluation
    from reports.label_files import write_label_files

    tasks = {task.name: task for task in cohort.tasks}

    def view(name: str) -> CaseView:
        loaded = with_reference(tasks[name].load(), tasks[name].reference())
        prediction = as_shown(read_label(files[name]), loaded)
        return CaseView(loaded.grey(), prediction, loaded.reference, loaded.spacing_mm)

    run = folder.parent if cfg.EVALUATION.PREDICTIONS is None else None
    if run is not None:
        write_label_files(folder / "predictions", cohort.names)
    write_evaluation(
        evaluation, folder, view=view, names=cohort.names, pictures=cfg.EVALUATION.PICTURES, unit=cohort.unit, run=run
    )


if __name__ == "__main__":
    entry(main, checks=(check,))
