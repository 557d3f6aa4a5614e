"""Trains a network: `python train.py MODEL.TYPE=unet3plus`; `RESUME=True` continues the newest run that fits."""

import logging
import pathlib
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from configs import ConfigError, entry
from configs.facts import class_count, image_files, model_choice, place, plain, prepared_folder, slices_and_channels
from configs.facts import options as options_of
from configs.plans import with_plan
from configs.runs import find_run, new_run, save_config, with_run
from data_generators.manifest import save_facts

if TYPE_CHECKING:
    from training.data import Data
    from training.loaders import Batching
    from training.runtime import Runtime
    from training.session import Observer, Rules, Validate
    from training.step import TrainingModel

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
    if not cfg.RESUME:
        prepared_folder(cfg)


def main(cfg: DictConfig) -> int:
    """Trains every fold that is asked for; the exit code of the first that does not reach its end."""
    from data_preparation.planning.use import planned_training

    cfg = cfg if cfg.RESUME else with_plan(cfg, planned_training)
    if cfg.FOLD != "all":
        return train(cfg)
    import keras

    for fold in range(FOLDS):
        one = cfg.copy()
        one.FOLD = fold
        one.RUN_NAME = None if cfg.RUN_NAME is None else f"{cfg.RUN_NAME}_fold{fold}"
        if code := train(one):
            return code
        keras.utils.clear_session()
    return 0


def train(cfg: DictConfig) -> int:
    """One run: 0 at its end, 128 plus the signal's number where a signal stopped it."""
    from training.cluster import find_process, join_cluster

    hosts = plain(cfg.CLUSTER.HOSTS)
    process = find_process(hosts, cfg.CLUSTER.PROCESS)
    run = run_folder(cfg, process)
    cfg = with_run(cfg, run) if cfg.RESUME else cfg
    from training.record import start_log

    start_log(run / ("train.log" if process[0] == 0 else f"train-{process[0]}.log"), quiet=cfg.VERBOSE == 0)
    from data_generators.augmentation import build_augmentation
    from training.loaders import feed_of, training_loader
    from training.loop import fit
    from training.record import report, write_record
    from training.runtime import start_runtime

    join_cluster(hosts, process)
    runtime = start_runtime(
        several=cfg.USE_MULTI_GPUS.VALUE,
        gpu_ids=plain(cfg.USE_MULTI_GPUS.GPU_IDS),
        amp=cfg.OPTIMIZATION.AMP,
        xla=cfg.OPTIMIZATION.XLA,
        deterministic=cfg.DETERMINISTIC,
        seed=cfg.SEED,
        process=process,
    )
    data = find_data(cfg)
    log = logging.getLogger("train")
    log.info("%s", data.describe())
    augment = build_augmentation(plain(cfg.AUGMENTATION), modalities=data.modalities, class_names=data.class_names)
    batching = make_batching(cfg)
    loader = training_loader(data.train, batching, runtime=runtime, augment=augment)
    rules = make_rules(cfg, devices=runtime.replicas * process[1])
    model = make_model(cfg, data, rules, runtime=runtime, steps=len(loader))
    log.info("%s with %s parameters.", model.network.name, f"{model.network.count_params():,}")
    facts = {**data.facts, "parameters": model.network.count_params(), "classes": list(data.class_names)}
    if runtime.chief:
        save_config(cfg, run)
        write_record(run / "run.json", runtime, facts=facts, root=PROJECT)
        if (root := prepared_folder(cfg)) is not None:
            save_facts(root, run)
    outcome = fit(
        model,
        loader,
        rules=rules,
        folder=run,
        validate=make_validation(cfg, data, batching, runtime=runtime),
        observers=make_observers(cfg, run) if runtime.chief else (),
        resume=cfg.RESUME,
        feed=feed_of(loader, batching, runtime=runtime),
        writes=runtime.chief,
    )
    return report(outcome, run, log)


def run_folder(cfg: DictConfig, process: tuple[int, int]) -> pathlib.Path:
    """The run to continue, or a new one; several processes share one, whose name must be given."""
    if process[1] > 1 and cfg.RUN_NAME is None:
        raise ConfigError(f"{process[1]} processes train one run together: type RUN_NAME=<the same for all of them>.")
    if cfg.RESUME:
        return find_run(cfg)
    if process[0] == 0:
        return new_run(cfg)
    run = place(cfg, cfg.OUTPUT_PATH) / cfg.RUN_NAME
    run.mkdir(parents=True, exist_ok=True)
    return run


