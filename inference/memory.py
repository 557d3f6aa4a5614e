"""Where probabilities of a whole volume are kept: in memory up to a bound, in a temporary file above it."""

import logging
import math
import tempfile
from collections.abc import Sequence

import numpy as np

_LOG = logging.getLogger(__name__)
_BYTES_PER_GB = 1e9


def probability_array(shape: Sequence[int], *, memory_gb: float | None) -> np.ndarray:
    """Zeros, float32; above the bound a memory map of a temporary file, which goes when the array does.

    The pages of such a file are the system's to take back, so they do not add to what the program needs. The file lies
    where `TMPDIR` says.

    Args:
        shape: Of the array.
        memory_gb: Bound in 1e9 bytes; None: always in memory.
    """
    size = 4 * math.prod(shape)
    if memory_gb is None or size <= memory_gb * _BYTES_PER_GB:
        return np.zeros(tuple(shape), np.float32)
    _LOG.info("Keeping %.1f GB of probabilities in a temporary file (the bound is %.1f GB).", size / 1e9, memory_gb)
    with tempfile.TemporaryFile(prefix="probabilities-") as file:
        file.truncate(size)
        return np.memmap(file, np.float32, "r+", shape=tuple(shape))  # pyright: ignore[reportArgumentType]


def rows_within(bytes_per_row: int, *, memory_gb: float | None, most: int = 32) -> int:
    """How many rows of that size may be worked on at once: a tenth of the bound, 1 to `most`."""
    if memory_gb is None:
        return most
    return max(1, min(most, int(0.1 * memory_gb * _BYTES_PER_GB / max(bytes_per_row, 1))))
