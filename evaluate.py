"""Scores a trained run per case, on the grid of the original files.

python evaluate.py MODEL.TYPE=unet3plus                               # the test part; or EVALUATION.SPLIT=validation
python evaluate.py MODEL.TYPE=unet FOLD=all                           # every case, by the fold that did not see it
python evaluate.py FOLD=all EVALUATION.FIND_BEST=True                 # all networks and pairs; prints the best
python evaluate.py experiment=universal_unet DOMAIN=heart             # one domain of a network for many, or all in turn
python evaluate.py dataset=lits EVALUATION.PREDICTIONS=<folder>       # label files that exist already

Writes metrics.csv, summary.json, report.html, pictures and the predictions to `evaluation` in the run's folder; for all
folds in a folder of their own, with the post-processing they speak for. What was predicted and scored before from the
same files is not done again. JSON=True prints one JSON document instead of words.

Exit code 0: every case is scored; 1: some failed, they are listed, the others are scored; 2: the command does not fit.
"""

import dataclasses
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.applying import make_application, open_model, weights_files
from commands.best import candidates
from commands.cascade import cascaded, with_earlier
from commands.cohorts import find_cohort, find_prepared, make_policy
from commands.domain_runs import check_network, each_domain, find_models, narrowed, results_folder
from commands.domains import domain_configuration
from commands.protocols import published_facts
from commands.splits import find_splits
from configs import ConfigError, entry
from configs.facts import place, prepared_folder
from configs.runs import Trained, command, cross_validation

if TYPE_CHECKING:
    from inference.predicted import Predicted
    from inference.scored import Scored
    from inference.segmenter import Segmenter
    from inference.tasks import Cohort
    from reports.evaluation import Evaluation


def check(cfg: DictConfig) -> None:
    """Answers a misspelt network or option before anything slow is imported."""
    check_network(cfg)


def main(cfg: DictConfig) -> int:
    """Evaluates, prints the table, lists what failed; 1 if anything did. Domains of one network come one by one."""
    if cfg.EVALUATION.FIND_BEST:
        return max(main(one) for one in candidates(cfg))
    from reports.crossvalidation import show_cross_validation
    from reports.domains import show_domains
    from reports.evaluation import show

    found: dict[str, Evaluation] = {}
    said: list[dict[str, Any]] = []
    for one in each_domain(cfg):
        evaluation, folder = evaluate(one)
        found[str(one.DOMAIN)] = evaluation
        if cfg.JSON:
            said.append({"folder": str(folder), **json.loads((folder / "summary.json").read_text(encoding="utf-8"))})
            continue
        show(evaluation, folder)
        if "folds" in evaluation.facts:
            show_cross_validation(evaluation, folder.parents[1])
        for name, message in evaluation.failed.items():
            print(f"Failed: {name}: {message}", file=sys.stderr)
    if cfg.JSON:
        print(json.dumps(said[0] if len(said) == 1 else said, indent=1, ensure_ascii=False))
    elif len(found) > 1:
        show_domains(found)
    return 1 if any(evaluation.failed or not evaluation.scores for evaluation in found.values()) else 0


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
    from inference.predicted import answer_with, predict_tasks, prediction_ledger

    trained = find_models(cfg, folds=1)
    cfg, run = trained[0].cfg, trained[0].runs[0]
    cohort = with_earlier(find_cohort(cfg), trained)
    policy, folder = make_policy(cfg, cohort), results_folder(run, "evaluation", cfg)
    segmenter = _segmenters(trained, cohort)[0]
    pooled = PooledAnswer(segmenter, second_observer_reader(prepared_folder(cfg))) if cfg.EVALUATION.POOLED else None
    answer = pooled.recorded if pooled else answer_with(segmenter, record=policy.details.calibration)
    # Pooled pixels are counted on the way, so every case is predicted.
    ledger = None if pooled else prediction_ledger(folder, policy, _settings(trained, cohort))
    with _progress(cfg, "Predicting", cohort) as advance:
        predicted = predict_tasks(
            cohort.tasks, answer, policy=policy, folder=folder / "predictions", ledger=ledger, on_case=advance
        )
    scored = _score(cfg, cohort, predicted, folder)
    facts = {"run": run.name, "weights": weights_files(trained[0])[0].name, **(pooled.report() if pooled else {})}
    evaluation = _evaluation(cfg, cohort, scored, facts)
    _finish(cfg, cohort, evaluation, scored.files, folder)
    return evaluation, folder


