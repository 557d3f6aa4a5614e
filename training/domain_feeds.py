"""Batches of several domains as Keras reads them: with the name, or on TensorFlow the number, of their domain."""

import contextlib
import itertools
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from data_generators.domains import DomainLoader
from training.feeds import Feed
from training.loaders import Batching, Stream
from training.runtime import Runtime


class DomainFeed(Feed):
    """A `Feed` of a `DomainLoader` whose images are `{domain: image}`."""

    def _make(self, index: int) -> Any:
        loader, place = self._locate(index)
        image, *rest = super()._make(index)
        return ({loader.domain(place): image}, *rest)


def domain_feed(loader: DomainLoader, batching: Batching, *, runtime: Runtime) -> Callable[[int], Stream]:
    """From a position to the endless stream of batches that a `DomainsModel` reads."""
    several = runtime.replicas * runtime.process[1] > 1
    least = loader.batch_size if runtime.backend == "jax" else runtime.replicas

    def feed(start: int) -> Stream:
        batches = DomainFeed(
            loader,
            start=start,
            threads=batching.threads,
            fill=least if several else 0,
            ignore_label=batching.ignore_label,
        )
        return batches if runtime.backend == "jax" else _dataset(batches, list(loader.loaders))

    return feed


@contextlib.contextmanager
def _dataset(batches: DomainFeed, names: list[str]) -> Generator[Any]:
    """The batches as a TensorFlow dataset of any shapes: Keras would expect those of the first two."""
    import tensorflow as tf

    def numbered() -> Generator[tuple[np.ndarray, ...]]:
        for index in itertools.count():
            batch: Any = batches[index]
            images, *rest = batch
            ((name, image),) = images.items()
            yield (image, *rest, np.full(len(image), names.index(name), np.int32))

    kinds = [((None,) * 5, "float32"), ((None,) * 5, "uint8"), ((None,), "float32"), ((None,), "int32")]
    kinds = kinds if batches.fill else [*kinds[:2], kinds[3]]
    signature = tuple(tf.TensorSpec(shape, kind) for shape, kind in kinds)
    with batches:
        yield tf.data.Dataset.from_generator(numbered, output_signature=signature).prefetch(2)
