"""Batches of a loader as Keras reads them: in one stream, from any position, made ahead by threads."""

import contextlib
import copy
import functools
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from data_generators.ahead import ReadAhead

Batch = tuple[np.ndarray, ...]


class Loader(Protocol):
    """Batches by epoch and number: `data_generators.sequence.SequenceLoader`."""

    epoch: int

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def __getitem__(self, index: int, /) -> Batch:
        """Image `(b, *s, c)` and label `(b, *s, 1)`."""
        ...

    def names(self, index: int, /) -> Sequence[str]:
        """What the samples of a batch are called."""
        ...


class Feed(keras.utils.PyDataset):
    """A loader as Keras reads it.

    Keras' own worker pool starts anew every epoch and, under a distribution strategy, is read past its end. Here the
    threads run on over the ends of epochs: batch `i` of the stream is batch `i % len(loader)` of epoch
    `i // len(loader)`, so a run can start anywhere in it.

    Args:
        loader: Makes a batch in the calling thread; several threads call it at once.
        start: First batch of the stream; 0 is the first of epoch 0.
        endless: Go on for ever; otherwise one epoch.
        threads: Threads that make batches ahead; 0 makes them when asked.
        fill: Samples a batch must have at least; 0 leaves batches as they are. Several devices need it: TensorFlow one
            sample for each, JAX full batches. Batches become `(image, label, weight)` with one weight for each sample;
            what is added has weight 0 and the label `ignore_label`.
        ignore_label: Label that no loss and no metric sees.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        start: int = 0,
        endless: bool = True,
        threads: int = 1,
        fill: int = 0,
        ignore_label: int = 255,
    ) -> None:
        super().__init__(workers=1)
        self.loader = loader
        self.start = start
        self.steps = len(loader)
        self.endless = endless
        self.fill, self.ignore_label = fill, ignore_label
        self._ahead = ReadAhead(self._make, threads)
        self._at = functools.lru_cache(maxsize=4)(self._loader_at)
        self._closed = False

    @property
    def num_batches(self) -> int | None:
        """Batches Keras may read; `None` is no end."""
        return None if self.endless else self.steps

    def __getitem__(self, index: int) -> Batch:
        if self._closed:
            return self._make(index)
        last = index + 1 + self._ahead.depth
        following = range(index + 1, last if self.endless else min(last, self.steps))
        return self._ahead.get((index,), [(place,) for place in following])

    def names(self, index: int) -> list[str]:
        """What the samples of batch `index` of the stream are called."""
        loader, place = self._locate(index)
        return list(loader.names(place))

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the threads."""
        self._closed = True
        self._ahead.close()

    def _make(self, index: int) -> Batch:
        loader, place = self._locate(index)
        batch = loader[place]
        return pad_batch(batch, self.fill, ignore_label=self.ignore_label) if self.fill else batch

    def _locate(self, index: int) -> tuple[Any, int]:
        """The loader at the epoch of batch `index`, and the batch's number there."""
        epoch, place = divmod(index + self.start, self.steps)
        return self._at(epoch), place

    def _loader_at(self, epoch: int) -> Any:
        loader = copy.copy(self.loader)
        loader.epoch = self.loader.epoch + epoch
        return loader


@contextlib.contextmanager
def worker_batches(feed: Feed, *, strategy: Any, replicas: int) -> Generator[Any]:
    """The batches of one of several TensorFlow processes as a dataset; its devices get a part of each.

    Keras would divide them among the devices of all processes, which have batches of their own.

    Args:
        feed: Of this process, filled up so that every device gets a sample.
        strategy: A `MultiWorkerMirroredStrategy`.
        replicas: Devices of this process.
    """
    import tensorflow as tf

    def parts() -> Iterator[Batch]:
        for index in itertools.count() if feed.endless else range(feed.steps):
            yield from zip(*(np.array_split(values, replicas) for values in feed[index]), strict=True)

    signature = tuple(tf.TensorSpec((None, *values.shape[1:]), values.dtype) for values in feed[0])
    dataset = tf.data.Dataset.from_generator(parts, output_signature=signature)
    with feed:
        yield strategy.distribute_datasets_from_function(lambda _: dataset)


def pad_batch(batch: Batch, size: int, *, ignore_label: int) -> Batch:
    """A batch with weights, of at least `size` samples.

    Args:
        batch: Image `(b, *s, c)` and label `(b, *s, 1)`.
        size: Samples needed. The first sample (zeros where there is none) is repeated with every voxel labelled
            `ignore_label`.
        ignore_label: That label.

    Returns:
        Image, label, and weight `(b,)` float32: 1, or 0 for what was added.
    """
    image, label = batch[0], batch[1]
    missing = max(size - len(image), 0)
    weight = np.concatenate([np.ones(len(image), np.float32), np.zeros(missing, np.float32)])
    if missing:
        first = image[:1] if len(image) else np.zeros((1, *image.shape[1:]), image.dtype)
        image = np.concatenate([image, np.repeat(first, missing, axis=0)])
        label = np.concatenate([label, np.full((missing, *label.shape[1:]), ignore_label, label.dtype)])
    return image, label, weight
