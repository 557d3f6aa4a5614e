"""A bar on the terminal while an epoch runs: loss, Dice per class, time left."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training import checkpoints
from training.observers import Silent, summary

_SECONDS_BETWEEN_LOOKS = 0.5


class Bar(Silent):
    """The bar. The values are read twice a second at most: reading them waits for the device.

    Args:
        console: Where to draw; nothing is drawn where that is no terminal.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._looked = 0.0
        self._epoch = 1

    def started(self, progress: checkpoints.Progress, epochs: int | None) -> None:
        """Shows the bar."""
        del epochs
        self._epoch = progress.epoch + 1
        self._progress.start()

    def batch(self, step: int, steps: int, logs: Mapping[str, Any]) -> None:
        """Moves the bar."""
        if self._progress.disable:
            return
        if self._task is None:
            self._task = self._progress.add_task("", total=steps, epoch=self._epoch, values="", completed=step - 1)
        now = time.monotonic()
        if now - self._looked > _SECONDS_BETWEEN_LOOKS or step == steps:
            self._looked = now
            self._progress.update(self._task, values=summary(logs))
        self._progress.update(self._task, completed=step)

    def epoch(self, row: Mapping[str, float], progress: checkpoints.Progress) -> None:
        """Takes the bar away until the next epoch."""
        del row
        self._epoch = progress.epoch + 1
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def finished(self) -> None:
        """Takes the bar away."""
        self._progress.stop()
