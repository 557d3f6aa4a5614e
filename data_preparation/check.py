"""Looks at every case of a collection and writes nothing: all findings, each with its file and its remedy."""

import functools
import hashlib
import pathlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data_generators.manifest import Splits
from data_preparation import validation
from data_preparation.collections.base import CaseSource, Collection, Finding
from data_preparation.fold_check import empty_classes
from data_preparation.pipeline import Workers, in_parallel
from imaging import ImageError, Volume, to_canonical

Answer = tuple[list[Finding], str, dict[int, int]]
"""Findings of a case, a fingerprint of its voxels, voxels per label value."""


def check_collection(
    collection: Collection, *, splits: Splits | None = None, workers: int = 0, progress: bool = True
) -> list[Finding]:
    """Reads every case and lists what is wrong, in the order of the cases.

    Found are: images or labels without partner, doubled names, files that cannot be read (truncated, Git LFS pointers),
    voxels that are not finite, images of a single value, another number of channels, labels on another grid, with
    unexpected values or without foreground, and images with the same voxels under two names.

    Args:
        collection: What was found on disk.
        splits: Folds that are looked at for classes they do not see.
        workers: Cases at once; 0 means one per core.
        progress: Show a progress bar.
    """
    task = functools.partial(check_case, collection=collection)
    how = Workers(workers, collection.threads, progress)
    answers = dict(in_parallel(task, collection.cases, how, title="Checking"))
    return assemble(collection, answers, splits=splits)


def assemble(collection: Collection, answers: Mapping[str, Answer], *, splits: Splits | None = None) -> list[Finding]:
    """All findings in the order of the cases, those between cases behind them.

    Args:
        collection: What was found on disk.
        answers: Case id to what `check_case` said of it.
        splits: Folds that are looked at for classes they do not see.
    """
    findings = list(collection.findings)
    same: dict[str, list[str]] = defaultdict(list)
    for case in collection.cases:
        found, voxels, _ = answers[case.id]
        findings += found
        if voxels:
            same[voxels].append(_name(case))
    for files in same.values():
        findings += [
            Finding(file, f"the same voxels as {files[0]}.", "Keep one of them: the other leaks between splits.")
            for file in files[1:]
        ]
    if splits is not None:
        findings += empty_classes(
            splits, collection.labels, {name: held for name, (_, _, held) in answers.items() if held}
        )
    return findings


def check_case(case: CaseSource, *, collection: Collection) -> tuple[str, Answer]:
    """One case: its id, its findings, a fingerprint of the image's voxels and how many voxels have which label.

    The fingerprint and the counts are empty where a file cannot be read.
    """
    findings: list[Finding] = []
    counts: dict[int, int] = {}
    image = _read(collection.read_image, case, case.images, findings)
    voxels = ""
    if image is not None:
        findings += validation.wrong_channels(image, collection.channels, _name(case))
        findings += validation.too_small(image, _name(case))
        findings += validation.non_finite(image, _name(case))
        findings += validation.constant(image, _name(case))
        if collection.intensity == "planned":
            findings += validation.one_slice(image, _name(case))
        voxels = voxel_hash(image)
        image = image.with_array(np.broadcast_to(np.uint8(0), image.shape))
    label = _read(collection.read_label, case, [case.label] if case.label else [], findings)
    if label is not None:
        name = str(case.label)
        counts = validation.count_labels(label.array)
        if image is not None:
            findings += validation.grids_differ(image, label, name)
        findings += validation.unexpected_values(counts, collection.labels, name)
        findings += validation.empty_label(counts, name)
    return case.id, (findings, voxels, counts)


def voxel_hash(image: Volume) -> str:
    """SHA-256 of the voxels in canonical orientation, as float32: equal for equal voxels, however they are stored."""
    upright = to_canonical(image)
    digest = hashlib.sha256(repr(upright.array.shape).encode())
    for plane in upright.array:
        digest.update(np.ascontiguousarray(plane, np.float32).tobytes())
    return digest.hexdigest()


def _read(
    reader: Callable[[CaseSource], Volume | None],
    case: CaseSource,
    files: Sequence[pathlib.Path],
    findings: list[Finding],
) -> Volume | None:
    """Reads, or adds a finding."""
    try:
        return reader(case)
    except (ImageError, OSError) as error:
        name = str(files[0]) if files else case.id
        findings.append(Finding(name, " ".join(str(error).split()).removeprefix(f"{name}: "), ""))
        return None


def _name(case: CaseSource) -> str:
    return str(case.images[0])
