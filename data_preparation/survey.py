"""What every case of a collection looks like: the facts behind a dataset report, measured on the original files."""

import dataclasses
import functools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_generators.manifest import Splits
from data_preparation.check import Answer, assemble, check_case
from data_preparation.collections.base import CaseSource, Collection, Finding
from data_preparation.pipeline import Workers, in_parallel
from data_preparation.suspicion import suspicious
from data_preparation.validation import IGNORE
from imaging import ImageError, Volume, axis_codes, to_canonical

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SAMPLE, THUMBNAIL, TEMPLATE = 4000, 160, (12, 16, 16)


@dataclasses.dataclass(frozen=True)
class CaseSurvey:
    """One case, in canonical orientation.

    Attributes:
        id: Case.
        patient: Patient.
        file: Its (first) image file.
        shape: `(d, h, w)`.
        spacing_mm: Of `(d, h, w)`.
        codes: Orientation of the file, such as `RAS`.
        quantiles: Channel to the intensities at `QUANTILES`.
        samples: Channel to class name to at most `SAMPLE` intensities; `background` is everything else.
        volumes_ml: Class name to volume; 0 where the class is not in the label.
        centres: Class name to the centre of its voxels, each axis from 0 to 1; only classes that are there.
        template: The first channel shrunk to `TEMPLATE`, between its 5 and 95 % quantile, 0 to 1.
        thumbnail: Axial slice with most foreground, uint8 `(h, w)`, and its label.
        aspect: Height of a pixel of the thumbnail over its width.
    """

    id: str
    patient: str
    file: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    codes: str
    quantiles: tuple[tuple[float, ...], ...]
    samples: tuple[dict[str, NDArray[np.float32]], ...]
    volumes_ml: dict[str, float]
    centres: dict[str, tuple[float, ...]]
    template: NDArray[np.float32]
    thumbnail: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    aspect: float


def survey_collection(
    collection: Collection, *, splits: Splits | None = None, workers: int = 0, progress: bool = True
) -> tuple[list[CaseSurvey], list[Finding]]:
    """Reads every case once, checks it and measures it.

    Args:
        collection: What was found on disk.
        splits: Folds that are looked at for classes they do not see.
        workers: Cases at once; 0 means one per core.
        progress: Show a progress bar.

    Returns:
        The cases that could be read, in order, and all findings: the checker's, then what is suspicious beside the
        other cases.
    """
    task = functools.partial(survey_case, collection=collection)
    how = Workers(workers, collection.threads, progress)
    answers: dict[str, Answer] = {}
    surveys: dict[str, CaseSurvey] = {}
    for case_id, answer, survey in in_parallel(task, collection.cases, how, title="Surveying"):
        answers[case_id] = answer
        if survey is not None:
            surveys[case_id] = survey
    ordered = [surveys[case.id] for case in collection.cases if case.id in surveys]
    return ordered, [*assemble(collection, answers, splits=splits), *suspicious(ordered)]


def survey_case(case: CaseSource, *, collection: Collection) -> tuple[str, Answer, CaseSurvey | None]:
    """One case: what the checker says, and its facts; None where it cannot be read."""
    read_image, read_label = (
        functools.lru_cache(1)(collection.read_image),
        functools.lru_cache(1)(collection.read_label),
    )
    once = dataclasses.replace(collection, read_image=read_image, read_label=read_label)
    _, answer = check_case(case, collection=once)
    try:
        image, label = read_image(case), read_label(case)
    except (ImageError, OSError):
        return case.id, answer, None
    if label is not None and label.shape != image.shape:
        label = None
    return case.id, answer, measure(case, image, label, collection.labels)


