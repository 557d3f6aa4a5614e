"""From the word in the configuration to a loader."""

import difflib
import importlib.util
import logging
import pathlib
from typing import TYPE_CHECKING, Any

from data_generators.augmentation import Augmentation
from data_generators.sequence import SequenceLoader
from data_generators.sources import Source

if TYPE_CHECKING:
    from data_generators.dali import DaliLoader

LOGGER = logging.getLogger(__name__)
LOADERS = {"SEQUENCE": "sequence", "TF_GENERATOR": "sequence", "DALI": "dali", "DALI_GENERATOR": "dali"}


class LoaderError(ValueError):
    """A loader that does not exist or cannot run here; the message is one line with the remedy."""


def choose_loader(kind: str, *, gpu: bool) -> str:
    """Which loader `DATA_GENERATOR_TYPE` means on this machine.

    Args:
        kind: `SEQUENCE` (or `TF_GENERATOR`), `DALI` (or `DALI_GENERATOR`), or `AUTO`, which takes DALI where there is
            a GPU and DALI is installed.
        gpu: Whether the training runs on a GPU.

    Returns:
        `"sequence"` or `"dali"`.

    Raises:
        LoaderError: Another word, or DALI is asked for and not installed.
    """
    word = kind.upper()
    if word == "AUTO":
        return "dali" if gpu and dali_installed() else "sequence"
    if word not in LOADERS:
        close = difflib.get_close_matches(word, [*LOADERS, "AUTO"], 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise LoaderError(f"DATA_GENERATOR_TYPE={kind} is no loader: use {', '.join(LOADERS)} or AUTO.{hint}")
    if LOADERS[word] == "dali" and not dali_installed():
        raise LoaderError(
            f"DATA_GENERATOR_TYPE={kind} needs NVIDIA DALI, which is not installed: run `make setup`, or "
            "`pip install --no-build-isolation -r requirements-dali.txt`, or set DATA_GENERATOR_TYPE=SEQUENCE."
        )
    return LOADERS[word]


def dali_installed() -> bool:
    """Whether DALI is installed; it is not imported."""
    return _installed("dali")


def dali_plugin_installed() -> bool:
    """Whether DALI's TensorFlow plugin is installed, which `dali_dataset` needs; it is not imported."""
    return _installed("dali_tf_plugin")


def open_loader(
    source: Source,
    *,
    kind: str = "SEQUENCE",
    gpu: int | None = None,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = False,
    augment: Augmentation | None = None,
    foreground_share: float | None = None,
    workers: int = 1,
    threads: int = 2,
    drop_remainder: bool = False,
    steps_per_epoch: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> "SequenceLoader | DaliLoader":
    """The loader `DATA_GENERATOR_TYPE` means; both give the same samples in the same order.

    Args:
        source: Where samples come from.
        kind: As in `choose_loader`. `AUTO` does without DALI where DALI has no operator for the recipe.
        gpu: Number of the GPU DALI is to use; `None` without one.
        batch_size: Samples in a batch of one process.
        seed: Decides order and augmentation.
        shuffle: A new order every epoch.
        augment: From `build_augmentation`.
        foreground_share: Share of samples with foreground; `None`: as they come, patches as the source says.
        workers: Threads of the Sequence loader.
        threads: Of DALI, on the CPU.
        drop_remainder: Leave the last batch out where it is not full.
        steps_per_epoch: Batches in an epoch; `None` means every sample once.
        shard: `(index, processes)` where several processes share the batches.

    Raises:
        LoaderError: Not a loader, or DALI is not installed.
        DaliError: DALI is asked for and has no operator for the recipe.
    """
    order: dict[str, Any] = {
        "batch_size": batch_size,
        "seed": seed,
        "shuffle": shuffle,
        "augment": augment,
        "foreground_share": foreground_share,
        "drop_remainder": drop_remainder,
        "steps_per_epoch": steps_per_epoch,
        "shard": shard,
    }
    if choose_loader(kind, gpu=gpu is not None) == "dali":
        from data_generators.dali import DaliError, DaliLoader

        try:
            return DaliLoader(source, threads=threads, device_id=gpu, **order)
        except DaliError as error:
            if kind.upper() != "AUTO":
                raise
            LOGGER.info("The Sequence loader is used: %s", error)
    return SequenceLoader(source, workers=workers, **order)


def _installed(part: str) -> bool:
    nvidia = importlib.util.find_spec("nvidia")
    folders = (nvidia.submodule_search_locations or []) if nvidia is not None else []
    return any((pathlib.Path(folder) / part).is_dir() for folder in folders)
