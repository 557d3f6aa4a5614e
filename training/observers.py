"""What is written down while a run goes: the history as a table, curves, lines in the log."""

import csv
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.checkpoints import Progress, write_atomically

log = logging.getLogger(__name__)

DrawCurves = Callable[[Mapping[str, Sequence[float]], pathlib.Path], Any]


class Silent:
    """An observer that does nothing; others change what they need."""

    def started(self, progress: Progress, epochs: int | None) -> None:
        """The run starts or goes on."""

    def batch(self, step: int, steps: int, logs: Mapping[str, Any]) -> None:
        """A batch is done."""

    def epoch(self, row: Mapping[str, float], progress: Progress) -> None:
        """An epoch is done and saved."""

    def finished(self) -> None:
        """The run leaves."""


class HistoryTable(Silent):
    """`history.csv`: one row for each epoch, one column for each value, empty where it was not measured.

    It is written anew after every epoch from the history in the checkpoint, so it never disagrees with it.

    Args:
        path: File to write.
        keep: Keep the rows that another run left there, above this run's.
    """

    def __init__(self, path: pathlib.Path, *, keep: bool = False) -> None:
        self.path = path
        self.keep = keep
        self._before: list[dict[str, Any]] = []

    def started(self, progress: Progress, epochs: int | None) -> None:
        """Looks at what is there."""
        del epochs
        if self.keep and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as stream:
                rows: list[dict[str, Any]] = list(csv.DictReader(stream))
            self._before = rows[: len(rows) - len(progress.history)]
        if progress.history:
            self._write(progress.history)

    def epoch(self, row: Mapping[str, float], progress: Progress) -> None:
        """Writes the table."""
        del row
        self._write(progress.history)

    def _write(self, history: Sequence[Mapping[str, Any]]) -> None:
        rows = [*self._before, *history]
        names = list(dict.fromkeys(name for row in rows for name in row))

        def write(path: pathlib.Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, names, restval="")
                writer.writeheader()
                writer.writerows(rows)

        write_atomically(self.path, write)


class Curves(Silent):
    """`curves.png`, drawn anew after every epoch. A picture that fails is logged; it does not end the run.

    Args:
        path: File to write.
        draw: `(columns of the history, path)`.
    """

    def __init__(self, path: pathlib.Path, draw: DrawCurves) -> None:
        self.path = path
        self.draw = draw

    def epoch(self, row: Mapping[str, float], progress: Progress) -> None:
        """Draws."""
        del row
        try:
            self.draw(columns(progress.history), self.path)
        except (ValueError, OSError) as error:
            log.warning("No curves: %s", error)


class EpochLines(Silent):
    """One line in the log for each epoch: loss, Dice per class, the followed metric, time, time left.

    Args:
        metric: Column that best checkpoint and early stopping follow.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self._epochs: int | None = None

    def started(self, progress: Progress, epochs: int | None) -> None:
        """Says where a continued run is."""
        self._epochs = epochs
        if progress.epoch or progress.step:
            log.info("Continuing in epoch %d after batch %d.", progress.epoch + 1, progress.step)

    def epoch(self, row: Mapping[str, float], progress: Progress) -> None:
        """Logs."""
        before = progress.history[-2]["seconds"] if len(progress.history) > 1 else 0.0
        took = row["seconds"] - before
        left = "" if self._epochs is None else f"; about {clock((self._epochs - progress.epoch) * took)} left"
        best = f", best {progress.best:.4f}" if progress.best is not None else ""
        of = "" if self._epochs is None else f"/{self._epochs}"
        log.info(
            "Epoch %d%s: %s%s; %s%s",
            progress.epoch,
            of,
            summary(row),
            f"; {self.metric} {row[self.metric]:.4f}{best}" if self.metric in row else "",
            clock(took),
            left,
        )


def summary(row: Mapping[str, Any]) -> str:
    """Loss and Dice of a row: `loss 0.31, Dice 0.80 (liver 0.92, tumor 0.68)`."""
    classes = {name.removeprefix("dice_"): float(value) for name, value in row.items() if name.startswith("dice_")}
    inside = ", ".join(f"{name} {value:.3f}" for name, value in classes.items())
    text = f"loss {float(row['loss']):.4f}" if "loss" in row else ""
    text += f", Dice {float(row['dice']):.3f}" if "dice" in row else ""
    return f"{text} ({inside})" if inside else text


def clock(seconds: float) -> str:
    """A duration in words: `45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def columns(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """A history by columns; not a number where a value was not measured."""
    names = dict.fromkeys(name for row in history for name in row)
    return {name: [float(row.get(name, "nan")) for row in history] for name in names}
