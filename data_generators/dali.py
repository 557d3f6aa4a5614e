"""Batches by NVIDIA DALI, on the GPU where there is one, and on the CPU otherwise.

Samples are read as the Sequence loader reads them and handed to DALI, which augments: measured on two cores, handing
over slices of prepared volumes is 2.7 times as fast as `readers.numpy` with `roi_start`, which reads one volume at a
time. On a CPU the Sequence loader is faster still; DALI pays where a GPU does the work.
"""

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_generators.augmentation import Augmentation, check_recipe
from data_generators.dali_feed import Feeder, input_names
from data_generators.ordering import batch_count, batch_positions
from data_generators.sequence import Batch, make_sampler
from data_generators.sources import Source

_AHEAD = 2  # batches DALI works on
_WITHOUT_OPERATOR = ("ELASTIC", "SATURATION", "HUE", "CUBIC")


class DaliError(ValueError):
    """Something DALI cannot do here; the message is one line with the remedy."""


@dataclasses.dataclass
class _Running:
    """A pipeline at work: which batch it gives next, which it was fed last, and what it must not lose meanwhile."""

    pipeline: Any = None
    following: tuple[int, int] = (-1, -1)
    fed: tuple[int, int] = (-1, -1)
    kept: collections.deque[Any] = dataclasses.field(default_factory=collections.deque[Any])


