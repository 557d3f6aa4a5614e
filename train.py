"""Trains a network: `python train.py MODEL.TYPE=unet3plus`; `RESUME=True` continues the newest run that fits."""

import logging
import pathlib

from omegaconf import DictConfig

from commands.cascade import with_first_stage
from commands.domain_plans import check_domains, with_domains
from commands.domain_training import make_domains_job
from commands.folds import folds_to_train
from commands.gallery import draw_augmentation
from commands.initial_weights import find_initial_weights, start_from
from commands.training import make_job, make_observers, make_runtime, record_job, run_folder
from configs import entry
from configs.facts import checkpoint_folder, model_choice, plain, prepared_folder
from configs.plans import with_plan
from configs.runs import save_config, with_run

PROJECT = pathlib.Path(__file__).resolve().parent
FOLDS = 5


def check(cfg: DictConfig) -> None:
    """Answers mistakes before anything slow is imported."""
    from data_generators.augmentation import check_recipe
    from losses import check_options as check_loss
    from models import check_options as check_model
    from training.budget import parse_budget
    from training.trackers import check_trackers

    check_trackers(plain(cfg.CALLBACKS))
    check_model(*model_choice(cfg))
    check_loss(str(cfg.LOSS.TYPE), plain(cfg.LOSS.OPTIONS))
    parse_budget(cfg.HYPER_PARAMETERS.BUDGET, epochs=cfg.HYPER_PARAMETERS.EPOCHS)
    check_recipe(plain(cfg.AUGMENTATION))
    find_initial_weights(cfg)
    if cfg.DOMAINS:
        check_domains(cfg)
    elif not cfg.RESUME:
        prepared_folder(cfg)


def main(cfg: DictConfig) -> int:
    """Trains every fold that is asked for; the exit code of the first that does not reach its end."""
    from data_preparation.planning.use import planned_training

    def planned(said: DictConfig) -> DictConfig:
        return with_domains(said) if said.DOMAINS else with_first_stage(with_plan(said, planned_training))

    if cfg.FOLD != "all":
        return train(cfg if cfg.RESUME else planned(cfg))
    import keras

    for fold in folds_to_train(cfg, FOLDS, planned):
        if code := train(fold):
            return code
        keras.utils.clear_session()
    return 0


def train(cfg: DictConfig) -> int:
    """One run: 0 at its end, 128 plus the signal's number where a signal stopped it."""
    from training.cluster import find_process, join_cluster
    from training.record import report, start_log

    hosts = plain(cfg.CLUSTER.HOSTS)
    process = find_process(hosts, cfg.CLUSTER.PROCESS)
    run = run_folder(cfg, process)
    cfg = with_run(cfg, run) if cfg.RESUME else cfg
    start_log(run / ("train.log" if process[0] == 0 else f"train-{process[0]}.log"), quiet=cfg.VERBOSE == 0)
    from training.loop import fit

    join_cluster(hosts, process)
    runtime = make_runtime(cfg, process)
    job = make_domains_job(cfg, runtime) if cfg.DOMAINS else make_job(cfg, runtime)
    if not cfg.RESUME:
        job.facts.update(start_from(cfg, job.model.network))
    if runtime.chief:
        save_config(cfg, run)
        record_job(job, run, runtime=runtime, project=PROJECT)
        draw_augmentation(cfg, job.loader, run, class_names=job.facts.get("classes", ()))
    outcome = fit(
        job.model,
        job.loader,
        rules=job.rules,
        folder=run,
        checkpoints=checkpoint_folder(cfg, run),
        validate=job.validate,
        observers=make_observers(cfg, run, pictures=job.pictures) if runtime.chief else (),
        resume=cfg.RESUME,
        feed=job.feed,
        writes=runtime.chief,
    )
    return report(outcome, run, logging.getLogger("train"))


if __name__ == "__main__":
    entry(main, checks=[check])
