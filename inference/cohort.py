"""Many cases with one loaded network: reading, predicting and writing overlap; failures are listed, not fatal."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_LOG = logging.getLogger(__name__)

Item = TypeVar("Item")
Read = TypeVar("Read")
Answer = TypeVar("Answer")


@dataclass
class CohortResult:
    """What became of each case, by name.

    Attributes:
        finished: Predicted and written in this call.
        skipped: Written by an earlier call.
        failed: Name to a one-line message.
    """

    finished: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def exit_code(self) -> int:
        """1 if any case failed, else 0."""
        return 1 if self.failed else 0


@dataclass(frozen=True)
class Steps(Generic[Item, Read, Answer]):
    """The three steps of a case. `read` and `write` run in a thread beside `predict`.

    Attributes:
        name: Unique name of a case.
        read: Loads and prepares a case.
        predict: The network's part; always called in the calling thread, one case at a time.
        write: Writes the answer; what it writes must appear whole or not at all.
        done: Whether an earlier call wrote this case.
    """

    name: Callable[[Item], str]
    read: Callable[[Item], Read]
    predict: Callable[[Item, Read], Answer]
    write: Callable[[Item, Answer], None]
    done: Callable[[Item], bool] = lambda _item: False


def run_cohort(
    items: Iterable[Item],
    steps: Steps[Item, Read, Answer],
    *,
    on_case: Callable[[str], None] | None = None,
) -> CohortResult:
    """Carry out every case once; a case that fails is recorded and the others go on.

    At most one case waits read and one waits to be written, so the memory is that of three cases.

    Args:
        items: Cases, in the order in which they are carried out.
        steps: What a case needs.
        on_case: Called with the name of every case that came to an end, for a progress bar.

    Returns:
        Names by outcome. Errors of kind OSError, ValueError, RuntimeError, MemoryError, KeyError and ArithmeticError
        are outcomes; others (a bug, Ctrl-C) are raised.
    """
    result = CohortResult()
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        writing: tuple[str, Future[None]] | None = None
        for item, reading in _read_ahead(_pending(items, steps, result, on_case), steps, reader):
            name = steps.name(item)
            try:
                answer = steps.predict(item, reading.result())
            except OUTCOMES as error:
                _fail(result, name, error, on_case)
                continue
            _settle(writing, result, on_case)
            writing = name, writer.submit(steps.write, item, answer)
        _settle(writing, result, on_case)
    return result


OUTCOMES = (OSError, ValueError, RuntimeError, MemoryError, LookupError, ArithmeticError)
"""Errors of a case that others go on after."""


def _pending(
    items: Iterable[Item],
    steps: Steps[Item, Read, Answer],
    result: CohortResult,
    on_case: Callable[[str], None] | None,
) -> Iterator[Item]:
    for item in items:
        if steps.done(item):
            result.skipped.append(steps.name(item))
            if on_case:
                on_case(steps.name(item))
        else:
            yield item


def _read_ahead(
    items: Iterator[Item], steps: Steps[Item, Read, Answer], reader: ThreadPoolExecutor
) -> Iterator[tuple[Item, Future[Read]]]:
    waiting: tuple[Item, Future[Read]] | None = None
    for item in items:
        following = item, reader.submit(steps.read, item)
        if waiting is not None:
            yield waiting
        waiting = following
    if waiting is not None:
        yield waiting


def _settle(
    writing: tuple[str, Future[None]] | None, result: CohortResult, on_case: Callable[[str], None] | None
) -> None:
    if writing is None:
        return
    name, future = writing
    try:
        future.result()
    except OUTCOMES as error:
        _fail(result, name, error, on_case)
        return
    result.finished.append(name)
    if on_case:
        on_case(name)


def outcome_message(error: BaseException) -> str:
    """What is said of a case that failed: one line, with the kind of error where the text alone does not tell."""
    message = " ".join(str(error).split())
    return message if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {message}"


def _fail(result: CohortResult, name: str, error: BaseException, on_case: Callable[[str], None] | None) -> None:
    message = outcome_message(error)
    result.failed[name] = message
    _LOG.info("%s failed: %s", name, message)
    _LOG.debug("Details of %s", name, exc_info=error)
    if on_case:
        on_case(name)
