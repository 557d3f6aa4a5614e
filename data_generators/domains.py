"""Batches of several collections in one stream: every batch holds one of them."""

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_generators.sequence import Batch

ORDERS = ("round_robin", "proportional", "temperature")


@dataclass(frozen=True)
class DomainOrder:
    """Which domain each batch holds; every process knows it without asking.

    `round_robin`: one after the other, on over the ends of epochs, whatever their sizes (3D U²-Net, Huang et al.,
    MICCAI 2019). `proportional`: at random, by the number of training cases. `temperature`: at random, by that number
    to the power `1 / temperature` (Devlin, multilingual BERT; Arivazhagan et al., https://arxiv.org/abs/1907.05019):
    1 is proportional, and the larger it is the more evenly domains are drawn.

    Attributes:
        cases: Training cases of each domain.
        steps: Batches in an epoch.
        kind: One of `ORDERS`.
        temperature: See above.
        seed: Together with the epoch it decides what is random.
    """

    cases: Sequence[int]
    steps: int
    kind: str = "round_robin"
    temperature: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ORDERS:
            raise ValueError(f"SAMPLING.DOMAINS={self.kind} is unknown. Type one of {', '.join(ORDERS)}.")

    def shares(self) -> np.ndarray:
        """How often each domain comes, in the long run."""
        if self.kind == "round_robin":
            return np.full(len(self.cases), 1.0 / len(self.cases))
        power = 1.0 if self.kind == "proportional" else 1.0 / self.temperature
        weights = np.asarray(self.cases, np.float64) ** power
        return weights / weights.sum()

    def epoch(self, epoch: int) -> np.ndarray:
        """Number of the domain of each batch of an epoch, `(steps,)`."""
        if self.kind == "round_robin":
            return (epoch * self.steps + np.arange(self.steps)) % len(self.cases)
        return np.random.default_rng([self.seed, epoch]).choice(len(self.cases), size=self.steps, p=self.shares())


class DomainLoader:
    """The loaders of several domains as one.

    What a batch holds depends on the seed, the epoch and the batch's number alone, as for each of the loaders: the
    `n`-th batch of a domain in an epoch is batch `n` of that epoch of its loader.

    Args:
        loaders: By domain. Each has at least `order.steps` batches in an epoch.
        order: Which of them makes which batch.
    """

    def __init__(self, loaders: Mapping[str, Any], order: DomainOrder) -> None:
        self.loaders = dict(loaders)
        self.order = order
        self.epoch = 0
        self._epoch_of = functools.lru_cache(maxsize=4)(order.epoch)

    @property
    def batch_size(self) -> int:
        """Samples of the largest batch."""
        return max(int(loader.batch_size) for loader in self.loaders.values())

    def __len__(self) -> int:
        """Batches in an epoch, of all domains together."""
        return self.order.steps

    def __getitem__(self, index: int) -> Batch:
        """Image `(b, *s, c)` and label `(b, *s, 1)` of one domain."""
        loader, place = self._locate(index)
        return loader[place]

    def domain(self, index: int) -> str:
        """The domain of batch `index` of this epoch."""
        return list(self.loaders)[int(self._epoch_of(self.epoch)[index])]

    def names(self, index: int) -> list[str]:
        """What the samples of a batch are called: domain and case."""
        loader, place = self._locate(index)
        return [f"{self.domain(index)} {name}" for name in loader.names(place)]

    def _locate(self, index: int) -> tuple[Any, int]:
        order = self._epoch_of(self.epoch)
        loader = copy.copy(self.loaders[self.domain(index)])
        loader.epoch = self.epoch
        return loader, int(np.count_nonzero(order[:index] == order[index]))
