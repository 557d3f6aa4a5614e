"""From samples to the batches that Keras reads: the Sequence loader or DALI, for one process and all its devices."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from data_generators.dali import DaliLoader
from data_generators.loaders import choose_loader, dali_plugin_installed, open_loader
from data_generators.sequence import SequenceLoader
from training.feeds import Feed, worker_batches
from training.runtime import Runtime

Stream = AbstractContextManager[Any]
"""What `fit` reads, while it reads: a `Feed`, or a dataset of TensorFlow."""


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
    of another size would be compiled a second time. DALI's datasets and several JAX devices need full batches in any
    case.

    Raises:
        ValueError: DALI is asked for and is missing, or cannot do what the recipe says.
    """
    size = batching.batch_size * runtime.replicas
    gpu, kind = runtime.kind == "gpu", batching.loader
    if kind.upper() == "AUTO" and reads_datasets(runtime) and not dali_plugin_installed():
        kind = "SEQUENCE"
    full = runtime.xla or (choose_loader(kind, gpu=gpu) == "dali" and reads_datasets(runtime))
    return open_loader(
        source,
        kind=kind,
        gpu=0 if gpu else None,
        batch_size=size,
        seed=batching.seed,
        shuffle=batching.shuffle,
        augment=augment,
        foreground_share=batching.foreground_share,
        workers=0,
        threads=max(batching.threads, 1),
        drop_remainder=full and len(source) >= size * runtime.process[1],
        steps_per_epoch=batching.steps_per_epoch,
        shard=runtime.process,
    )


def reads_datasets(runtime: Runtime) -> bool:
    """Whether DALI's batches are read as a TensorFlow dataset, which keeps them on the GPUs that made them.

    One CPU reads them as arrays, which costs less there: a dataset asks Python for every sample. So do several
    processes, whose strategy places no datasets on devices.
    """
    alone = runtime.process[1] == 1
    return alone and runtime.backend == "tensorflow" and (runtime.replicas > 1 or runtime.kind == "gpu")


def validation_loader(source: Any, batching: Batching, *, runtime: Runtime) -> Any:
    """Every sample once, in order; patches at random places lie at the same places every time."""
    size = batching.batch_size * runtime.replicas
    return SequenceLoader(source, batch_size=size, seed=batching.seed, workers=0, shard=runtime.process)


def feed_of(loader: Any, batching: Batching, *, runtime: Runtime, endless: bool = True) -> Callable[[int], Stream]:
    """From a position to the stream of batches that Keras reads.

    Raises:
        DaliError: DALI's datasets cannot do what is asked for.
    """
    if isinstance(loader, DaliLoader) and reads_datasets(runtime):
        return _dataset_of(loader, runtime)
    several = runtime.replicas * runtime.process[1] > 1
    # DALI has threads of its own, and wants to be asked in order.
    threads = batching.threads if isinstance(loader, SequenceLoader) else 1
    least = int(loader.batch_size) if runtime.backend == "jax" else runtime.replicas

    def feed(start: int) -> Stream:
        arrays = Feed(
            loader,
            start=start,
            endless=endless,
            threads=threads,
            fill=least if several else 0,
            ignore_label=batching.ignore_label,
        )
        among = runtime.backend == "tensorflow" and runtime.process[1] > 1
        return worker_batches(arrays, strategy=runtime.strategy, replicas=runtime.replicas) if among else arrays

    return feed


def _dataset_of(loader: DaliLoader, runtime: Runtime) -> Callable[[int], Stream]:
    from data_generators.dali_dataset import check_dataset, distributed_batches

    check_dataset(loader)
    return lambda start: contextlib.nullcontext(distributed_batches(loader, start, strategy=runtime.strategy))
