"""What there is to score: prepared cases with their original labels, or pictures with their masks."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from data_generators.folders import FolderSource
from data_generators.manifest import load_manifest
from data_generators.pictures import read_mask
from data_generators.records import Case, Splits
from data_generators.sources import open_array
from imaging import Volume
from imaging.volume import picture_affine
from inference.inputs import Item
from inference.prepare import InputRecipe
from inference.reading import Loaded, Rules, as_shown, load
from inference.scoring import ScoringError, map_label

_LOG = logging.getLogger(__name__)

ReadLabel = Callable[[Case], Volume | None]


@dataclasses.dataclass(frozen=True)
class Task:
    """One case to score.

    Attributes:
        name: What its results are called.
        patient: Whom it shows.
        load: Reads what the network sees.
        reference: Reads the true label: classes, on the grid of the original file.
        suffix: What its prediction is written as.
        sources: Files that its score depends on.
    """

    name: str
    patient: str
    load: Callable[[], Loaded]
    reference: Callable[[], Volume]
    suffix: str = ".nii.gz"
    sources: tuple[pathlib.Path, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cohort:
    """What is scored.

    Attributes:
        tasks: The cases.
        names: Class value to name, background included.
        input_shape: What the network takes, `(*s, c)`.
        slices: Neighbouring slices of an input.
        part: What the cases are, in words.
        unit: Of distances.
        regions: Region to class values, where classes overlap.
        declared: The collection's regions, where the network says its labels instead: scored beside the classes.
    """

    tasks: list[Task]
    names: dict[int, str]
    input_shape: tuple[int, ...]
    slices: int
    part: str
    unit: str = "mm"
    regions: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict[str, tuple[int, ...]])
    declared: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict[str, tuple[int, ...]])


def chosen_cases(splits: Splits, *, fold: int | None, part: str) -> tuple[tuple[str, ...], str]:
    """Case ids of a part, and what they are in words. Folds have no test part: their validation cases are taken.

    Args:
        splits: Of the collection.
        fold: None: the official split.
        part: `train`, `validation` or `test`.

    Raises:
        ScoringError: There are none; names the parts that there are.
    """
    parts = splits.official if fold is None else splits.fold(fold)
    place_of = "the official split" if fold is None else f"fold {fold}"
    if not parts.get(part) and part == "test" and parts.get("validation"):
        _LOG.warning("There are no test cases in %s: its validation cases are scored.", place_of)
        part = "validation"
    if not parts.get(part):
        having = ", ".join(f"{name} ({len(ids)})" for name, ids in parts.items() if ids)
        raise ScoringError(f"There are no {part} cases in {place_of}, only {having}: type EVALUATION.SPLIT=...")
    return parts[part], f"{part} cases of {place_of}"


def prepared_tasks(
    root: pathlib.Path, case_ids: Iterable[str], *, table: np.ndarray, read_label: ReadLabel
) -> list[Task]:
    """Cases of a prepared collection, to be scored against their original label files.

    Args:
        root: The prepared collection.
        case_ids: Which cases, in order.
        table: From stored label values to classes, uint8 `(256,)`.
        read_label: Reads the original label of a case; None where it has none.
    """
    manifest = load_manifest(root)
    cases = [manifest.case(case_id) for case_id in case_ids]
    return [
        Task(
            name=case.id,
            patient=case.patient,
            load=functools.partial(_prepared, root, case),
            reference=functools.partial(_original, case, table, read_label),
            sources=(root / case.image, *_files(case)),
        )
        for case in cases
    ]


def picture_tasks(source: FolderSource) -> list[Task]:
    """Pictures with masks, to be scored at the size of their files."""
    # A recipe is asked for by the reader of volumes only.
    rules = Rules(InputRecipe(), source.options, np.arange(256, dtype=np.uint8))
    tasks: list[Task] = []
    for path, mask, patient in zip(source.images, source.masks, source.patients, strict=True):
        item = Item(path.stem, path, "picture")
        reference = functools.partial(_mask, path, mask, source)
        sources = tuple(file for file in (path, mask) if file is not None)
        tasks.append(Task(path.stem, patient, functools.partial(load, item, rules), reference, ".png", sources))
    return tasks


def with_reference(loaded: Loaded, reference: Volume) -> Loaded:
    """The same input with its reference on the grid of what is shown."""
    return dataclasses.replace(loaded, reference=as_shown(reference, loaded))


def _files(case: Case) -> list[pathlib.Path]:
    """The label file of a case, if it is there."""
    path = None if case.label_source is None else pathlib.Path(case.label_source.path)
    return [path] if path is not None and path.exists() else []


def _prepared(root: pathlib.Path, case: Case) -> Loaded:
    image = open_array(root / case.image)
    return Loaded(image, image[..., image.shape[-1] // 2], None, case.geometry)


def _original(case: Case, table: np.ndarray, read_label: ReadLabel) -> Volume:
    label = read_label(case)
    if label is None:
        raise ScoringError(
            f"{case.id}: has no reference label: take it out of this part, or prepare it with its label."
        )
    if label.shape != tuple(case.geometry.source.shape):
        raise ScoringError(
            f"{label.source}: has shape {label.shape}, the case was prepared from {tuple(case.geometry.source.shape)}: "
            "put back the original file, or prepare the collection again."
        )
    # Preparation has compared the grids; its own is the one that predictions are restored to.
    return map_label(dataclasses.replace(label, affine=case.geometry.source.affine), table)


def _mask(path: pathlib.Path, mask: pathlib.Path | None, source: FolderSource) -> Volume:
    if mask is None:
        raise ScoringError(f"{path}: has no mask: give DATASET.VAL.MASK_PATH.")
    label = read_mask(mask, dataclasses.replace(source.options, size=None))[..., 0]
    return Volume(label[None], picture_affine(), source=str(mask), has_geometry=False)
