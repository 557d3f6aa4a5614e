"""A few samples, and what a recipe makes of them."""

from collections.abc import Sequence

import numpy as np

from data_generators.augmentation.pipeline import Augmentation
from data_generators.sources import Sample, SliceSource, Source, is_random

_PROBES = 6  # samples looked at for each that is shown


def augmented_examples(
    source: Source, augment: Augmentation, *, samples: int = 3, draws: int = 4, seed: int = 0
) -> list[list[Sample]]:
    """Samples spread over a source, with foreground where they have any, each followed by draws of the recipe.

    No generator of training is touched.

    Args:
        source: Where samples come from; of patches each stays at one place.
        augment: The recipe.
        samples: At most so many samples.
        draws: Of the recipe, for each of them.
        seed: Decides places and draws.

    Returns:
        For each sample, as it is and then `draws` times: image `(*s, c)` and label `(*s, 1)` or `None`.
    """
    blocks = np.array_split(np.arange(len(source)), min(samples, len(source)))
    chosen = [_most_foreground(source, block) for block in blocks]
    return [
        [
            _one(source, index, None, [seed, index]),
            *(_one(source, index, augment, [seed, index, n]) for n in range(draws)),
        ]
        for index in chosen
    ]


def _most_foreground(source: Source, block: np.ndarray) -> int:
    if is_random(source) or not source.has_labels:
        return int(block[len(block) // 2])
    if isinstance(source, SliceSource) and source.foreground[block].any():
        block = block[source.foreground[block]]
    probes = block[np.unique(np.linspace(0, len(block) - 1, _PROBES).round().astype(int))].tolist()
    return max(probes, key=lambda index: _foreground(source, index))


def _foreground(source: Source, index: int) -> int:
    _, label = source.read(index)
    return 0 if label is None else int(np.count_nonzero(label))


def _one(source: Source, index: int, augment: Augmentation | None, seed: Sequence[int]) -> Sample:
    rng = np.random.default_rng(list(seed))
    if not is_random(source):
        image, label = source.read(index)
        return (image, label) if augment is None else augment(image, label, rng)
    place = np.random.default_rng(list(seed)[:2])
    if augment is None:
        return source.draw(index, place, foreground=source.has_labels)
    parameters = augment.draw(rng, source.patch)
    image, label = source.draw(index, place, foreground=source.has_labels, shape=parameters.read_shape)
    return augment.apply(image, label, parameters)
