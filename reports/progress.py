"""A progress bar on the error stream."""

import contextlib
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress


@contextlib.contextmanager
def progress(title: str, total: int, *, silent: bool = False) -> Generator[Callable[[str], None], None, None]:
    """A bar that goes when the block ends.

    Args:
        title: What is being done.
        total: Things to do.
        silent: Show nothing.

    Yields:
        A function to be called with the name of everything that came to an end.
    """
    columns, console = (*Progress.get_default_columns(), MofNCompleteColumn()), Console(stderr=True)
    with Progress(*columns, console=console, disable=silent, transient=True) as bar:
        row = bar.add_task(title, total=total)
        yield lambda _name: bar.advance(row)