class DaliLoader:
    """Batches like those of `SequenceLoader`: same order, same augmentation parameters, same noise.

    Without augmentation the batches are equal; with it they differ as OpenCV's and DALI's interpolation do. Batches
    may be asked for in any order, and are made ahead where they are asked for one after the other.

    Args:
        source: Where samples come from; all of one shape, or cut to one.
        batch_size: Samples in a batch of one process.
        seed: Decides order and augmentation.
        shuffle: A new order every epoch.
        augment: What is done to samples; DALI knows no elastic displacement, hue and saturation.
        foreground_share: Share of samples with foreground; `None` takes them as they come.
        threads: Of DALI, on the CPU.
        drop_remainder: Leave the last batch out where it is not full.
        steps_per_epoch: Batches in an epoch; `None` means every sample once.
        shard: `(index, processes)` where several processes share the batches.
        device_id: The GPU; `None` is the CPU.

    Raises:
        DaliError: A transform has no operator, or channels and modalities do not fit.
    """

    workers = 1  # one thread asks; DALI has its own

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augment: Augmentation | None = None,
        foreground_share: float | None = None,
        threads: int = 2,
        drop_remainder: bool = False,
        steps_per_epoch: int | None = None,
        shard: tuple[int, int] = (0, 1),
        device_id: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise DaliError(f"HYPER_PARAMETERS.BATCH_SIZE is {batch_size}: give at least 1.")
        if getattr(source, "previous", None) is not None:
            raise DaliError("DALI does not read what a cascade's first stage said: set DATA_GENERATOR_TYPE=SEQUENCE.")
        check_operators(augment, channels=None if source.shape is None else source.shape[-1])
        sampler = make_sampler(
            source,
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            foreground_share=foreground_share,
            samples=None if steps_per_epoch is None else steps_per_epoch * batch_size * shard[1],
        )
        self.source = source
        self.batch_size = batch_size
        self.drop_remainder = drop_remainder
        self.shard = shard
        self.threads = threads
        self.device_id = device_id
        self.epoch = 0
        self.first_batch = 0
        self.feeder = Feeder(source, sampler, seed=seed, augment=augment)
        self._running = _Running()

    @property
    def augment(self) -> Augmentation | None:
        """What is done to samples."""
        return self.feeder.augment

    def __len__(self) -> int:
        return self._count(self.epoch) - self.first_batch

    def __getitem__(self, index: int) -> Batch:
        batch = index + self.first_batch
        if not 0 <= batch < self._count(self.epoch):
            raise IndexError(f"batch {index} of {len(self)}")
        return self._run((self.epoch, batch))

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))

    def names(self, index: int) -> list[str]:
        """What the samples of batch `index` of this epoch are called, for messages."""
        order = self.feeder.order(self.epoch)
        places = self.positions(self.epoch, index + self.first_batch)
        return [self.source.name(int(order.indices[place])) for place in places]

    def resume(self, epoch: int, batch: int = 0) -> None:
        """Goes to an epoch, and past its first `batch` batches."""
        self.epoch = epoch
        self.first_batch = batch

    def close(self) -> None:
        """Gives up the pipeline; it is built again when a batch is asked for."""
        self._running.pipeline = None
        self._running.kept.clear()

    def positions(self, epoch: int, batch: int) -> list[int]:
        """Places in an epoch that make up a batch of this process."""
        return batch_positions(
            batch,
            samples=len(self.feeder.order(epoch)),
            batch_size=self.batch_size,
            drop_remainder=self.drop_remainder,
            shard=self.shard,
        ).tolist()

    def places(self, epoch: int, batch: int, *, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[int, int]]:
        """`(epoch, place)` of every sample from a batch on, without end; of batches part `share[0]` of `share[1]`."""
        key = (epoch, batch)
        while True:
            part = np.array_split(self.positions(*key), share[1])[share[0]]
            yield from ((key[0], int(place)) for place in part)
            key = self._after(key)

    def pipeline(self, *, batch_size: int, device_id: int | None) -> Any:
        """A DALI pipeline for these samples; its inputs are not connected."""
        from data_generators.dali_graph import build_pipeline

        augment = self.feeder.augment
        recipe = check_recipe(None) if augment is None else augment.recipe
        return build_pipeline(
            self.feeder.shape,
            self.feeder.layout,
            recipe,
            outside_label=0 if augment is None else augment.outside_label,
            decoding=self.feeder.decoding,
            batch_size=batch_size,
            num_threads=self.threads,
            device_id=device_id,
            prefetch_queue_depth=_AHEAD,
        )

    def _count(self, epoch: int) -> int:
        size = self.batch_size * self.shard[1]
        return batch_count(len(self.feeder.order(epoch)), size, drop_remainder=self.drop_remainder)

    def _run(self, wanted: tuple[int, int]) -> Batch:
        state = self._running
        if state.pipeline is None or state.following != wanted:
            state.pipeline = self.pipeline(batch_size=self.batch_size, device_id=self.device_id)
            state.pipeline.build()
            state.kept.clear()
            self._feed(wanted)
            for _ in range(_AHEAD - 1):
                self._feed(self._after(state.fed))
            state.pipeline.schedule_run()  # the first time, it starts on all of them
        outputs = [output.as_cpu() for output in state.pipeline.share_outputs()]
        if not all(output.is_dense_tensor() for output in outputs):
            self.close()
            raise DaliError(
                "Samples of a batch differ in size: set PREPROCESS_DATA.RESIZE.VALUE=True, give a crop in "
                "AUGMENTATION, or set DATA_GENERATOR_TYPE=SEQUENCE and HYPER_PARAMETERS.BATCH_SIZE=1."
            )
        image, label = (np.array(output.as_array()) for output in outputs)
        state.pipeline.release_outputs()
        state.kept.popleft()
        state.following = self._after(wanted)
        self._feed(self._after(state.fed))
        state.pipeline.schedule_run()
        return (image, label) if self.source.has_labels else (image,)

    def _after(self, key: tuple[int, int]) -> tuple[int, int]:
        epoch, batch = key
        return (epoch, batch + 1) if batch + 1 < self._count(epoch) else (epoch + 1, 0)

    def _feed(self, key: tuple[int, int]) -> None:
        state = self._running
        epoch, batch = key
        samples = [self.feeder.sample(epoch, place) for place in self.positions(epoch, batch)]
        for name in input_names(self.feeder.augment):
            state.pipeline.feed_input(name, [getattr(sample, name) for sample in samples])
        state.kept.append(samples)
        state.fed = key


def check_operators(augment: Augmentation | None, *, channels: int | None) -> None:
    """Refuses what DALI has no operator for.

    Raises:
        DaliError: Says what, and what to type.
    """
    if augment is None:
        return
    missing = [name for name in _WITHOUT_OPERATOR if name in augment.recipe]
    if missing:
        raise DaliError(
            f"DALI has no operator for AUGMENTATION.{missing[0]} as this recipe means it: set "
            f"DATA_GENERATOR_TYPE=SEQUENCE, or remove {missing[0]}."
        )
    if augment.modalities > 1 and channels != augment.modalities:
        raise DaliError(
            f"DALI augments several modalities only without neighbouring slices: there are {channels} channels of "
            f"{augment.modalities} modalities. Set INPUT.SLICES=1, or DATA_GENERATOR_TYPE=SEQUENCE."
        )
