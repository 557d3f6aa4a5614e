"""Preparing a collection by a plan, after nnU-Net: measure, plan, then crop, normalise and resample every case."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_generators.manifest import (
    IGNORE,
    MANIFEST,
    Case,
    Manifest,
    SourceFile,
    Splits,
    locations_path,
    save_manifest,
    save_splits,
)
from data_preparation.case import foreground_index
from data_preparation.collections.base import CaseSource, Collection, PreparationError
from data_preparation.collections.label_values import LabelReader
from data_preparation.facts import collection_fingerprint, read_case, reading_rules
from data_preparation.files import content_hash, save_array, save_arrays
from data_preparation.fold_check import empty_classes
from data_preparation.pipeline import Outcome, Workers, run_cases
from data_preparation.planning.document import CASCADE, FULL, LOW, Wishes, make_document, planned_input, save_plan
from data_preparation.splits import make_splits, without_cases
from data_preparation.validation import count_labels
from imaging.planned import PlannedInput, prepare_planned

FINGERPRINT = "fingerprint.json"
FOLD_SEED = 12345
FORMAT = 1
_log = logging.getLogger(__name__)


def prepare_by_plan(
    collection: Collection,
    root: pathlib.Path,
    *,
    wishes: Wishes,
    trust_image: bool = False,
    splits: Splits | None = None,
    workers: int = 0,
    progress: bool = True,
) -> Outcome:
    """Measures, plans and prepares every case; writes fingerprint, plan, manifest and splits.

    Resumable like `prepare_collection`: no case is measured or prepared again while its files, the plan's spacing and
    its normalisation stay the same.

    Args:
        collection: What was found on disk.
        root: Folder of the prepared collection. Of a cascade, its first stage is prepared in `root/3d_lowres`.
        wishes: Preset, memory, configuration and changes of the plan.
        trust_image: Accept labels of the right shape whatever their header says about their place.
        splits: Published ones; `planned_splits` when `None`.
        workers: Cases at once; 0 means one per core.
        progress: Show a progress bar.

    Returns:
        What was done. `failures` also holds cases that could not be measured, and what discovery had to leave out.

    Raises:
        PreparationError: No case, a plan that does not serve, a leaking split, or the workers were killed.
    """
    if not collection.cases:
        found = " ".join(str(finding) for finding in collection.findings[:3])
        raise PreparationError(f"{collection.name}: no case can be prepared. {found}")
    splits = planned_splits(collection) if splits is None else splits
    how = Workers(workers, collection.threads, progress)
    measured, facts = collection_fingerprint(collection, root, trust_image=trust_image, workers=how)
    voxels = {name: {int(v): n for v, n in entry["voxels"].items()} for name, entry in facts.results.items()}
    for finding in empty_classes(splits, collection.labels, voxels):
        _log.warning("%s", finding)
    # As nnU-Net counts: the background, an ignored label, and labels or regions.
    regions = len(collection.regions)
    labels = regions + 1 + (IGNORE in collection.labels) if regions else len(collection.labels)
    document = make_document(
        measured, collection=collection.name, channel_names=collection.channels, labels=labels, wishes=wishes
    )
    chosen = [FULL, LOW] if wishes.configuration == CASCADE else [str(document["configuration"])]
    _warn_of_single_slices(facts, chosen[0])
    _say_cascade(document, chosen, root)
    outcomes: list[Outcome] = []
    for name in chosen:
        folder = root / LOW if name == LOW != chosen[0] else root
        folder.mkdir(parents=True, exist_ok=True)
        measured.save(folder / FINGERPRINT)
        planned = save_plan(folder, {**document, "configuration": name})
        work = _Work(collection, planned_input(planned), folder, trust_image)
        outcomes.append(_prepare_arrays(work, planned, splits, facts, workers=how))
    failures = {**facts.failures, **{name: said for outcome in outcomes for name, said in outcome.failures.items()}}
    left_out = {finding.file: f"{finding.problem} {finding.remedy}" for finding in collection.findings}
    return dataclasses.replace(
        outcomes[0], kept=min(outcome.kept for outcome in outcomes), failures={**failures, **left_out}
    )


@dataclasses.dataclass(frozen=True)
class _Work:
    """What preparing a case by one configuration of the plan needs."""

    collection: Collection
    plan: PlannedInput
    root: pathlib.Path
    trust_image: bool


def _prepare_arrays(
    work: _Work, document: Mapping[str, Any], splits: Splits, facts: Outcome, *, workers: Workers
) -> Outcome:
    """Every case that could be measured, by one configuration, with manifest and splits."""
    collection, plan, root = work.collection, work.plan, work.root
    todo = [case for case in collection.cases if case.id not in facts.failures]
    settings = {"format": FORMAT, "collection": collection.name, "plan": _decisive(plan)}
    settings |= {"trust_image": work.trust_image, "reading": reading_rules(collection)}
    task = functools.partial(_prepared_entry, work=work)
    outcome = run_cases(todo, task, root=root, settings=settings, workers=workers)
    save_splits(root, without_cases(splits, {**facts.failures, **outcome.failures}))
    save_manifest(root, _manifest(collection, outcome, plan, document))
    return outcome


def _say_cascade(document: Mapping[str, Any], chosen: list[str], root: pathlib.Path) -> None:
    if LOW not in chosen and (root / LOW / MANIFEST).is_file():
        _log.warning(
            "%s stays as it was prepared before: remove it, or type DATA_PREPARATION.CONFIGURATION=%s to renew it.",
            root / LOW,
            CASCADE,
        )
    elif CASCADE in document["configurations"] and chosen == [FULL]:
        _log.info(
            "A patch sees less than a quarter of a case: type DATA_PREPARATION.CONFIGURATION=%s to prepare a low "
            "resolution as well, for a cascade.",
            CASCADE,
        )


def planned_splits(collection: Collection, *, validation_share: float = 0.1) -> Splits:
    """nnU-Net's five folds over the sorted patients, who are the cases where nothing else is known."""
    return make_splits(collection.cases, validation_share=validation_share, seed=FOLD_SEED)


