"""Scores a trained run per case, on the grid of the original files.

python evaluate.py MODEL.TYPE=unet3plus                               # the test part; or EVALUATION.SPLIT=validation
python evaluate.py MODEL.TYPE=unet FOLD=all                           # every case, by the fold that did not see it
python evaluate.py dataset=lits EVALUATION.PREDICTIONS=<folder>       # label files that exist already

Writes metrics.csv, summary.json, pictures and the predictions to `evaluation` in the run's folder; for all folds in a
folder of their own, with the post-processing they speak for. Leaves with 1 where a case failed; the others are scored.
"""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from configs import ConfigError, entry
from configs.facts import class_count, image_files, model_choice, network_input, place, plain, prepared_folder
from configs.runs import Trained, command, cross_validation, find_trained, weights_folders
from data_generators.manifest import label_lut, load_manifest, load_splits
from data_generators.regions import class_regions

if TYPE_CHECKING:
    from data_generators.folders import FolderSource
    from inference.scored import Answer, Scored
    from inference.scoring import Policy
    from inference.segmenter import Application, Segmenter
    from inference.tasks import Cohort
    from reports.evaluation import Evaluation


def check(cfg: DictConfig) -> None:
    """Answers a misspelt network or option before anything slow is imported."""
    from models import check_options

    check_options(*model_choice(cfg))


def main(cfg: DictConfig) -> int:
    """Evaluates, prints the table, lists what failed; 1 if anything did."""
    from reports.crossvalidation import show_cross_validation
    from reports.evaluation import show

    evaluation, folder = evaluate(cfg)
    show(evaluation, folder)
    if "folds" in evaluation.facts:
        show_cross_validation(evaluation, folder.parents[1])
    for name, message in evaluation.failed.items():
        print(f"Failed: {name}: {message}", file=sys.stderr)
    return 1 if evaluation.failed or not evaluation.scores else 0


def evaluate(cfg: DictConfig) -> "tuple[Evaluation, pathlib.Path]":
    """Predicts (or reads) and scores every case of a part of the split, or with `FOLD=all` of all folds.

    Args:
        cfg: A composed configuration, see `configs.compose`.

    Returns:
        Scores and failures, and the folder they are written to.

    Raises:
        ValueError: There is no such run, no such part, or no case in it.
    """
    if cfg.EVALUATION.PREDICTIONS is not None:
        return _evaluate_files(cfg)
    if cfg.FOLD == "all":
        return _cross_validate(cfg)
    from data_preparation.observers import second_observer_reader
    from inference.pooled import PooledAnswer
    from inference.scored import answer_with

    trained = find_trained(cfg, folds=1)
    cfg, run = trained[0].cfg, trained[0].runs[0]
    cohort = find_cohort(cfg)
    segmenter = _segmenters(trained, cohort)[0]
    pooled = PooledAnswer(segmenter, second_observer_reader(prepared_folder(cfg))) if cfg.EVALUATION.POOLED else None
    folder = run / "evaluation"
    scored = _score(cfg, cohort, answer=pooled or answer_with(segmenter), predictions=folder / "predictions")
    facts = {"run": run.name, "weights": _weights(trained[0])[0].name, **(pooled.report() if pooled else {})}
    evaluation = _evaluation(cfg, cohort, scored, facts)
    _finish(cfg, cohort, evaluation, scored.files, folder)
    return evaluation, folder


