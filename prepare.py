"""Prepares a collection: `python prepare.py dataset=lits DATA_PREPARATION.SOURCE=<folder>`; `CHECK=True` only looks.

`REPORT=True` also writes report.html about the original files to the prepared folder: suspicious cases first.
"""

import dataclasses
import logging
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.task_names import named_by_task
from configs import ConfigError, entry
from configs.facts import place, places, plain, plan_changes

if TYPE_CHECKING:
    from data_preparation.case import Recipe
    from data_preparation.collections import Collection
    from data_preparation.collections.base import Finding
    from data_preparation.pipeline import Outcome

RAW_PHANTOM = "data/raw/phantom"


def main(cfg: DictConfig) -> int:
    """Checks or prepares the collection of `cfg.DATASET.COLLECTION`; 1 where a case failed or a fault was found."""
    from data_preparation.collections import open_collection

    logging.basicConfig(level=logging.INFO if cfg.VERBOSE else logging.WARNING, format="%(message)s")
    cfg = named_by_task(cfg)
    recipe = _recipe(cfg)
    if cfg.DATASET.COLLECTION == "phantom":
        _make_phantoms(cfg)
    collection = open_collection(cfg.DATASET.COLLECTION, _source_options(cfg))
    if cfg.CHECK:
        return _check(cfg, collection)
    outcome, target = _prepare(cfg, collection, recipe)
    done = len(outcome.results)
    print(f"{done} cases are prepared in {target} ({outcome.kept} of them were so before).")
    for name, error in outcome.failures.items():
        print(f"FAILED {name}: {error}", file=sys.stderr)
    if outcome.failures:
        print(
            f"{len(outcome.failures)} failed. Repair them and run it again: finished cases are kept.", file=sys.stderr
        )
    if cfg.REPORT:
        _report(cfg, collection, target)
    return 1 if outcome.failures else 0


def _prepare(cfg: DictConfig, collection: "Collection", recipe: "Recipe") -> "tuple[Outcome, pathlib.Path]":
    common: dict[str, Any] = {
        "validation_share": cfg.DATASET.VALIDATION_SHARE,
        "seed": cfg.SEED,
        "workers": cfg.DATA_PREPARATION.WORKERS,
        "progress": cfg.VERBOSE > 0,
    }
    if cfg.DATA_PREPARATION.FORMAT == "png":
        from data_generators.manifest import label_lut
        from data_preparation.slices_png import prepare_slices

        table, _ = label_lut(collection.labels, plain(cfg.DATASET.LABELS))
        folders = _slice_folders(cfg)
        return prepare_slices(collection, folders, recipe, table=table, **common), folders.root
    if collection.intensity == "planned":
        return _prepare_by_plan(cfg, collection, recipe)
    from data_preparation.pipeline import prepare_collection

    root = _prepared_path(cfg)
    return prepare_collection(collection, root, recipe, **common), root


def _prepare_by_plan(cfg: DictConfig, collection: "Collection", recipe: "Recipe") -> "tuple[Outcome, pathlib.Path]":
    from data_preparation.planned import prepare_by_plan
    from data_preparation.planning.document import Wishes

    said, root = cfg.DATA_PREPARATION, _prepared_path(cfg)
    outcome = prepare_by_plan(
        collection,
        root,
        wishes=Wishes(said.PLANNER, said.MEMORY_GB, said.CONFIGURATION, plan_changes(cfg)),
        trust_image=recipe.trust_image_grid,
        splits=_splits(cfg, collection),
        workers=said.WORKERS,
        progress=cfg.VERBOSE > 0,
    )
    return outcome, root


def _splits(cfg: DictConfig, collection: "Collection") -> Any:
    """The collection's parts and nnU-Net's folds by patient, or the splits that DATASET.SPLIT names."""
    if cfg.DATASET.SPLIT not in ("official", "folds"):
        from data_preparation.published_splits import published_splits

        folder = place(cfg, ".")
        return published_splits(cfg.DATASET.SPLIT, collection.cases, folder=folder, collection=collection.name)
    from data_preparation.planned import planned_splits

    return planned_splits(collection, validation_share=cfg.DATASET.VALIDATION_SHARE)


def _check(cfg: DictConfig, collection: "Collection") -> int:
    from data_preparation.check import check_collection

    if cfg.REPORT:
        findings = _report(cfg, collection, _prepared_path(cfg))
    else:
        splits = _splits(cfg, collection) if collection.intensity == "planned" else None
        workers = cfg.DATA_PREPARATION.WORKERS
        findings = check_collection(collection, splits=splits, workers=workers, progress=cfg.VERBOSE > 0)
    for finding in findings:
        print(finding)
    print(f"{len(collection.cases)} cases checked, {len(findings) or 'no'} findings.")
    return 1 if findings else 0


