"""Making the next batches while the current one is used, without changing what they hold."""

import concurrent.futures
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Computes values by key in threads, and starts on the keys that will be asked for next.

    Args:
        make: Computes the value of a key; called from several threads at once.
        threads: How many; 0 computes in the caller's thread and nothing ahead.
    """

    def __init__(self, make: Callable[..., T], threads: int) -> None:
        self._make = make
        self._threads = threads
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._pending: dict[Hashable, concurrent.futures.Future[T]] = {}
        self._lock = threading.Lock()

    @property
    def depth(self) -> int:
        """How many keys to name ahead."""
        return 2 * self._threads

    def get(self, key: tuple[int, ...], following: Sequence[tuple[int, ...]]) -> T:
        """The value of `key`, with work on `following` begun; what was begun for other keys is given up."""
        if self._threads == 0:
            return self._make(*key)
        with self._lock:
            if self._pool is None:
                self._pool = concurrent.futures.ThreadPoolExecutor(self._threads, thread_name_prefix="loader")
            wanted = [key, *following]
            for stale in self._pending.keys() - set(wanted):
                self._pending.pop(stale).cancel()
            for name in wanted:
                if name not in self._pending:
                    self._pending[name] = self._pool.submit(self._make, *name)
            future = self._pending.pop(key)
        return future.result()

    def close(self) -> None:
        """Gives up all work and ends the threads; they start again when asked for something."""
        with self._lock:
            self._pending.clear()
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None