def _cross_validate(cfg: DictConfig) -> "tuple[Evaluation, pathlib.Path]":
    """Every case once, by the networks of the fold that kept it for validation."""
    from inference.crossvalidation import DECISION, cross_validate, decide_once
    from inference.ledger import stamp
    from reports.crossvalidation import fold_facts
    from reports.progress import progress

    root = prepared_folder(cfg)
    if root is None:
        raise ConfigError("FOLD=all needs a prepared collection: type DATASET.PREPARED_PATH=... or prepare it.")
    folds = len(load_splits(root).folds)
    trained = find_trained(cfg, folds=folds)
    cfg, typed = trained[0].cfg, cfg
    folder = cross_validation(typed, trained) / "evaluation"
    cohorts = [_find_prepared(cfg, root, fold=fold) for fold in range(folds)]
    tasks = [task for cohort in cohorts for task in cohort.tasks]
    whole = dataclasses.replace(cohorts[0], tasks=tasks, part=f"out of {folds} folds")
    policy, how = _policy(cfg, whole), dataclasses.asdict(_application(cfg, whole))
    settings = {"weights": [[stamp(path) for path in _weights(model)] for model in trained], "how": how}
    with progress("Cross-validating", len(whole.tasks), silent=cfg.VERBOSE == 0) as advance:
        scored = cross_validate(
            cohorts,
            lambda: _segmenters(trained, whole),
            policy=policy,
            folder=folder,
            settings=settings,
            on_case=advance,
        )
    decision = decide_once(folder.parent / DECISION, scored, whole.tasks, policy=policy, settings=settings)
    facts = {
        "runs": [[run.name for run in model.runs] for model in trained],
        "dataset": str(cfg.DATASET.NAME),
        "postprocessing": decision.sentence(),
        "command": command(typed, "predict.py", "FOLD=all", "TTA=True", "INPUT_PATH=<file or folder>"),
        **fold_facts(scored.scores, [[task.name for task in cohort.tasks] for cohort in cohorts]),
    }
    evaluation = _evaluation(cfg, whole, scored, facts)
    _finish(cfg, whole, evaluation, scored.files, folder)
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
    scored = _score(cfg, there, answer=lambda task, _loaded: read_label(files[task.name]), predictions=None)
    scored.failed.update(problems)
    evaluation = _evaluation(cfg, cohort, scored, {"predictions": str(given)})
    _finish(cfg, cohort, evaluation, files, given / "evaluation")
    return evaluation, given / "evaluation"


def find_cohort(cfg: DictConfig) -> "Cohort":
    """The cases of the part of the split that the configuration names."""
    root = prepared_folder(cfg)
    return _find_pictures(cfg) if root is None else _find_prepared(cfg, root)


def _find_prepared(cfg: DictConfig, root: pathlib.Path, *, fold: int | None = None) -> "Cohort":
    """Cases of a prepared collection; of a fold its validation cases."""
    from data_preparation.originals import case_label_reader
    from inference.tasks import Cohort, chosen_cases, prepared_tasks

    manifest, splits = load_manifest(root), load_splits(root)
    table, names = label_lut(manifest.labels, plain(cfg.DATASET.LABELS))
    regions = class_regions(plain(cfg.DATASET.REGIONS), manifest=manifest, table=table, names=names)
    if fold is None and (cfg.FOLD is not None or cfg.DATASET.SPLIT != "official"):
        fold = 0 if cfg.FOLD in (None, "all") else int(cfg.FOLD)
    case_ids, part = chosen_cases(splits, fold=fold, part="validation" if cfg.FOLD == "all" else cfg.EVALUATION.SPLIT)
    read_label = case_label_reader(manifest, mask_threshold=cfg.DATA_PREPARATION.MASK_THRESHOLD)
    tasks = prepared_tasks(root, case_ids, table=table, read_label=read_label)
    shape, slices = network_input(cfg, len(manifest.channels))
    return Cohort(tasks, dict(enumerate(names)), shape, slices, f"{manifest.collection}, {part}", regions=regions)


def _find_pictures(cfg: DictConfig) -> "Cohort":
    from inference.tasks import Cohort, picture_tasks

    if cfg.DATASET.LABELS is None:
        raise ConfigError("Mask values have no names: type DATASET.LABELS={liver: 1}, or with more classes.")
    table, names = label_lut({}, plain(cfg.DATASET.LABELS))
    regions = class_regions(plain(cfg.DATASET.REGIONS), manifest=None, table=table, names=names)
    source, part = _picture_source(cfg, table)
    shape = (*(plain(cfg.INPUT.PATCH) or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)), cfg.INPUT.CHANNELS)
    return Cohort(picture_tasks(source), dict(enumerate(names)), shape, 1, part, "pixels", regions)


