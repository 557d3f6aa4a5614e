"""The predecessor's slice folders: `image_<vol>_<slice>.png` (three neighbours as red, green, blue) and their masks."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from data_generators.manifest import Splits, save_json
from data_preparation.case import Recipe, prepare_arrays
from data_preparation.collections.base import CaseSource, Collection, PreparationError
from data_preparation.pipeline import Outcome, Workers, run_cases
from data_preparation.splits import make_splits
from imaging.atomic import replacing

METADATA = "preparation.json"
FORMAT = 1
_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclasses.dataclass(frozen=True)
class SliceFolders:
    """Where the slices of each part go: `(images, masks)` by part, all below `root`."""

    root: pathlib.Path
    train: tuple[pathlib.Path, pathlib.Path]
    validation: tuple[pathlib.Path, pathlib.Path]
    test: tuple[pathlib.Path, pathlib.Path]

    def of(self, case_id: str, splits: Splits) -> tuple[pathlib.Path, pathlib.Path]:
        """The folders of a case. Without any validation case the test cases go where validation would be."""
        part = next(part for part, ids in splits.official.items() if case_id in ids)
        if part == "test" and not splits.official["validation"]:
            part = "validation"
        return {"train": self.train, "validation": self.validation, "test": self.test}[part]


def prepare_slices(
    collection: Collection,
    folders: SliceFolders,
    recipe: Recipe,
    *,
    table: np.ndarray,
    validation_share: float = 0.1,
    seed: int = 5,
    workers: int = 0,
    progress: bool = True,
) -> Outcome:
    """Writes every slice of every case as an image and a mask.

    The grey values are the fixed window mapped to 0..255; masks hold class indices. Resumable like
    `prepare_collection`. Prefer the `npy` format: this one stores every slice three times, in 8 bits.

    Args:
        collection: What was found on disk.
        folders: Where to.
        recipe: What is done to every case.
        table: uint8 `(256,)`, from stored label values to classes (`data_generators.manifest.label_lut`).
        validation_share: Share of the training patients kept for validation; 0 puts the test cases there.
        seed: Of the split.
        workers: Cases at once; 0 means one per core.
        progress: Show a progress bar.

    Raises:
        PreparationError: No case, or workers were killed.
    """
    if not collection.cases:
        raise PreparationError(f"{collection.name}: no case can be prepared. {' '.join(map(str, collection.findings))}")
    splits = make_splits(collection.cases, validation_share=validation_share, seed=seed)
    places = {case.id: folders.of(case.id, splits) for case in collection.cases}
    what = {"format": FORMAT, "collection": collection.name, **dataclasses.asdict(recipe), "classes": table.tolist()}
    where = {case_id: [str(folder) for folder in place] for case_id, place in places.items()}
    work = functools.partial(
        _write_case, collection=collection, recipe=recipe, table=table, places=places, root=folders.root
    )
    settings = {**what, "split": [validation_share, seed], "folders": sorted({tuple(pair) for pair in where.values()})}
    how = Workers(workers, collection.threads, progress)
    outcome = run_cases(collection.cases, work, root=folders.root, settings=settings, workers=how)
    save_json(folders.root / METADATA, {**what, "splits": splits.to_dict(), "cases": dict(outcome.results)})
    left_out = {finding.file: f"{finding.problem} {finding.remedy}" for finding in collection.findings}
    return dataclasses.replace(outcome, failures={**outcome.failures, **left_out})


def neighbours(image: np.ndarray, index: int) -> np.ndarray:
    """Slice `index` of `(d, h, w, c)` uint8 as a colour picture `(h, w, 3)`, red to blue.

    One channel: the slice below, the slice, the slice above, the last one repeated at the ends. Three: its own colours.
    """
    if image.shape[-1] == 3:
        return image[index]
    last = len(image) - 1
    return np.stack([image[min(max(at, 0), last), ..., 0] for at in (index - 1, index, index + 1)], axis=-1)


def _write_case(
    case: CaseSource,
    *,
    collection: Collection,
    recipe: Recipe,
    table: np.ndarray,
    places: Mapping[str, tuple[pathlib.Path, pathlib.Path]],
    root: pathlib.Path,
) -> dict[str, Any]:
    arrays = prepare_arrays(case, collection, recipe)
    grey = np.empty(arrays.image.shape, np.uint8)
    for index, plane in enumerate(arrays.image):
        grey[index] = np.rint(plane.astype(np.float32) * 255)
    images, masks = places[case.id]
    name = case.id.removeprefix("volume-")
    written: list[pathlib.Path] = []
    for index in range(len(grey)):
        written.append(images / f"image_{name}_{index}.png")
        _write_png(written[-1], neighbours(grey, index)[..., ::-1])
        if arrays.label is not None:
            written.append(masks / f"mask_{name}_{index}.png")
            _write_png(written[-1], table[arrays.label[index]])
    return {"geometry": arrays.geometry.to_dict(), "files": [str(path.relative_to(root)) for path in written]}


def _write_png(path: pathlib.Path, picture: np.ndarray) -> None:
    with replacing(path) as partial:
        partial.write_bytes(cv2.imencode(".png", picture, _FAST)[1].tobytes())
