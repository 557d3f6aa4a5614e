"""The loader that needs nothing but NumPy: a `keras.utils.PyDataset` for every backend."""

import functools
from collections.abc import Callable

import keras
import numpy as np

from data_generators.ahead import ReadAhead
from data_generators.augmentation import Augmentation
from data_generators.ordering import PatchSampler, Sampler, SliceSampler, batch_count, batch_positions
from data_generators.sources import RandomSource, Sample, Source, is_random

Augment = Callable[[np.ndarray, np.ndarray | None, np.random.Generator], Sample]
Batch = tuple[np.ndarray, ...]


class SequenceLoader(keras.utils.PyDataset):
    """Batches `(image (b, *s, c) float32, label (b, *s, 1) uint8)`; without labels `(image,)`.

    What a batch holds depends on the seed, the epoch and the batch's number alone: every sample has its own generator,
    `default_rng([seed, epoch, place in the epoch])`. So any number of workers gives the same batches, and
    `resume(epoch)` continues a run exactly.

    Workers are threads of our own: reading, converting and OpenCV release the interpreter's lock, and threads hand a
    batch over without copying it. Keras' own workers would hand batches of one epoch to the next.

    In `fit` say `shuffle=False`, since the order is decided here, leave `steps_per_epoch` to the loader, and add the
    callback `follow_epochs(loader)`: Keras itself announces an end of epoch too many before the first.

    Args:
        source: Where samples come from.
        batch_size: Samples in a batch of one process.
        seed: Decides order and augmentation.
        shuffle: A new order every epoch.
        augment: `(image, label, rng) -> (image, label)`, or `None`. It may change the arrays it is given.
        foreground_share: Share of samples with foreground; `None` takes them as they come.
        workers: Threads that make batches ahead; 0 makes them when asked.
        drop_remainder: Leave the last batch out where it is not full.
        steps_per_epoch: Batches in an epoch; `None` means every sample once.
        shard: `(index, processes)` where several processes share the batches (`ordering.batch_positions`).
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augment: Augment | None = None,
        foreground_share: float | None = None,
        workers: int = 1,
        drop_remainder: bool = False,
        steps_per_epoch: int | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        if batch_size < 1:
            raise ValueError(f"HYPER_PARAMETERS.BATCH_SIZE is {batch_size}: give at least 1.")
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self.drop_remainder = drop_remainder
        self.shard = shard
        self.epoch = 0
        self.first_batch = 0
        samples = None if steps_per_epoch is None else steps_per_epoch * batch_size * shard[1]
        self.sampler = make_sampler(
            source,
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            foreground_share=foreground_share,
            samples=samples,
        )
        self._order = functools.lru_cache(maxsize=4)(self.sampler.order)
        self._ahead = ReadAhead(self._make, workers)
        self._finished = False

    def __len__(self) -> int:
        return self._count(self.epoch) - self.first_batch

    def __getitem__(self, index: int) -> Batch:
        epoch, batch = self.epoch, index + self.first_batch
        count = self._count(epoch)
        if not 0 <= batch < count:
            raise IndexError(f"batch {index} of {count - self.first_batch}")
        self._finished |= batch == count - 1
        following = range(batch + 1, min(batch + 1 + self._ahead.depth, count))
        return self._ahead.get((epoch, batch), [(epoch, later) for later in following])

    def names(self, index: int) -> list[str]:
        """What the samples of batch `index` of this epoch are called, for messages."""
        indices, _ = self._places(self.epoch, index + self.first_batch)
        return [self.source.name(sample) for sample in indices]

    def resume(self, epoch: int, batch: int = 0) -> None:
        """Goes to an epoch, and past its first `batch` batches: batch 0 is then the first one not seen."""
        self.epoch = epoch
        self.first_batch = batch

    def on_epoch_begin(self) -> None:
        """Keras calls it."""
        self._finished = False

    def on_epoch_end(self) -> None:
        """Goes to the next epoch if this one was handed out to its end; Keras calls it."""
        if self._finished:
            self.resume(self.epoch + 1)
            self._finished = False

    def close(self) -> None:
        """Ends the worker threads."""
        self._ahead.close()

    def _count(self, epoch: int) -> int:
        size = self.batch_size * self.shard[1]
        return batch_count(len(self._order(epoch)), size, drop_remainder=self.drop_remainder)

    def _places(self, epoch: int, batch: int) -> tuple[list[int], list[int]]:
        order = self._order(epoch)
        positions = batch_positions(
            batch,
            samples=len(order),
            batch_size=self.batch_size,
            drop_remainder=self.drop_remainder,
            shard=self.shard,
        )
        return order.indices[positions].tolist(), positions.tolist()

    def _make(self, epoch: int, batch: int) -> Batch:
        indices, positions = self._places(epoch, batch)
        read_into = getattr(self.source, "read_into", None)
        if self.augment is None and read_into is not None and self.source.shape is not None:
            image = np.empty((len(indices), *self.source.shape), np.float32)
            label = np.empty((*image.shape[:-1], 1), np.uint8) if self.source.has_labels else None
            for row, index in enumerate(indices):
                read_into(index, image[row], None if label is None else label[row])
            return (image,) if label is None else (image, label)
        samples = [self._sample(epoch, position) for position in positions]
        return stack_samples(samples, [self.source.name(index) for index in indices])

    def _sample(self, epoch: int, position: int) -> Sample:
        order = self._order(epoch)
        rng = np.random.default_rng([self.seed, epoch, position])
        index = int(order.indices[position])
        if not is_random(self.source):
            image, label = self.source.read(index)
            return (image, label) if self.augment is None else self.augment(image, label, rng)
        return draw_patch(self.source, index, rng, foreground=bool(order.foreground[position]), augment=self.augment)


def follow_epochs(loader: SequenceLoader) -> keras.callbacks.Callback:
    """A callback that keeps the loader at the epoch `fit` is in, also with `initial_epoch`."""

    def follow(epoch: int, logs: object = None) -> None:  # noqa: ARG001 (Keras' signature)
        if loader.epoch != epoch:
            loader.resume(epoch)

    return keras.callbacks.LambdaCallback(on_epoch_begin=follow)


def make_sampler(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    shuffle: bool,
    foreground_share: float | None,
    samples: int | None,
) -> Sampler:
    """The order a source is read in: patches at random, everything else sample by sample.

    Args:
        source: Where samples come from.
        batch_size: Samples in a batch of one process.
        seed: Decides the order.
        shuffle: A new order every epoch; patches always come in a new one.
        foreground_share: `None` means the source's own share for patches and as they come for everything else.
        samples: Length of an epoch; `None` means one of each, of patches one per case.
    """
    if is_random(source):
        share = source.foreground_share if foreground_share is None else foreground_share
        return PatchSampler(len(source), samples or len(source), batch_size, seed, share)
    foreground = source.foreground if foreground_share is not None and source.has_labels else None
    return SliceSampler(len(source), seed, shuffle, foreground, foreground_share, samples)


def draw_patch(
    source: RandomSource, index: int, rng: np.random.Generator, *, foreground: bool, augment: Augment | None
) -> Sample:
    """One random patch; of an `Augmentation` the parameters are drawn first, so that just what they need is read."""
    if isinstance(augment, Augmentation):
        parameters = augment.draw(rng, source.patch)
        image, label = source.draw(index, rng, foreground=foreground, shape=parameters.read_shape)
        image, label = augment.apply(image, label, parameters)
    else:
        image, label = source.draw(index, rng, foreground=foreground)
        if augment is not None:
            image, label = augment(image, label, rng)
    finish = getattr(source, "finish", None)
    return (image, label) if finish is None else finish(image, label, rng)


def stack_samples(samples: list[Sample], names: list[str]) -> Batch:
    """Samples as one batch; `ValueError` names two whose shapes differ."""
    shapes = [image.shape for image, _ in samples]
    for shape, name in zip(shapes, names, strict=True):
        if shape != shapes[0]:
            raise ValueError(
                f"{names[0]} has the shape {shapes[0]} and {name} {shape}, which make no batch: set "
                "PREPROCESS_DATA.RESIZE.VALUE=True, give a crop in AUGMENTATION, or HYPER_PARAMETERS.BATCH_SIZE=1."
            )
    images = np.stack([image for image, _ in samples]).astype(np.float32, copy=False)
    labels = [label for _, label in samples if label is not None]
    return (images, np.stack(labels)) if labels else (images,)