def _picture_source(cfg: DictConfig, table: Any) -> "tuple[FolderSource, str]":
    """The validation pictures: those of DATASET.VAL, or the patients that training left out."""
    from data_generators.folders import FolderSource
    from inference.reading import picture_options
    from training.data import held_out

    options = picture_options(plain(cfg.PREPROCESS_DATA), channels=cfg.INPUT.CHANNELS, table=table)
    images, training = cfg.DATASET.VAL.IMAGES_PATH, cfg.EVALUATION.SPLIT == "train"
    given = images is not None and (not isinstance(images, str) or place(cfg, images).exists())
    files = image_files(cfg, "VAL" if given and not training else "TRAIN")
    patients = cfg.PREPROCESS_DATA.PATIENT_PATTERN
    everything = FolderSource(files.images, files.masks, options=options, patient_pattern=patients)
    if given:
        return everything, "training pictures" if training else "validation pictures"
    held = held_out(everything.patients, share=cfg.DATASET.VALIDATION_SHARE, seed=cfg.SEED)
    chosen = everything.select(np.flatnonzero(held != training))
    return chosen, "training pictures" if training else "pictures of held-out patients"


def _application(cfg: DictConfig, cohort: "Cohort") -> "Application":
    """How the network is applied."""
    from inference.segmenter import Application

    rank, classes = len(cohort.input_shape) - 1, [value for value in cohort.names if value]
    return Application.from_options(
        plain(cfg.INFERENCE), rank=rank, classes=classes, slices=cohort.slices, mirror=cfg.TTA
    )


def _segmenters(trained: list[Trained], cohort: "Cohort") -> "list[Segmenter]":
    """One segmenter per fold, or one for a single run; further models are averaged within."""
    from inference.loading import averaged, open_segmenters

    models: list[list[Segmenter]] = []
    for model in trained:
        shape, slices = network_input(model.cfg, cohort.input_shape[-1] // cohort.slices)
        like = dataclasses.replace(cohort, input_shape=shape, slices=slices)
        classes = [name for value, name in cohort.names.items() if value]
        models.append(
            open_segmenters(
                model_choice(model.cfg),
                weights=_weights(model),
                input_shape=shape,
                num_classes=class_count(model.cfg, classes, regions=len(cohort.regions)),
                application=_application(model.cfg, like),
                regions=list(cohort.regions.values()) or None,
            )
        )
    return [averaged(members) for members in zip(*models, strict=True)]


def _weights(model: Trained) -> list[pathlib.Path]:
    """The weights file of each run."""
    from inference.loading import checkpoint_path

    return [checkpoint_path(folder, model.cfg.CHECKPOINT) for folder in weights_folders(model)]


def _policy(cfg: DictConfig, cohort: "Cohort") -> "Policy":
    from inference.scoring import Policy

    return Policy(
        names=cohort.names,
        tolerance_mm=tuple(float(value) for value in plain(cfg.EVALUATION.TOLERANCE_MM)),
        empty=cfg.EVALUATION.EMPTY,
        ignore_label=cfg.DATASET.IGNORE_LABEL,
        unit=cohort.unit,
        regions=cohort.regions,
    )


def _score(cfg: DictConfig, cohort: "Cohort", *, answer: "Answer", predictions: pathlib.Path | None) -> "Scored":
    """Scores every task; writes the predictions where a folder is given."""
    from inference.scored import score_tasks
    from reports.progress import progress

    with progress("Evaluating", len(cohort.tasks), silent=cfg.VERBOSE == 0) as advance:
        return score_tasks(cohort.tasks, answer, policy=_policy(cfg, cohort), predictions=predictions, on_case=advance)


def _evaluation(cfg: DictConfig, cohort: "Cohort", scored: "Scored", facts: dict[str, Any]) -> "Evaluation":
    """What is reported of scored cases."""
    from reports.evaluation import Evaluation

    facts = {**facts, "part": cohort.part}
    if cfg.EVALUATION.SLICEWISE:
        facts["slicewise"] = scored.slicewise.sentence()
    patients = {task.name: task.patient for task in cohort.tasks}
    notes = _policy(cfg, cohort).notes()
    return Evaluation(scored.scores, scored.pooled, patients, dict(scored.failed), notes, facts)


def _finish(
    cfg: DictConfig, cohort: "Cohort", evaluation: "Evaluation", files: dict[str, pathlib.Path], folder: pathlib.Path
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
