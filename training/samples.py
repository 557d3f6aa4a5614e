"""A few validation samples as pictures, drawn whenever validation has the weights."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_generators.sources import Source, is_random
from inference.activation import labels_from_probabilities
from inference.network import Network

log = logging.getLogger(__name__)

Validate = Callable[[Any], Mapping[str, float]]
DrawSample = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Image `(*s, c)`, reference and prediction `(*s,)` to a picture, uint8 `(h, w, 3)`."""


class SamplePictures:
    """Predicts the same few samples at every validation and keeps them as pictures until they are taken.

    A picture that fails is logged; it does not end the run.

    Args:
        source: Validation samples with labels.
        count: How many.
        draw: Makes a picture of a sample.
        regions: Classes of each output where outputs are overlapping regions.
    """

    def __init__(
        self, source: Source, *, count: int, draw: DrawSample, regions: Sequence[Sequence[int]] | None = None
    ) -> None:
        self._source, self._draw, self._regions = source, draw, regions
        self._chosen = telling_samples(source, count) if source.has_labels else []
        self._network: Network | None = None
        self._pictures: dict[str, np.ndarray] = {}

    def beside(self, validate: Validate) -> Validate:
        """Validation that draws the samples after it has measured, with the same weights."""

        def measured(model: Any) -> Mapping[str, float]:
            found = validate(model)
            try:
                self._pictures = self._drawn(model)
            except (ValueError, OSError, RuntimeError) as error:
                log.warning("No pictures of validation samples: %s", " ".join(str(error).split()))
            return found

        return measured

    def take(self) -> dict[str, np.ndarray]:
        """Name to picture of what was drawn since the last call."""
        taken, self._pictures = self._pictures, {}
        return taken

    def _drawn(self, model: Any) -> dict[str, np.ndarray]:
        if self._network is None:
            self._network = Network(model.network, batch_size=1, regions=self._regions)
        pictures: dict[str, np.ndarray] = {}
        for index in self._chosen:
            image, label = read_sample(self._source, index)
            if label is None:
                continue
            found = labels_from_probabilities(self._network(image[None]), regions=self._regions)[0]
            pictures[self._source.name(index)] = self._draw(image, label[..., 0], found)
        return pictures


def telling_samples(source: Source, count: int) -> list[int]:
    """The first samples worth looking at: of slices the middle one with foreground of each case, else the first ones.

    Args:
        source: Samples in order.
        count: How many at most.
    """
    locate = getattr(source, "locate", None)
    if locate is None:
        return list(range(min(count, len(source))))
    slices: dict[str, list[int]] = {}
    for index in np.flatnonzero(source.foreground).tolist():
        slices.setdefault(locate(index)[0].id, []).append(index)
    return [found[len(found) // 2] for found in slices.values()][:count]


def read_sample(source: Source, index: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Sample `index` as the network takes it, the same at every call; a patch around foreground where there is any."""
    if not is_random(source):
        return source.read(index)
    generator = np.random.default_rng(index)
    image, label = source.draw(index, generator, foreground=True)
    finish = getattr(source, "finish", None)
    return (image, label) if finish is None else finish(image, label, generator)