def find_data(cfg: DictConfig) -> "Data":
    """The prepared collection, or image files, that the configuration names."""
    from data_generators.augmentation import check_recipe
    from data_generators.manifest import load_manifest
    from data_generators.pictures import PictureOptions
    from training.data import Pictures, picture_data, prepared_data

    root, labels = prepared_folder(cfg), plain(cfg.DATASET.LABELS)
    crop = check_recipe(plain(cfg.AUGMENTATION)).get("CROP")
    if root is not None:
        fold = int(cfg.FOLD or 0) if cfg.FOLD is not None or cfg.DATASET.SPLIT != "official" else None
        patch = plain(cfg.INPUT.PATCH) or (crop or {}).get("SIZE")
        volumes = patch is not None and len(patch) == 3
        slices = 1 if volumes else slices_and_channels(cfg, len(load_manifest(root).channels))[0]
        return prepared_data(root, fold=fold, labels=labels, slices=slices, patch=patch, crop=crop)
    said = cfg.PREPROCESS_DATA
    options = PictureOptions(
        channels=cfg.INPUT.CHANNELS,
        size=(said.RESIZE.HEIGHT, said.RESIZE.WIDTH) if said.RESIZE.VALUE else None,
        normalize=said.IMAGE_PREPROCESSING_TYPE == "normalize",
        mask_divisor=said.NORMALIZE_MASK.NORMALIZE_VALUE if said.NORMALIZE_MASK.VALUE else None,
        mask_threshold=said.MASK_THRESHOLD,
    )
    train, given = image_files(cfg, "TRAIN"), cfg.DATASET.VAL.IMAGES_PATH
    held = given is not None and (not isinstance(given, str) or place(cfg, given).exists())
    validation = image_files(cfg, "VAL") if held else None
    return picture_data(
        Pictures(train.images, train.masks),
        None if validation is None else Pictures(validation.images, validation.masks),
        options=options,
        labels=labels,
        share=cfg.DATASET.VALIDATION_SHARE,
        seed=cfg.SEED,
        patient_pattern=said.PATIENT_PATTERN,
        crop=crop,
    )


def make_batching(cfg: DictConfig) -> "Batching":
    """How batches are made."""
    from training.loaders import Batching

    return Batching(
        loader=cfg.DATA_GENERATOR_TYPE,
        batch_size=cfg.HYPER_PARAMETERS.BATCH_SIZE,
        seed=cfg.SEED,
        shuffle=cfg.PREPROCESS_DATA.SHUFFLE.TRAIN.VALUE,
        foreground_share=cfg.SAMPLING.FOREGROUND_SHARE,
        steps_per_epoch=cfg.HYPER_PARAMETERS.STEPS_PER_EPOCH,
        threads=cfg.DATALOADER_WORKERS,
        ignore_label=cfg.DATASET.IGNORE_LABEL,
    )


def make_rules(cfg: DictConfig, *, devices: int) -> "Rules":
    """Length, learning rate, validation, stopping, saving."""
    from training.assembly import scaled_rate
    from training.budget import parse_budget
    from training.schedules import ScheduleChoice
    from training.session import Rules

    said, saving = cfg.HYPER_PARAMETERS, cfg.CALLBACKS.MODEL_CHECKPOINT
    peak = scaled_rate(said.LEARNING_RATE, devices=devices, rule=said.SCALE_LEARNING_RATE)
    named = options_of(cfg.SCHEDULE, without=("END_LEARNING_RATE",))
    schedule = ScheduleChoice(peak=peak, end=cfg.SCHEDULE.END_LEARNING_RATE, **named)
    return Rules(
        budget=parse_budget(said.BUDGET, epochs=said.EPOCHS),
        schedule=schedule,
        validate_every=cfg.VALIDATION.EVERY,
        metric=cfg.VALIDATION.METRIC,
        larger_is_better=cfg.VALIDATION.MODE == "max",
        patience=cfg.CALLBACKS.EARLY_STOPPING.PATIENCE,
        save_every_steps=saving.EVERY_STEPS,
        keep_last=not saving.SAVE_BEST_ONLY,
        whole_network=not saving.SAVE_WEIGHTS_ONLY,
    )


