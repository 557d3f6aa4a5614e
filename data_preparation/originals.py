"""The published label of a prepared case, read as the preparation read it."""

import pathlib
from collections.abc import Callable

from data_generators.manifest import Case, Manifest
from data_preparation.collections import CaseSource, original_label_reader
from imaging import Volume


def case_label_reader(manifest: Manifest, *, mask_threshold: int | None = None) -> Callable[[Case], Volume | None]:
    """Reads the original label of a case; None where it has none.

    Args:
        manifest: Of the prepared collection.
        mask_threshold: For collections of grey masks.
    """
    read = original_label_reader(manifest, mask_threshold=mask_threshold)

    def read_label(case: Case) -> Volume | None:
        if case.label_source is None:
            return None
        images = tuple(pathlib.Path(source.path) for source in case.sources)
        return read(CaseSource(case.id, case.patient, images, pathlib.Path(case.label_source.path)))

    return read_label
