"""What validation measures: every sample in batches, or whole volumes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from data_generators.patches import PatchSource
from data_generators.sources import SliceSource, open_array
from inference.activation import labels_from_probabilities
from inference.cascade import for_joined, with_classes
from inference.network import Network
from inference.segmenter import Application, Segmenter
from training.loaders import Stream

Validate = Callable[[Any], dict[str, float]]


def validate_batches(feed: Callable[[int], Stream]) -> Validate:
    """Validation on every sample once; the last batch is never dropped.

    Args:
        feed: From position 0 to one pass over the validation samples.

    Returns:
        A function of the training model that gives `loss`, its terms, `dice` and `dice_<class>`; Dice is pooled over
        all samples. Several JAX devices: a last batch that is filled up counts its filling in `loss`, not in Dice.
    """

    def validate(model: Any) -> dict[str, float]:
        with feed(0) as stream:
            return dict(model.evaluate(stream, verbose=0, return_dict=True))

    return validate


def validate_volumes(
    source: Any,
    application: Application,
    *,
    class_names: Sequence[str],
    regions: Sequence[Sequence[int]] | None = None,
) -> Validate:
    """Validation on whole volumes, slice by slice or by sliding windows, as prediction does it.

    Args:
        source: The validation cases of a prepared collection.
        application: How the network is applied.
        class_names: Foreground classes, or regions.
        regions: Classes of each output where outputs are overlapping regions.

    Returns:
        A function of the training model that gives `dice` and `dice_<class>`: the mean over cases, in prepared voxels,
        of cases where the class is in the reference or was found.

    Raises:
        ValueError: The samples are pictures.
    """
    if not isinstance(source, SliceSource | PatchSource):
        raise ValueError("VALIDATION.WHOLE_VOLUME=True needs prepared volumes. Type VALIDATION.WHOLE_VOLUME=False.")
    built: dict[int, Segmenter] = {}
    previous = getattr(source, "previous", None)
    scored = [[place] for place in range(1, len(class_names) + 1)] if regions is None else regions

    def validate(model: Any) -> dict[str, float]:
        if id(model) not in built:
            one = _segmenter(model.network, application, regions)
            built[id(model)] = one if previous is None else for_joined(one, classes=previous.classes, slices=1)
        scores = [_case_dice(source, case, built[id(model)], scored) for case in source.cases]
        per_class = np.array(scores, float).T
        means = [float(np.nanmean(values)) if not np.isnan(values).all() else math.nan for values in per_class]
        known = [value for value in means if not math.isnan(value)]
        named = {f"dice_{name}": value for name, value in zip(class_names, means, strict=True)}
        return {"dice": float(np.mean(known)) if known else math.nan, **(named if len(class_names) > 1 else {})}

    return validate


def _segmenter(network: keras.Model, application: Application, regions: Sequence[Sequence[int]] | None) -> Segmenter:
    application = replace(application, window=None)  # the network in training has one input size
    finest = Network(network, batch_size=application.batch_size, regions=regions)
    return Segmenter(finest, finest.spatial_shape, application, regions)


def _case_dice(
    source: SliceSource | PatchSource, case: Any, segmenter: Segmenter, scored: Sequence[Sequence[int]]
) -> list[float]:
    image, previous = open_array(source.root / case.image), getattr(source, "previous", None)
    found = labels_from_probabilities(
        segmenter.probabilities(image if previous is None else with_classes(image, previous.volume(case))),
        threshold=segmenter.application.threshold,
        regions=segmenter.regions,
    )
    reference = source.label_table[open_array(source.root / case.label)]
    counted = reference != 255
    return [dice(np.isin(reference, values), np.isin(found, values) & counted) for values in scored]


def dice(reference: np.ndarray, found: np.ndarray) -> float:
    """`2 |R and F| / (|R| + |F|)`; not a number where both are empty."""
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(found))
    return 2.0 * int(np.count_nonzero(reference & found)) / total if total else math.nan