def make_model(cfg: DictConfig, data: "Data", rules: "Rules", *, runtime: "Runtime", steps: int) -> "TrainingModel":
    """The network with everything that trains it."""
    from losses import build_loss
    from losses.objective import Objective
    from models import build_model
    from training.assembly import assemble, initial_rate
    from training.optimizers import OptimizerChoice

    kind, options = model_choice(cfg)
    names, regions = scored_names(cfg, data)
    shape = data.input_shape(input_size(cfg))
    classes, ignore = class_count(cfg, data.class_names, regions=len(regions or ())), cfg.DATASET.IGNORE_LABEL
    objective = Objective(
        build_loss(cfg.LOSS.TYPE, **{"ignore_label": ignore, "regions": regions, **plain(cfg.LOSS.OPTIONS)}),
        output_weights=plain(cfg.LOSS.OUTPUT_WEIGHTS),
        classification_weight=cfg.LOSS.CLASSIFICATION_WEIGHT,
    )
    said = options_of(cfg.OPTIMIZER, without=("WEIGHT_DECAY_MODE",))
    optimizer = OptimizerChoice(coupled=cfg.OPTIMIZER.WEIGHT_DECAY_MODE == "coupled", **said)
    return assemble(
        lambda: build_model(kind, input_shape=shape, num_classes=classes, **options),
        objective,
        class_names=names,
        regions=regions,
        ignore_label=ignore,
        optimizer=optimizer,
        learning_rate=initial_rate(rules.schedule, rules.budget, steps_per_epoch=steps),
        runtime=runtime,
        remat=cfg.OPTIMIZATION.REMAT,
    )


def scored_names(cfg: DictConfig, data: "Data") -> tuple[tuple[str, ...], list[list[int]] | None]:
    """Names of what is scored, and the classes of each where it is overlapping regions."""
    from data_generators.regions import collection_regions

    wanted, labels = plain(cfg.DATASET.REGIONS), plain(cfg.DATASET.LABELS)
    regions = collection_regions(prepared_folder(cfg), labels=labels, wanted=wanted)
    return (tuple(regions), [list(values) for values in regions.values()]) if regions else (data.class_names, None)


def input_size(cfg: DictConfig) -> tuple[int, int, int]:
    """What INPUT says of whole slices and pictures."""
    return cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH, cfg.INPUT.CHANNELS


def make_validation(cfg: DictConfig, data: "Data", batching: "Batching", *, runtime: "Runtime") -> "Validate | None":
    """Measures the model on every validation sample, or on whole volumes; `None` without validation cases."""
    from inference.segmenter import Application
    from training.loaders import feed_of, validation_loader
    from training.validation import validate_batches, validate_volumes

    if data.validation is None:
        logging.getLogger("train").warning("No validation cases: the newest weights count as the best.")
        return None
    if not cfg.VALIDATION.WHOLE_VOLUME:
        loader = validation_loader(data.validation, batching, runtime=runtime)
        return validate_batches(feed_of(loader, batching, runtime=runtime, endless=False))
    names, regions = scored_names(cfg, data)
    slices = getattr(data.validation, "slices", 1)
    rank, classes = len(data.input_shape(input_size(cfg))) - 1, range(1, len(data.class_names) + 1)
    how = Application.from_options(plain(cfg.INFERENCE), rank=rank, classes=classes, slices=slices)
    return validate_volumes(data.validation, how, class_names=names, regions=regions)


def make_observers(cfg: DictConfig, run: pathlib.Path) -> "list[Observer]":
    """What is written and shown as the run goes."""
    from rich.console import Console

    from reports.curves import draw_curves
    from training.observers import Curves, EpochLines, HistoryTable
    from training.progress import Bar
    from training.tensorboard import TensorBoard
    from training.trackers import trackers

    said = cfg.CALLBACKS
    table = run if said.CSV_LOGGER.PATH is None else place(cfg, said.CSV_LOGGER.PATH)
    observers: list[Observer] = [
        HistoryTable(table / "history.csv", keep=said.CSV_LOGGER.APPEND_LOGS),
        Curves(run / "curves.png", draw_curves),
        EpochLines(cfg.VALIDATION.METRIC),
    ]
    if said.TENSORBOARD.VALUE:
        folder = run / "tensorboard" if said.TENSORBOARD.PATH is None else place(cfg, said.TENSORBOARD.PATH) / run.name
        observers.append(TensorBoard(folder))
    bar = [Bar(Console(stderr=True))] if cfg.VERBOSE == 1 else []
    return [*observers, *trackers(run, plain(cfg)), *bar]


if __name__ == "__main__":
    entry(main, checks=[check])