def _cross_validate(cfg: DictConfig) -> "tuple[Evaluation, pathlib.Path]":
    """Every case once, by the networks of the fold that kept it for validation."""
    from inference.crossvalidation import DECISION, decide_once, predict_folds
    from reports.crossvalidation import fold_facts

    found = narrowed(cfg)
    root = prepared_folder(found)
    if root is None:
        raise ConfigError("FOLD=all needs a prepared collection: type DATASET.PREPARED_PATH=... or prepare it.")
    folds = len(find_splits(found, root).folds)
    trained = find_models(cfg, folds=folds)
    cfg, typed = trained[0].cfg, cfg
    root = prepared_folder(cfg) or root  # the runs know their configuration of the plan
    folder = cross_validation(typed, trained) / "evaluation"
    cohorts = [with_earlier(find_prepared(cfg, root, fold=fold), trained) for fold in range(folds)]
    tasks = [task for cohort in cohorts for task in cohort.tasks]
    whole = dataclasses.replace(cohorts[0], tasks=tasks, part=f"out of {folds} folds")
    policy, settings = make_policy(cfg, whole), _settings(trained, whole)
    with _progress(cfg, "Cross-validating", whole) as advance:
        predicted = predict_folds(
            cohorts,
            lambda: _segmenters(trained, whole),
            policy=policy,
            folder=folder,
            settings=settings,
            on_case=advance,
        )
    scored = _score(cfg, whole, predicted, folder)
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
    from inference.kept import PROBABILITIES
    from inference.predicted import Predicted
    from inference.scoring import match_predictions

    given = place(cfg, cfg.EVALUATION.PREDICTIONS)
    if not given.is_dir():
        raise ConfigError(f"EVALUATION.PREDICTIONS: {given} is no folder; type the folder of label files.")
    cfg = cfg if cfg.DOMAIN is None else domain_configuration(cfg, cfg.DOMAIN)
    cohort = find_cohort(cfg)
    files, problems = match_predictions(given, [task.name for task in cohort.tasks])
    kept = given / PROBABILITIES if (given / PROBABILITIES).is_dir() else None
    scored = _score(cfg, cohort, Predicted(files=files, failed=problems, kept=kept), given / "evaluation")
    evaluation = _evaluation(cfg, cohort, scored, {"predictions": str(given)})
    _finish(cfg, cohort, evaluation, files, given / "evaluation")
    return evaluation, given / "evaluation"


def _score(cfg: DictConfig, cohort: "Cohort", predicted: "Predicted", folder: pathlib.Path) -> "Scored":
    """Scores the predictions of every task; what was scored before from the same files is not scored again."""
    from inference.ledger import Ledger
    from inference.scored import score_predicted
    from metrics.provenance import provenance

    policy = make_policy(cfg, cohort)
    ledger = Ledger(folder / "scores.json", {"policy": dataclasses.asdict(policy), "tools": provenance()})
    with _progress(cfg, "Scoring", cohort) as advance:
        return score_predicted(
            cohort.tasks, predicted, policy=policy, workers=cfg.EVALUATION.WORKERS, ledger=ledger, on_case=advance
        )


def _progress(cfg: DictConfig, title: str, cohort: "Cohort") -> Any:
    from reports.progress import progress

    return progress(title, len(cohort.tasks), silent=cfg.VERBOSE == 0)


def _settings(trained: list[Trained], cohort: "Cohort") -> dict[str, Any]:
    """Whatever predictions depend on."""
    from inference.ledger import stamp

    how = make_application(trained[0].cfg, list(cohort.names.values()), modalities=_modalities(cohort))
    weights = [[stamp(path) for path in weights_files(model)] for model in trained]
    return {"weights": weights, "how": dataclasses.asdict(how)}


def _segmenters(trained: list[Trained], cohort: "Cohort") -> "list[Segmenter]":
    """One segmenter per fold, or one for a single run; further models are averaged within."""
    from inference.loading import averaged

    names, joined = list(cohort.names.values()), cascaded(trained) is not None
    models = [
        open_model(model, names, regions=cohort.regions, modalities=_modalities(cohort), joined=joined)
        for model in trained
    ]
    return [averaged(members) for members in zip(*models, strict=True)]


def _modalities(cohort: "Cohort") -> int:
    return cohort.input_shape[-1] // cohort.slices


def _evaluation(cfg: DictConfig, cohort: "Cohort", scored: "Scored", facts: dict[str, Any]) -> "Evaluation":
    """What is reported of scored cases."""
    from reports.evaluation import Evaluation

    published = published_facts(cfg, cohort, {name: scored.files[name] for name in scored.scores})
    sentences = published.pop("sentences", [])
    facts = {**facts, "part": cohort.part, **published}
    if cfg.EVALUATION.SLICEWISE:
        facts["slicewise"] = scored.slicewise.sentence()
    patients = {task.name: task.patient for task in cohort.tasks}
    policy = make_policy(cfg, cohort)
    return Evaluation(
        scores=scored.scores,
        pooled=scored.pooled,
        patients=patients,
        failed=dict(scored.failed),
        notes=[*policy.notes(), *sentences],
        facts=facts,
        details=scored.details,
        lesion_iou=policy.details.lesion_iou,
    )


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

    run = folder.parents[folder.name != "evaluation"] if cfg.EVALUATION.PREDICTIONS is None else None
    if run is not None:
        write_label_files(folder / "predictions", cohort.names)
    write_evaluation(
        evaluation, folder, view=view, names=cohort.names, pictures=cfg.EVALUATION.PICTURES, unit=cohort.unit, run=run
    )


if __name__ == "__main__":
    entry(main, checks=(check,))