def _warn_of_single_slices(facts: Outcome, configuration: str) -> None:
    if configuration == "2d":
        return
    for name, entry in facts.results.items():
        if min(entry["shape_after_crop"]) == 1:
            _log.warning(
                "%s: is a single slice, which a network of volumes hardly learns from: leave it out, or type "
                "DATA_PREPARATION.CONFIGURATION=2d.",
                name,
            )


def _decisive(plan: PlannedInput) -> dict[str, Any]:
    """What of the plan changes arrays: intensities of the collection do only where CT is normalised by them."""
    pairs = zip(plan.normalization, plan.intensities, strict=True)
    return {**plan.to_dict(), "intensities": [dict(values) if rule == "ct" else {} for rule, values in pairs]}


def _manifest(collection: Collection, outcome: Outcome, plan: PlannedInput, document: Mapping[str, Any]) -> Manifest:
    preparation: dict[str, Any] = {"orientation": "SPL", "configuration": document["configuration"]}
    if isinstance(collection.read_label, LabelReader):
        preparation["label_values"] = {"stray": collection.read_label.stray, "ignored": collection.read_label.ignored}
    if collection.regions:
        preparation["regions"] = {name: list(values) for name, values in collection.regions.items()}
    return Manifest(
        collection=collection.name,
        labels=collection.labels,
        channels=collection.channels,
        intensity={"kind": "planned", **plan.to_dict()},
        cases=tuple(Case.from_dict(entry) for entry in outcome.results.values()),
        licence=collection.licence,
        preparation=preparation,
    )


def _prepared_entry(source: CaseSource, *, work: _Work) -> dict[str, Any]:
    root = work.root
    volume, label = read_case(source, work.collection, trust_image=work.trust_image)
    array, small, geometry = prepare_planned(volume, work.plan, label=None if label is None else label.array)
    files = [f"images/{source.id}.npy"]
    save_array(root / files[0], np.ascontiguousarray(array, np.float32))
    counts: Mapping[int, int] = {}
    if small is not None:
        files += [f"labels/{source.id}.npy", locations_path(source.id)]
        small = np.ascontiguousarray(small, np.uint8)
        counts = count_labels(small)
        save_array(root / files[1], small)
        save_arrays(root / files[2], foreground_index(small, counts, source.id))
    grid = geometry.prepared_grid()
    case = Case(
        id=source.id,
        patient=source.patient,
        image=files[0],
        label=None if small is None else files[1],
        shape=grid.shape,
        channels=array.shape[-1],
        spacing_mm=grid.spacing_mm,
        affine=grid.affine,
        geometry=geometry,
        sources=tuple(SourceFile(str(path), content_hash(path)) for path in source.images),
        label_source=None if source.label is None else SourceFile(str(source.label), content_hash(source.label)),
        voxels=counts,
    )
    return {**case.to_dict(), "files": files}