def _report(cfg: DictConfig, collection: "Collection", folder: pathlib.Path) -> "list[Finding]":
    """Writes `report.html` about the original files, and says how many findings it shows."""
    from data_generators.manifest import SPLITS, load_splits
    from data_preparation.survey import survey_collection
    from reports.dataset_page import DatasetCase, dataset_page
    from reports.page import write_page

    splits = _splits(cfg, collection) if collection.intensity == "planned" else None
    surveys, findings = survey_collection(
        collection, splits=splits, workers=cfg.DATA_PREPARATION.WORKERS, progress=cfg.VERBOSE > 0
    )
    owners = {str(path): case.id for case in collection.cases for path in (*case.images, case.label) if path}
    known = {survey.id for survey in surveys}
    told: dict[str, list[str]] = {}
    for finding in findings:
        owner = owners.get(finding.file, finding.file)
        words = f"{finding.problem} {finding.remedy}".strip()
        told.setdefault(owner, []).append(words)
    shared = [field.name for field in dataclasses.fields(DatasetCase) if field.name != "findings"]
    cases = [
        DatasetCase(**{name: getattr(survey, name) for name in shared}, findings=told.get(survey.id, ()))
        for survey in surveys
    ]
    parts = load_splits(folder).official if (folder / SPLITS).is_file() else {}
    page = dataset_page(
        collection.name,
        cases,
        labels=collection.labels,
        channels=collection.channels,
        other_findings={name: " ".join(lines) for name, lines in told.items() if name not in known},
        parts={part: len(ids) for part, ids in parts.items() if ids},
        licence=collection.licence,
    )
    print(f"{len(findings) or 'No'} findings. Page: {write_page(folder / 'report.html', page)}")
    return findings


def _make_phantoms(cfg: DictConfig) -> None:
    folder = _phantom_folder(cfg)
    if cfg.CHECK:
        if not folder.is_dir():
            raise ConfigError(f"There are no volumes in {folder}: type `python prepare.py dataset=phantom` first.")
        return
    from data_preparation.phantom import write_phantoms

    wanted = cfg.DATA_PREPARATION.PHANTOM
    write_phantoms(
        folder,
        cases=wanted.CASES,
        size=plain(wanted.SIZE),
        spacing_mm=plain(wanted.SPACING_MM),
        seed=cfg.SEED,
        workers=cfg.DATA_PREPARATION.WORKERS or -1,
    )


def _phantom_folder(cfg: DictConfig) -> pathlib.Path:
    return place(cfg, cfg.DATA_PREPARATION.SOURCE or RAW_PHANTOM)


def _source_options(cfg: DictConfig) -> Any:
    from data_preparation.collections import SourceOptions

    said, dataset = cfg.DATA_PREPARATION, cfg.DATASET
    source = None if said.SOURCE is None else place(cfg, said.SOURCE)
    if dataset.COLLECTION == "phantom":
        source = _phantom_folder(cfg)
    parts = {"train": dataset.TRAIN, "validation": dataset.VAL}
    return SourceOptions(
        source=source,
        train=places(cfg, said.SCANS_TRAIN_DATA_PATH),  # type: ignore[arg-type]
        validation=places(cfg, said.SCANS_VAL_DATA_PATH),  # type: ignore[arg-type]
        parts={name: (places(cfg, part.IMAGES_PATH), places(cfg, part.MASK_PATH)) for name, part in parts.items()},
        patient_pattern=said.PATIENT_PATTERN,
        mask_threshold=said.MASK_THRESHOLD,
        labels=plain(dataset.LABELS) or {},
        images=tuple(_listed(said.IMAGES)),
        masks=said.MASKS,
        channels=tuple(_listed(said.CHANNELS)),
        spacing_mm=_spacing(said.SPACING_MM),
        stray_labels=said.STRAY_LABELS,
    )


def _listed(value: Any) -> list[str]:
    found = plain(value)
    return [] if found is None else [str(item) for item in found] if isinstance(found, list) else [str(found)]


def _spacing(value: Any) -> tuple[float, float, float] | None:
    if value is None:
        return None
    steps = plain(value)
    if not isinstance(steps, list) or len(steps) != 3 or not all(isinstance(s, int | float) and s > 0 for s in steps):
        raise ConfigError(f"DATA_PREPARATION.SPACING_MM={steps}: type three sizes in mm, such as [10,1.5,1.5].")
    return steps[0], steps[1], steps[2]


def _recipe(cfg: DictConfig) -> "Recipe":
    from data_preparation.case import Recipe

    said = cfg.DATA_PREPARATION
    for name in ("RESIZED_HEIGHT", "RESIZED_WIDTH"):
        if said[name] is not None and (not isinstance(said[name], int) or said[name] < 1):
            raise ConfigError(f"DATA_PREPARATION.{name}={said[name]} is no size: type a whole number, or null.")
    return Recipe(
        height=said.RESIZED_HEIGHT,
        width=said.RESIZED_WIDTH,
        window_hu=(said.SCAN_MIN_VALUE, said.SCAN_MAX_VALUE),
        trust_image_grid=said.LABEL_GRID == "image",
    )


def _prepared_path(cfg: DictConfig) -> pathlib.Path:
    if cfg.DATASET.PREPARED_PATH is None:
        raise ConfigError("DATASET.PREPARED_PATH is not set: type DATASET.PREPARED_PATH=<folder to write to>.")
    given = pathlib.Path(cfg.DATASET.PREPARED_PATH).expanduser()
    return given if given.is_absolute() else place(cfg, given)


def _slice_folders(cfg: DictConfig) -> Any:
    from data_preparation.slices_png import SliceFolders

    named = {part: (cfg.DATASET[part].IMAGES_PATH, cfg.DATASET[part].MASK_PATH) for part in ("TRAIN", "VAL")}
    for part, paths in named.items():
        if not all(isinstance(path, str) for path in paths):
            raise ConfigError(f"FORMAT=png writes to folders: type DATASET.{part}.IMAGES_PATH= and MASK_PATH=<folder>.")
    train, validation = ((place(cfg, images), place(cfg, masks)) for images, masks in named.values())
    root = train[0].parent.parent
    return SliceFolders(root, train, validation, (root / "test" / "images", root / "test" / "mask"))


if __name__ == "__main__":
    entry(main)
