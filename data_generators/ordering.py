"""Which sample stands where in an epoch: the same answer for every loader, worker count and number of processes."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class EpochOrder:
    """The samples of one epoch: `indices` into the source, and which of them are to show foreground; both `(n,)`."""

    indices: np.ndarray
    foreground: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


@dataclasses.dataclass(frozen=True)
class SliceSampler:
    """Orders a source whose samples are fixed: slices, pictures.

    Every sample comes once per epoch, unless `foreground_share` or `samples` say otherwise.

    Attributes:
        count: Samples in the source.
        seed: Together with the epoch it decides the order.
        shuffle: A new order every epoch, instead of the source's.
        foreground: bool, `(count,)`, which samples hold foreground; needed with `foreground_share` only.
        foreground_share: Share of an epoch's samples, 0 to 1, that hold foreground. Samples of either kind are
            repeated or left out evenly: no sample comes a second time before every other one of its kind came once.
        samples: Length of an epoch; `None` means `count`.
    """

    count: int
    seed: int = 0
    shuffle: bool = False
    foreground: np.ndarray | None = None
    foreground_share: float | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("The source holds no sample: check the case list, or the image folder.")
        if self.foreground_share is None:
            return
        if not 0.0 <= self.foreground_share <= 1.0:
            raise ValueError(f"SAMPLING.FOREGROUND_SHARE is {self.foreground_share}: give a share from 0 to 1.")
        if not self.shuffle:
            raise ValueError(
                "SAMPLING.FOREGROUND_SHARE chooses samples at random: set PREPROCESS_DATA.SHUFFLE to True."
            )
        self._check_kinds()

    def order(self, epoch: int) -> EpochOrder:
        """The order of epoch `epoch`; a pure function of the fields."""
        total = self.samples or self.count
        rng = np.random.default_rng([self.seed, epoch])
        if not self.shuffle:
            indices = np.resize(np.arange(self.count), total)
        elif self.foreground_share is None:
            indices = cycled_permutations(rng, np.arange(self.count), total)
        else:
            indices = self._shared_order(rng, total)
        known = self.foreground if self.foreground is not None else np.zeros(self.count, bool)
        return EpochOrder(indices, known[indices])

    def _shared_order(self, rng: np.random.Generator, total: int) -> np.ndarray:
        holds = np.asarray(self.foreground, bool)
        wanted = round(total * float(self.foreground_share or 0.0))
        chosen = [
            cycled_permutations(rng, np.flatnonzero(holds), wanted),
            cycled_permutations(rng, np.flatnonzero(~holds), total - wanted),
        ]
        return rng.permutation(np.concatenate(chosen))

    def _check_kinds(self) -> None:
        if self.foreground is None or len(self.foreground) != self.count:
            raise ValueError("SAMPLING.FOREGROUND_SHARE needs labels, to know which samples hold foreground.")
        share, holds = float(self.foreground_share or 0.0), int(np.count_nonzero(self.foreground))
        if (share > 0.0 and holds == 0) or (share < 1.0 and holds == self.count):
            kind = "no" if holds == 0 else "every"
            raise ValueError(
                f"SAMPLING.FOREGROUND_SHARE is {share}, but {kind} sample holds foreground: set it to null, or check "
                "DATASET.LABELS."
            )


@dataclasses.dataclass(frozen=True)
class PatchSampler:
    """Orders a source that cuts patches at random: cases uniformly with replacement, foreground by place in the batch.

    As nnU-Net does it, the last samples of every batch show foreground: those at places
    `round(batch_size * (1 - foreground_share))` and later, so that 33 % of 2 is 1 and of 9 is 3.

    Attributes:
        count: Cases in the source.
        samples: Patches in an epoch.
        batch_size: Patches in a batch of one process.
        seed: Together with the epoch it decides the order.
        foreground_share: Share of a batch, 0 to 1.
    """

    count: int
    samples: int
    batch_size: int
    seed: int = 0
    foreground_share: float = 0.33

    def __post_init__(self) -> None:
        if self.count < 1 or self.samples < 1:
            raise ValueError("The source holds no case, or an epoch no sample: check the case list of this split.")
        if not 0.0 <= self.foreground_share <= 1.0:
            raise ValueError(f"SAMPLING.FOREGROUND_SHARE is {self.foreground_share}: give a share from 0 to 1.")

    def order(self, epoch: int) -> EpochOrder:
        """The order of epoch `epoch`; a pure function of the fields."""
        rng = np.random.default_rng([self.seed, epoch])
        place = np.arange(self.samples) % self.batch_size
        foreground = place >= round(self.batch_size * (1.0 - self.foreground_share))
        return EpochOrder(rng.integers(self.count, size=self.samples), foreground)


Sampler = SliceSampler | PatchSampler


def cycled_permutations(rng: np.random.Generator, items: np.ndarray, total: int) -> np.ndarray:
    """`total` of the items: permutation after permutation, the last one cut; int, `(total,)`."""
    if total == 0:
        return np.zeros(0, np.int64)
    rounds = [rng.permutation(items) for _ in range(-(-total // len(items)))]
    return np.concatenate(rounds)[:total]


def batch_positions(
    batch: int, *, samples: int, batch_size: int, drop_remainder: bool = False, shard: tuple[int, int] = (0, 1)
) -> np.ndarray:
    """Places in the epoch that make up one process's share of a batch.

    Args:
        batch: Number of the batch.
        samples: Length of the epoch.
        batch_size: Samples of one process in a full batch.
        drop_remainder: The last batch is left out where it is not full.
        shard: `(index, processes)`. A global batch holds `batch_size * processes` samples; process `index` takes the
            `index`-th run of them. A last batch that is not full is split as evenly as it goes, so a process may get
            one sample less than its neighbour, or none.

    Returns:
        int, `(b,)`.

    Raises:
        IndexError: There is no such batch.
    """
    index, processes = shard
    if not 0 <= batch < batch_count(samples, batch_size * processes, drop_remainder=drop_remainder):
        raise IndexError(
            f"batch {batch} of {batch_count(samples, batch_size * processes, drop_remainder=drop_remainder)}"
        )
    first = batch * batch_size * processes
    whole = np.arange(first, min(first + batch_size * processes, samples))
    return np.array_split(whole, processes)[index]


def batch_count(samples: int, batch_size: int, *, drop_remainder: bool = False) -> int:
    """Batches in an epoch of `samples`."""
    return samples // batch_size if drop_remainder else -(-samples // batch_size)
