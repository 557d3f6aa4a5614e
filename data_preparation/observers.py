"""The second observer of a prepared collection: how well people agree, the bound that a network is measured against."""

import functools
import pathlib
from collections.abc import Callable

import numpy as np

from data_generators.manifest import load_manifest
from data_preparation.collections import RETINA, CaseSource
from data_preparation.collections.retina import read_observer


def second_observer_reader(root: pathlib.Path | None) -> Callable[[str], np.ndarray | None] | None:
    """Reads the second observer's label of a case, by its id.

    Args:
        root: The prepared collection; None where there is none.

    Returns:
        None where the collection has no second observer. The label `(d, h, w)` is as the first observer's, 255 where it
        is ignored; None for a case without one.
    """
    manifest = None if root is None else load_manifest(root)
    layout = None if manifest is None else RETINA.get(manifest.collection)
    if manifest is None or layout is None or len(layout.observers) < 2:
        return None
    read = functools.partial(read_observer, layout=layout, observer=2)

    def read_label(case_id: str) -> np.ndarray | None:
        case = manifest.case(case_id)
        if case.label_source is None:
            return None
        images = tuple(pathlib.Path(source.path) for source in case.sources)
        label = read(CaseSource(case.id, case.patient, images, pathlib.Path(case.label_source.path)))
        return None if label is None else label.array

    return read_label
