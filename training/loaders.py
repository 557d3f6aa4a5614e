"""From samples to the batches that Keras reads: the Sequence loader or DALI, for one process and all its devices."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data_generators.loaders import choose_loader
from data_generators.sequence import SequenceLoader
from training.feeds import Feed
from training.runtime import Runtime


@dataclass(frozen=True)
class Batching:
    """How batches are made.

    Attributes:
        loader: `SEQUENCE`, `DALI` or `AUTO`, as `data_generators.loaders.choose_loader` reads it.
        batch_size: Samples for each device.
        seed: Decides order and augmentation.
        shuffle: A new order every epoch.
        foreground_share: Share of samples with foreground; `None` takes them as they come.
        steps_per_epoch: Batches in an epoch; `None` means every sample once.
        threads: That make batches ahead.
        ignore_label: Label that no loss and no metric sees.
    """

    loader: str = "SEQUENCE"
    batch_size: int = 2
    seed: int = 0
    shuffle: bool = True
    foreground_share: float | None = None
    steps_per_epoch: int | None = None
    threads: int = 3
    ignore_label: int = 255


def training_loader(source: Any, batching: Batching, *, runtime: Runtime, augment: Any = None) -> Any:
    """Batches of this process: its devices' share of each global batch.

    Where a step is compiled, samples that do not fill the last batch are left out, in a new order every epoch: a batch
    of another size would be compiled a second time. On several JAX devices batches must be full in any case.

    Raises:
        ValueError: DALI is asked for and is missing, or cannot do what the recipe says.
    """
    size = batching.batch_size * runtime.replicas
    shared: dict[str, Any] = {
        "batch_size": size,
        "seed": batching.seed,
        "shuffle": batching.shuffle,
        "augment": augment,
        "foreground_share": batching.foreground_share,
        "drop_remainder": runtime.xla and len(source) >= size * runtime.process[1],
        "steps_per_epoch": batching.steps_per_epoch,
        "shard": runtime.process,
    }
    if choose_loader(batching.loader, gpu=runtime.kind == "gpu") == "sequence":
        return SequenceLoader(source, workers=0, **shared)
    from data_generators.dali import DaliLoader

    return DaliLoader(
        source, threads=max(batching.threads, 1), device_id=0 if runtime.kind == "gpu" else None, **shared
    )


def validation_loader(source: Any, batching: Batching, *, runtime: Runtime) -> Any:
    """Every sample once, in order; patches at random places lie at the same places every time."""
    size = batching.batch_size * runtime.replicas
    return SequenceLoader(source, batch_size=size, seed=batching.seed, workers=0, shard=runtime.process)


def feed_of(loader: Any, batching: Batching, *, runtime: Runtime, endless: bool = True) -> Callable[[int], Feed]:
    """From a position to the stream of batches that Keras reads."""
    several = runtime.replicas * runtime.process[1] > 1
    # DALI has threads of its own, and wants to be asked in order.
    threads = batching.threads if isinstance(loader, SequenceLoader) else 1
    least = int(loader.batch_size) if runtime.backend == "jax" else runtime.replicas

    def feed(start: int) -> Feed:
        return Feed(
            loader,
            start=start,
            endless=endless,
            threads=threads,
            fill=least if several else 0,
            ignore_label=batching.ignore_label,
        )

    return feed
