"""The same work on many items: here, or in processes beside each other; in order, failures listed."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import joblib

from inference.cohort import OUTCOMES, outcome_message

Item = TypeVar("Item")

MOST_WORKERS = 8
_WORTH_SECONDS = 20.0


def in_parallel(
    work: Callable[[Item], Any], items: Sequence[Item], *, workers: int
) -> Iterator[tuple[Item, Any, str | None]]:
    """Does work on every item; the results do not depend on the number of processes.

    Args:
        work: Called with an item; it and the items can be pickled where there are several workers.
        items: In order.
        workers: Processes; 1: none but this one. 0: the first item is done here, and the others in one process per core
            (eight at most) where they will take more than 20 seconds.

    Yields:
        In order: item, result, and None; or item, None, and why it failed in one line. What counts as a failure is what
        does for `cohort.run_cohort`; other errors are raised.
    """
    left = list(items)
    if workers == 0 and left:
        first, *left = left
        started = time.monotonic()
        yield (first, *_attempt(work, first))
        worth = (time.monotonic() - started) * len(left) > _WORTH_SECONDS
        workers = min(joblib.cpu_count(), MOST_WORKERS) if worth else 1
    if workers <= 1 or len(left) < 2:
        for item in left:
            yield (item, *_attempt(work, item))
        return
    found = joblib.Parallel(n_jobs=min(workers, len(left)), return_as="generator")(
        joblib.delayed(_attempt)(work, item) for item in left
    )
    for item, outcome in zip(left, found, strict=True):
        yield (item, *outcome)


def _attempt(work: Callable[[Item], Any], item: Item) -> tuple[Any, str | None]:
    try:
        return work(item), None
    except OUTCOMES as error:
        return None, outcome_message(error)
