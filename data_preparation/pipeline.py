"""Preparing many cases: in parallel, resumable, with progress; a failed case is named and the others go on."""

import dataclasses
import functools
import json
import logging
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import joblib
import joblib.externals.loky.process_executor as loky
import rich.console
import rich.progress

from data_generators.manifest import MANIFEST, Case, Manifest, locations_path, save_json, save_manifest, save_splits
from data_preparation.case import Recipe, prepare_case
from data_preparation.collections.base import CaseSource, Collection, PreparationError
from data_preparation.files import remove_partials, stamp
from data_preparation.splits import make_splits, without_cases

RECORDS = ".cases"
FORMAT = 1
_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Answer = tuple[str, dict[str, Any] | None, str]

Work = Callable[[CaseSource], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did: results by case id in the order of the cases, cases kept from before, and failures by case id."""

    results: Mapping[str, dict[str, Any]]
    kept: int
    failures: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Workers:
    """How cases are worked on: how many at once (0: one per core), by threads or processes, with a progress bar or not.

    A joblib backend chosen around the call (`joblib.parallel_config("dask")`) is used instead.
    """

    count: int = 0
    threads: bool = True
    progress: bool = True


def prepare_collection(
    collection: Collection,
    root: pathlib.Path,
    recipe: Recipe,
    *,
    validation_share: float = 0.1,
    seed: int = 5,
    workers: int = 0,
    progress: bool = True,
) -> Outcome:
    """Prepares every case of a collection, then writes the manifest and the splits.

    Finished cases are kept when neither their source files nor the settings changed. The manifest is written last and
    lists only cases that are complete; while cases it lists are being redone there is none.

    Args:
        collection: What was found on disk.
        root: Folder of the prepared collection.
        recipe: What is done to every case.
        validation_share: Share of the training patients kept for validation.
        seed: Of the splits.
        workers: Cases at once; 0 means one per core.
        progress: Show a progress bar.

    Returns:
        What was done. `failures` also holds what discovery had to leave out.

    Raises:
        PreparationError: No case, a leaking split, or the workers were killed.
    """
    if not collection.cases:
        found = " ".join(str(finding) for finding in collection.findings[:3])
        raise PreparationError(f"{collection.name}: no case can be prepared. {found}")
    splits = make_splits(collection.cases, validation_share=validation_share, seed=seed)
    settings = {"format": FORMAT, "collection": collection.name, **dataclasses.asdict(recipe)}
    work = functools.partial(_prepared_entry, collection=collection, recipe=recipe, root=root)
    how = Workers(workers, collection.threads, progress)
    outcome = run_cases(collection.cases, work, root=root, settings=settings, workers=how)
    cases = tuple(Case.from_dict(entry) for entry in outcome.results.values())
    manifest = Manifest(
        collection=collection.name,
        labels=collection.labels,
        channels=collection.channels,
        intensity=recipe.intensity(collection.intensity),
        cases=cases,
        licence=collection.licence,
        preparation={"height": recipe.height, "width": recipe.width, "orientation": "SPL"},
    )
    save_splits(root, without_cases(splits, outcome.failures))
    save_manifest(root, manifest)
    left_out = {finding.file: f"{finding.problem} {finding.remedy}" for finding in collection.findings}
    return dataclasses.replace(outcome, failures={**outcome.failures, **left_out})


def run_cases(
    cases: Sequence[CaseSource],
    work: Work,
    *,
    root: pathlib.Path,
    settings: Mapping[str, Any],
    workers: Workers,
) -> Outcome:
    """Calls `work` for every case that is not finished, in parallel, and records each as it finishes.

    `work` writes the files of a case below `root` and returns plain JSON, whose entry `"files"` lists them relative to
    `root`. A case is finished when its record says so, for these settings and these source files, and the files exist.

    Raises:
        PreparationError: A worker process was killed; what is finished is kept.
    """
    root.mkdir(parents=True, exist_ok=True)
    remove_partials(root)
    settings = json.loads(json.dumps(settings))
    finished = {case.id: _finished(case, root, settings) for case in cases}
    to_do = [case for case in cases if finished[case.id] is None]
    if any(_record(root, case).is_file() for case in to_do):
        _log.info("%d cases changed, in their files or in the settings: they are prepared again.", len(to_do))
        (root / MANIFEST).unlink(missing_ok=True)
    results = {case_id: result for case_id, result in finished.items() if result is not None}
    failures: dict[str, str] = {}
    recorded = functools.partial(_recorded, work=work, root=root, settings=settings)
    for case_id, result, error in in_parallel(recorded, to_do, workers, title="Preparing"):
        if result is None:
            failures[case_id] = error
            _log.error("%s failed: %s", case_id, error)
        else:
            results[case_id] = result
    ordered = {case.id: results[case.id] for case in cases if case.id in results}
    return Outcome(ordered, len(cases) - len(to_do), failures)


def in_parallel(
    task: Callable[[CaseSource], _T], cases: Sequence[CaseSource], workers: Workers, *, title: str
) -> Iterator[_T]:
    """Calls `task` for every case and yields the answers as they come.

    Raises:
        PreparationError: A worker process was killed.
    """
    count = min(workers.count or joblib.cpu_count(), max(1, len(cases)))
    prefer = "threads" if workers.threads else "processes"
    pool = joblib.Parallel(count, return_as="generator_unordered", prefer=prefer, pre_dispatch="n_jobs", batch_size=1)
    answers = pool(joblib.delayed(task)(case) for case in cases)
    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    console = rich.console.Console(stderr=True)
    try:
        with rich.progress.Progress(*columns, console=console, disable=not (workers.progress and cases)) as bar:
            yield from bar.track(answers, total=len(cases), description=title)
    except loky.TerminatedWorkerError as error:
        raise PreparationError(
            "A worker process was killed, most likely for want of memory: type DATA_PREPARATION.WORKERS=1 and run it "
            "again; finished cases are kept."
        ) from error


def _recorded(case: CaseSource, *, work: Work, root: pathlib.Path, settings: Mapping[str, Any]) -> _Answer:
    """Does the work for one case and records it; whatever goes wrong is the answer, so that the others go on."""
    try:
        files = stamp(_files_of(case))
        result = work(case)
        save_json(_record(root, case), {"settings": settings, "stamp": files, "result": result})
    except Exception as error:  # noqa: BLE001 - one case must not take the others with it
        _log.debug("%s failed", case.id, exc_info=True)
        text = " ".join(str(error).split())
        return case.id, None, text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
    return case.id, result, ""


def _finished(case: CaseSource, root: pathlib.Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        record = json.loads(_record(root, case).read_text(encoding="utf-8"))
        same = record["settings"] == settings and record["stamp"] == stamp(_files_of(case))
        complete = same and all((root / name).is_file() for name in record["result"]["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record["result"] if complete else None


def _prepared_entry(case: CaseSource, *, collection: Collection, recipe: Recipe, root: pathlib.Path) -> dict[str, Any]:
    entry = prepare_case(case, collection=collection, recipe=recipe, root=root).to_dict()
    files = [entry["image"]] if entry["label"] is None else [entry["image"], entry["label"], locations_path(case.id)]
    return {**entry, "files": files}


def _record(root: pathlib.Path, case: CaseSource) -> pathlib.Path:
    return root / RECORDS / f"{case.id}.json"


def _files_of(case: CaseSource) -> list[pathlib.Path]:
    return [pathlib.Path(os.path.abspath(path)) for path in (*case.images, case.label) if path is not None]  # noqa: PTH100
