"""What trains: rules, network with objective and optimizer, validation, observers."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.cascade import predict_earlier
from commands.data import find_data, input_size, make_batching, scored_names
from configs import ConfigError
from configs.facts import class_count, model_choice, place, plain, prepared_folder
from configs.facts import options as options_of
from configs.runs import find_run, new_run
from data_generators.manifest import FACTS, load_facts, save_facts, save_json

if TYPE_CHECKING:
    from losses.objective import Objective
    from training.data import Data
    from training.loaders import Batching, Stream
    from training.optimizers import OptimizerChoice
    from training.runtime import Runtime
    from training.samples import SamplePictures
    from training.session import Observer, Rules, Validate
    from training.step import TrainingModel
    from training.tensorboard import Pictures

_LOG = logging.getLogger("train")


@dataclasses.dataclass(frozen=True)
class Job:
    """What `training.loop.fit` takes.

    Attributes:
        model: The network with what trains it.
        loader: Batches of training.
        feed: Position in the stream of batches -> the stream.
        rules: Length, learning rate, validation, stopping, saving.
        validate: Measures the model, or `None` without validation cases.
        facts: What `run.json` remembers.
        collections: Folder in the run -> the prepared collection, or the run's folder, whose facts are kept there.
        pictures: Gives the validation samples that were drawn since it was last asked.
    """

    model: "TrainingModel"
    loader: Any
    feed: "Callable[[int], Stream]"
    rules: "Rules"
    validate: "Validate | None"
    facts: dict[str, Any]
    collections: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict[str, pathlib.Path])
    pictures: "Pictures | None" = None


def make_runtime(cfg: DictConfig, process: tuple[int, int]) -> "Runtime":
    """Backend, devices, precision and compilation, decided and logged."""
    from training.runtime import start_runtime

    return start_runtime(
        several=cfg.USE_MULTI_GPUS.VALUE,
        gpu_ids=plain(cfg.USE_MULTI_GPUS.GPU_IDS),
        amp=cfg.OPTIMIZATION.AMP,
        xla=cfg.OPTIMIZATION.XLA,
        deterministic=cfg.DETERMINISTIC,
        seed=cfg.SEED,
        process=process,
    )


def make_job(cfg: DictConfig, runtime: "Runtime") -> Job:
    """One network on one collection."""
    from data_generators.augmentation import build_augmentation
    from training.loaders import feed_of, training_loader

    predict_earlier(cfg, processes=runtime.process[1])
    data = find_data(cfg)
    _LOG.info("%s", data.describe())
    augment = build_augmentation(plain(cfg.AUGMENTATION), modalities=data.modalities, class_names=data.class_names)
    batching = make_batching(cfg)
    loader = training_loader(data.train, batching, runtime=runtime, augment=augment)
    rules = make_rules(cfg, devices=runtime.replicas * runtime.process[1])
    model = make_model(cfg, data, rules, runtime=runtime, steps=len(loader))
    _LOG.info("%s with %s parameters.", model.network.name, f"{model.network.count_params():,}")
    root = prepared_folder(cfg)
    validate = make_validation(cfg, data, batching, runtime=runtime)
    pictures = make_pictures(cfg, data, runtime) if validate is not None else None
    return Job(
        model=model,
        loader=loader,
        feed=feed_of(loader, batching, runtime=runtime),
        rules=rules,
        validate=validate if validate is None or pictures is None else pictures.beside(validate),
        facts={**data.facts, "parameters": model.network.count_params(), "classes": list(data.class_names)},
        collections={} if root is None else {"": root},
        pictures=None if pictures is None else pictures.take,
    )


def record_job(job: Job, run: pathlib.Path, *, runtime: "Runtime", project: pathlib.Path) -> None:
    """Writes `run.json`, and beside it what the collection says of itself."""
    from training.record import write_record

    write_record(run / "run.json", runtime, facts=job.facts, root=project)
    for folder, root in job.collections.items():
        known = load_facts(root)
        if known is None:
            save_facts(root, run / folder)
        else:
            save_json(run / folder / FACTS, known.to_dict())


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
    from models import build_model
    from training.assembly import assemble, initial_rate

    kind, options = model_choice(cfg)
    names, regions = scored_names(cfg, data)
    shape = data.input_shape(input_size(cfg))
    classes = class_count(cfg, data.class_names, regions=len(regions or ()))
    return assemble(
        lambda: build_model(kind, input_shape=shape, num_classes=classes, **options),
        make_objective(cfg, regions),
        class_names=names,
        regions=regions,
        ignore_label=cfg.DATASET.IGNORE_LABEL,
        optimizer=make_optimizer(cfg),
        learning_rate=initial_rate(rules.schedule, rules.budget, steps_per_epoch=steps),
        runtime=runtime,
        remat=cfg.OPTIMIZATION.REMAT,
    )


def make_objective(cfg: DictConfig, regions: list[list[int]] | None) -> "Objective":
    """What is minimised; `regions` are the classes of each output where outputs are overlapping regions."""
    from losses import build_loss
    from losses.objective import Objective

    common = {"ignore_label": cfg.DATASET.IGNORE_LABEL, "regions": regions}
    return Objective(
        build_loss(cfg.LOSS.TYPE, **{**common, **plain(cfg.LOSS.OPTIONS)}),
        output_weights=plain(cfg.LOSS.OUTPUT_WEIGHTS),
        classification_weight=cfg.LOSS.CLASSIFICATION_WEIGHT,
    )


def make_optimizer(cfg: DictConfig) -> "OptimizerChoice":
    """What updates the weights."""
    from training.optimizers import OptimizerChoice

    said = options_of(cfg.OPTIMIZER, without=("WEIGHT_DECAY_MODE",))
    return OptimizerChoice(coupled=cfg.OPTIMIZER.WEIGHT_DECAY_MODE == "coupled", **said)


def make_validation(cfg: DictConfig, data: "Data", batching: "Batching", *, runtime: "Runtime") -> "Validate | None":
    """Measures the model on every validation sample, or on whole volumes; `None` without validation cases."""
    from inference.segmenter import Application
    from training.loaders import feed_of, validation_loader
    from training.validation import validate_batches, validate_volumes

    if cfg.VALIDATION.EVERY == 0:
        return None
    if data.validation is None:
        _LOG.warning("No validation cases: the newest weights count as the best.")
        return None
    if not cfg.VALIDATION.WHOLE_VOLUME:
        loader = validation_loader(data.validation, batching, runtime=runtime)
        return validate_batches(feed_of(loader, batching, runtime=runtime, endless=False))
    names, regions = scored_names(cfg, data)
    slices = getattr(data.validation, "slices", 1)
    rank, classes = len(data.input_shape(input_size(cfg))) - 1, range(1, len(data.class_names) + 1)
    how = Application.from_options(plain(cfg.INFERENCE), rank=rank, classes=classes, slices=slices)
    return validate_volumes(data.validation, how, class_names=names, regions=regions)


def make_pictures(cfg: DictConfig, data: "Data", runtime: "Runtime") -> "SamplePictures | None":
    """Draws validation samples for TensorBoard; not where several processes hold the weights together."""
    from reports.samples import sample_picture
    from training.samples import SamplePictures

    said = cfg.CALLBACKS.TENSORBOARD
    if not said.VALUE or not said.IMAGES or data.validation is None or runtime.process[1] > 1:
        return None
    regions = scored_names(cfg, data)[1]
    return SamplePictures(data.validation, count=said.IMAGES, draw=sample_picture, regions=regions)


def make_observers(cfg: DictConfig, run: pathlib.Path, *, pictures: "Pictures | None" = None) -> "list[Observer]":
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
        observers.append(TensorBoard(folder, pictures=pictures))
    bar = [Bar(Console(stderr=True))] if cfg.VERBOSE == 1 else []
    return [*observers, *trackers(run, plain(cfg)), *bar]
