"""What a case contributes to the fingerprint, kept on disk so that a killed run measures no case twice."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_preparation import validation
from data_preparation.collections.base import CaseSource, Collection, PreparationError
from data_preparation.files import save_arrays
from data_preparation.pipeline import Outcome, Workers, run_cases
from data_preparation.planning import CaseFacts, Fingerprint, Intensities, case_facts, fingerprint
from imaging import Volume, crop_slices, nonzero_bounding_box
from imaging.volume import CANONICAL, axis_moves, move_axes

FOLDER = ".fingerprint"
FORMAT = 1


def read_case(source: CaseSource, collection: Collection, *, trust_image: bool) -> tuple[Volume, Volume | None]:
    """Image and label of a case, of which everything that training relies on holds.

    Raises:
        ImageError: A file cannot be read, or label values are refused.
        PreparationError: Channels, voxels or grids do not fit; names the case and the file.
    """
    volume, label = collection.read_image(source), collection.read_label(source)
    name = str(source.images[0])
    findings = validation.wrong_channels(volume, collection.channels, name) + validation.non_finite(volume, name)
    if label is not None:
        findings += validation.grids_differ(volume, label, str(source.label), trust_image=trust_image)
    if findings:
        raise PreparationError(f"{source.id}: {findings[0]}")
    return volume, label


def collection_fingerprint(
    collection: Collection, root: pathlib.Path, *, trust_image: bool, workers: Workers
) -> tuple[Fingerprint, Outcome]:
    """The fingerprint of the training cases that have a label.

    Args:
        collection: What was found on disk.
        root: Of the prepared collection.
        trust_image: Accept labels of the right shape whatever their header says about their place.
        workers: How cases are worked on.

    Returns:
        The fingerprint, and what became of each case: its label values and how many voxels have each.

    Raises:
        PreparationError: No training case can be read, or none has foreground.
    """
    training = [case for case in collection.cases if case.label is not None and case.part != "test"]
    folder = root / FOLDER
    work = functools.partial(_measure, collection=collection, folder=folder, trust_image=trust_image)
    settings = {"format": FORMAT, "reading": reading_rules(collection), "trust_image": trust_image}
    outcome = run_cases(training, work, root=folder, settings=settings, workers=workers)
    if not outcome.results:
        first = next(iter(outcome.failures.items()), ("", "there is no training case with a label"))
        raise PreparationError(f"{collection.name}: no case can be measured; {': '.join(first).strip(': ')}")
    try:
        facts = [_load(folder, entry) for entry in outcome.results.values()]
        return fingerprint(facts), outcome
    except ValueError as error:
        raise PreparationError(f"{collection.name}: {error}") from error


def _measure(case: CaseSource, *, collection: Collection, folder: pathlib.Path, trust_image: bool) -> dict[str, Any]:
    volume, label = read_case(case, collection, trust_image=trust_image)
    if label is None:
        raise PreparationError(f"{case.id}: its label cannot be read.")
    moves = axis_moves(volume.affine, CANONICAL)
    upright = move_axes(volume.array, *moves)
    upright = upright if upright.ndim == 4 else upright[..., None]
    crop = nonzero_bounding_box(upright)
    image, labels = upright[crop_slices(crop)], move_axes(label.array, *moves)
    facts = case_facts(
        image,
        np.where(labels == validation.IGNORE, 0, labels)[crop_slices(crop)],
        spacing_mm=[volume.spacing_mm[axis] for axis in moves[0]],
        relative_size=float(np.prod(image.shape[:3]) / np.prod(upright.shape[:3])),
    )
    arrays = {f"values_{index}": channel.values for index, channel in enumerate(facts.intensities)}
    arrays |= {f"shares_{index}": channel.shares for index, channel in enumerate(facts.intensities)}
    save_arrays(folder / f"{case.id}.npz", arrays)
    counts = validation.count_labels(labels)
    return {
        "spacing_mm": facts.spacing_mm,
        "shape_after_crop": facts.shape_after_crop,
        "relative_size": facts.relative_size,
        "voxels": {str(value): count for value, count in counts.items()},
        "files": [f"{case.id}.npz"],
    }


def _load(folder: pathlib.Path, entry: Mapping[str, Any]) -> CaseFacts:
    with np.load(folder / entry["files"][0]) as arrays:
        count = len(arrays.files) // 2
        channels = tuple(Intensities(arrays[f"values_{index}"], arrays[f"shares_{index}"]) for index in range(count))
    d, h, w = (int(size) for size in entry["shape_after_crop"])
    return CaseFacts(tuple(entry["spacing_mm"]), (d, h, w), float(entry["relative_size"]), channels)


def reading_rules(collection: Collection) -> dict[str, Any]:
    """What else than its files decides about a case: the options of the readers, as JSON gives them back."""
    rules: dict[str, Any] = {}
    for name, reader in (("image", collection.read_image), ("label", collection.read_label)):
        if dataclasses.is_dataclass(reader) and not isinstance(reader, type):
            rules[name] = _texts(dataclasses.asdict(reader))
        elif isinstance(reader, functools.partial):
            rules[name] = _texts(reader.keywords)
    return rules


def _texts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose keys are texts all the way down, as JSON gives them back."""
    return {str(key): _texts(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
