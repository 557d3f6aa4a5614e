"""The first stage of a cascade, for those who train, evaluate and apply the second one."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from commands.applying import make_application, open_model, weights_files
from commands.splits import find_splits
from configs import ConfigError
from configs.cascade import NEXT_STAGE, first_stage
from configs.facts import LOW, plain, prepared_at, prepared_folder
from configs.runs import Trained, cross_validation
from data_generators.manifest import fold_count, label_lut, load_facts, load_manifest
from data_generators.records import Manifest
from data_generators.regions import class_regions

if TYPE_CHECKING:
    from inference.cascade import Pair
    from inference.segmenter import Segmenter
    from inference.tasks import Cohort


def with_first_stage(cfg: DictConfig) -> DictConfig:
    """The configuration with the first stage named for good: the cross-validation of its folds.

    Raises:
        ConfigError: It is not trained; says what to type.
    """
    if not cfg.CASCADE:
        return cfg
    named = cfg.copy()
    named.CASCADE = _folder(_first_stage(cfg)).name
    return named


def predict_earlier(
    cfg: DictConfig, case_ids: Iterable[str] | None = None, *, processes: int = 1
) -> pathlib.Path | None:
    """Lets the first stage answer the prepared cases that it has not answered yet.

    A case that a fold kept for validation is answered by that fold alone, others by the mean of all folds. Finished
    cases are not repeated while weights and arrays stay the same.

    Args:
        cfg: Of the second stage.
        case_ids: Which cases; `None`: those of all folds.
        processes: That train together.

    Returns:
        Where the answers lie, one array per case; None without a cascade or a prepared collection.

    Raises:
        ConfigError: Several processes would predict the same cases.
        ValueError: A case is not prepared at low resolution.
    """
    from inference.cascade import predict_cases, unfinished
    from inference.ledger import stamp
    from reports.progress import progress

    root = prepared_folder(cfg)
    if not cfg.CASCADE or root is None:
        return None
    stage = _first_stage(cfg)
    low_root = _low_root(stage.cfg, root)
    folds = find_splits(cfg, low_root).folds
    held = {case: number for number, fold in enumerate(folds) for case in fold["validation"]}
    pairs = _pairs(root, low_root, held if case_ids is None else case_ids)
    manifest = load_manifest(low_root)
    how = dataclasses.asdict(make_application(stage.cfg, _names(stage, manifest), modalities=len(manifest.channels)))
    settings = {
        "weights": [stamp(path) for path in weights_files(stage)],
        "how": {key: value for key, value in how.items() if key not in ("batch_size", "memory_gb")},
    }
    folder = _folder(stage) / NEXT_STAGE
    todo = unfinished(pairs, folder, settings)
    if todo and processes > 1:
        raise ConfigError(
            f"The first stage of the cascade has not answered {len(todo)} cases yet, which one process does: start "
            "train.py on one machine, without CLUSTER.HOSTS, until it trains."
        )
    members = functools.cache(lambda: _open(stage, manifest))

    def stage_of(case: str) -> "Segmenter":
        from inference.loading import averaged

        return members()[held[case]] if case in held else averaged(members())

    with progress("First stage", len(todo), silent=cfg.VERBOSE == 0 or not todo) as advance:
        predict_cases(todo, stage_of, folder=folder, settings=settings, on_case=advance)
    return folder


def with_earlier(cohort: "Cohort", trained: Sequence[Trained]) -> "Cohort":
    """The same cases, whose images also say what the first stage found, where one of the models wants it."""
    from data_generators.previous import PreviousStage
    from inference.cascade import joined_task

    cfg = cascaded(trained)
    if cfg is None:
        return cohort
    folder, root = predict_earlier(cfg, [task.name for task in cohort.tasks]), prepared_folder(cfg)
    if root is None or folder is None:
        raise ConfigError("A cascade is evaluated on a prepared collection: type DATASET.PREPARED_PATH=...")
    manifest, previous = load_manifest(root), PreviousStage(folder, len(cohort.names) - 1)
    tasks = [joined_task(task, manifest.case(task.name), previous) for task in cohort.tasks]
    return dataclasses.replace(cohort, tasks=tasks)


def cascaded(trained: Sequence[Trained]) -> DictConfig | None:
    """The configuration of the cascade among these models, if there is one.

    Raises:
        ConfigError: There are several with different first stages.
    """
    found = {str(model.cfg.CASCADE): model.cfg for model in trained if model.cfg.CASCADE}
    if len(found) > 1:
        raise ConfigError(
            f"These cascades have different first stages, {' and '.join(found)}: average models with the same one."
        )
    return next(iter(found.values()), None)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A first stage for new files: its folds together, what they were trained on, and their weights."""

    segmenter: "Segmenter"
    manifest: Manifest
    weights: list[pathlib.Path]


def open_first_stage(cfg: DictConfig) -> Opened:
    """The first stage of a cascade, mirrored where the second one is.

    Raises:
        ConfigError: It is not trained, or does not say what it was trained on.
    """
    from inference.loading import averaged

    stage = first_stage(cfg, folds=_fold_count(cfg), mirrored=bool(cfg.TTA))
    root = prepared_at(stage.cfg)
    manifest = load_manifest(root) if root is not None else load_facts(stage.runs[0])
    if manifest is None:
        raise ConfigError(f"{stage.runs[0]} does not say what it was trained on: type DATASET.PREPARED_PATH=...")
    return Opened(averaged(_open(stage, manifest)), manifest, weights_files(stage))


def _first_stage(cfg: DictConfig) -> Trained:
    return first_stage(cfg, folds=_fold_count(cfg))


def _fold_count(cfg: DictConfig) -> int:
    root = prepared_at(cfg)
    return fold_count(None) if root is None else len(find_splits(cfg, root).folds)


def _folder(stage: Trained) -> pathlib.Path:
    """The cross-validation of the first stage's folds."""
    whole = stage.cfg.copy()
    whole.FOLD = "all"
    return cross_validation(whole, [stage])


def _low_root(cfg: DictConfig, root: pathlib.Path) -> pathlib.Path:
    found = prepared_at(cfg)
    if found is not None and found != root:
        return found
    raise ConfigError(
        f"{root / LOW} is not there: type prepare.py with DATA_PREPARATION.CONFIGURATION=3d_cascade_fullres."
    )


def _names(stage: Trained, manifest: Manifest) -> tuple[str, ...]:
    return label_lut(manifest.labels, plain(stage.cfg.DATASET.LABELS))[1]


def _open(stage: Trained, manifest: Manifest) -> "list[Segmenter]":
    """One segmenter for each fold."""
    table, names = label_lut(manifest.labels, plain(stage.cfg.DATASET.LABELS))
    regions = class_regions(plain(stage.cfg.DATASET.REGIONS), manifest=manifest, table=table, names=names)
    return open_model(stage, names, regions=regions, modalities=len(manifest.channels))


def _pairs(root: pathlib.Path, low_root: pathlib.Path, case_ids: Iterable[str]) -> "list[Pair]":
    from inference.cascade import Pair

    full, low = load_manifest(root), load_manifest(low_root)
    return [Pair(full.case(name), root, low.case(name), low_root) for name in case_ids]