def measure(case: CaseSource, image: Volume, label: Volume | None, labels: Mapping[int, str]) -> CaseSurvey:
    """The facts of one case.

    Args:
        case: Its names.
        image: As read.
        label: On the same grid, or None.
        labels: Label value to name.
    """
    upright = to_canonical(image)
    array = upright.array if upright.array.ndim == 4 else upright.array[..., None]
    truth = np.zeros(array.shape[:3], np.uint8)
    if label is not None:
        truth = to_canonical(dataclasses.replace(label, affine=image.affine)).array
    classes = {value: name for value, name in labels.items() if value not in (0, IGNORE)}
    held = _places(truth, classes) if label is not None else {}
    voxel_ml = math.prod(upright.spacing_mm) / 1000
    quantiles = [_quantiles(array[..., channel]) for channel in range(array.shape[-1])]
    held_planes = np.atleast_1d(np.count_nonzero(truth, axis=(1, 2)))
    index = int(held_planes.argmax()) if held_planes.any() else len(held_planes) // 2
    return CaseSurvey(
        id=case.id,
        patient=case.patient,
        file=str(case.images[0]),
        shape=upright.shape,
        spacing_mm=upright.spacing_mm,
        codes=axis_codes(image.affine) if image.has_geometry else "none",
        quantiles=tuple(quantiles),
        samples=tuple(_samples(array[..., channel], truth, classes) for channel in range(array.shape[-1])),
        volumes_ml={name: count * voxel_ml for name, (count, _) in held.items()},
        centres={name: centre for name, (count, centre) in held.items() if count},
        template=_template(array[..., 0], quantiles[0]),
        thumbnail=_thumbnail(array[index, ..., 0], truth[index], quantiles[0]),
        aspect=upright.spacing_mm[1] / upright.spacing_mm[2],
    )


def _places(label: NDArray[np.generic], classes: Mapping[int, str]) -> dict[str, tuple[int, tuple[float, ...]]]:
    """Class name to its number of voxels and their centre, each axis from 0 to 1."""
    boxes = ndimage.find_objects(label.astype(np.int32, copy=False))
    found: dict[str, tuple[int, tuple[float, ...]]] = {}
    for value, name in classes.items():
        box = boxes[value - 1] if 0 < value <= len(boxes) else None
        if box is None:
            found[name] = 0, ()
            continue
        inside = np.argwhere(label[box] == value)
        middle = inside.mean(axis=0) + [part.start for part in box]
        found[name] = len(inside), tuple((middle / np.maximum(np.array(label.shape) - 1, 1)).tolist())
    return found


def _quantiles(values: NDArray[np.generic]) -> tuple[float, ...]:
    flat = values.reshape(-1)[:: max(1, values.size // 500_000)].astype(np.float64)
    flat = flat[np.isfinite(flat)]
    return tuple(np.quantile(flat, QUANTILES).tolist()) if flat.size else (math.nan,) * len(QUANTILES)


def _samples(
    values: NDArray[np.generic], label: NDArray[np.generic], classes: Mapping[int, str]
) -> dict[str, NDArray[np.float32]]:
    """Evenly spread intensities of every class."""
    found: dict[str, NDArray[np.float32]] = {}
    for value, name in {0: "background", **classes}.items():
        inside = values[label == value]
        chosen = inside[:: max(1, -(-inside.size // SAMPLE))].astype(np.float32)
        found[name] = chosen[np.isfinite(chosen)]
    return found


def _template(values: NDArray[np.generic], quantiles: tuple[float, ...]) -> NDArray[np.float32]:
    steps = [
        np.linspace(0, size - 1, count).round().astype(int) for size, count in zip(values.shape, TEMPLATE, strict=True)
    ]
    return _unit(values[np.ix_(*steps)], quantiles[0], quantiles[-1])


def _thumbnail(
    values: NDArray[np.generic], label: NDArray[np.generic], quantiles: tuple[float, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    step = max(1, -(-max(values.shape) // THUMBNAIL))
    wide = (quantiles[-1] - quantiles[0]) * 0.15
    grey = _unit(values[::step, ::step], quantiles[0] - wide, quantiles[-1] + wide)
    return np.round(grey * 255).astype(np.uint8), label[::step, ::step].astype(np.uint8)


def _unit(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.float32]:
    """Values between two limits as 0 to 1; what is not finite is 0."""
    unit = (values.astype(np.float32) - low) / max(high - low, 1e-6)
    return np.clip(np.nan_to_num(unit, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
