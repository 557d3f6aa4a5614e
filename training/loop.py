"""A run from start, or from where it was, to its end."""

import gc
import logging
import math
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from training.checkpoints import STATE, CheckpointError, Progress, load_state, read_metrics
from training.feeds import Feed, Loader
from training.loaders import Stream
from training.session import DirectCallbacks, InterruptedTrainingError, Observer, Rules, Session, Validate
from training.signals import Stopper

log = logging.getLogger(__name__)

_NO_END = 2**31


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        progress: Position and history.
        interrupted: Why it left before its end, or `None`.
        signal: The signal that made it leave.
    """

    progress: Progress
    interrupted: str | None = None
    signal: int | None = None


def fit(
    model: Any,
    loader: Loader,
    *,
    rules: Rules,
    folder: pathlib.Path,
    checkpoints: pathlib.Path | None = None,
    validate: Validate | None = None,
    observers: Sequence[Observer] = (),
    resume: bool = False,
    feed: Callable[[int], Stream] | None = None,
    writes: bool = True,
) -> Outcome:
    """Trains.

    Args:
        model: A prepared `TrainingModel`.
        loader: Training batches.
        rules: How the run goes.
        folder: A file `STOP` in it makes the run leave.
        checkpoints: Where they go; `None` is `checkpoints` in the folder.
        validate: Measures the model after an epoch.
        observers: Told of every batch and epoch.
        resume: Go on from the checkpoint; from the beginning where the run was killed before the first.
        feed: Position in the stream of batches -> the stream; by default a plain `Feed` of `loader`.
        writes: Write checkpoints; one of several processes does.

    Returns:
        How it ended.

    Raises:
        CheckpointError: A checkpoint cannot be written, or does not fit.
        TrainingStoppedError: The loss is no number.
    """
    feed = feed or (lambda start: Feed(loader, start=start))
    steps = len(loader)
    checkpoints = checkpoints or folder / "checkpoints"
    progress = _position(checkpoints / STATE, model, rules) if resume else Progress()
    _agree(progress, steps)
    with Stopper(folder / "STOP") as stopper:
        session = Session(
            model,
            progress=progress,
            rules=rules,
            steps=steps,
            folder=checkpoints if writes else None,
            validate=validate,
            names=lambda index: _names(loader, index),
            observers=observers,
            stopper=stopper,
        )
        for observer in observers:
            observer.started(progress, session.epochs)
        try:
            _run(session, feed)
        except InterruptedTrainingError as reason:
            return Outcome(progress, interrupted=str(reason), signal=reason.signal)
        finally:
            for observer in observers:
                observer.finished()
    return Outcome(progress)


def _position(state: pathlib.Path, model: Any, rules: Rules) -> Progress:
    if rules.keep_last and not state.exists():
        log.info("Nothing was saved yet: starting from the beginning.")
        return Progress()
    return load_state(state, model)


def _run(session: Session, feed: Callable[[int], Stream]) -> None:
    """The rest of an unfinished epoch, then whole epochs: Keras' epochs all have the same number of batches."""
    progress, steps = session.progress, session.steps
    if session.done:
        return
    if progress.trained is not None:
        session.finish_epoch()
    elif progress.step:
        session.restore_metrics(read_metrics(session.trained))
        _fit(session, feed, epochs=progress.epoch + 1, steps=steps - progress.step)
    ended = session.epochs is not None and progress.epoch >= session.epochs
    if not session.done and not ended:
        _fit(session, feed, epochs=session.epochs or _NO_END, steps=steps)


def _fit(session: Session, feed: Callable[[int], Stream], *, epochs: int, steps: int) -> None:
    progress = session.progress
    try:
        with feed(progress.epoch * session.steps + progress.step) as stream:
            session.trained.fit(
                stream,
                initial_epoch=progress.epoch,
                epochs=epochs,
                steps_per_epoch=steps,
                callbacks=DirectCallbacks([session], add_history=True, model=session.trained),
                shuffle=False,
                verbose=0,
            )
    finally:
        # TensorFlow's iterator must go before the interpreter does.
        gc.collect()


def _names(loader: Any, index: int) -> Sequence[str]:
    return Feed(loader).names(index)


def _agree(progress: Progress, steps: int) -> None:
    """Refuses to go on with another number of batches in an epoch: the batches seen would not be the batches left."""
    before = progress.facts.setdefault("steps_per_epoch", steps)
    if before != steps:
        raise CheckpointError(
            f"The run had {before} batches in an epoch and has {steps} now: data, HYPER_PARAMETERS.BATCH_SIZE or the "
            "number of devices changed. Continue with what it was started with, or train without RESUME=True."
        )


def best_epoch(history: Sequence[dict[str, float]], metric: str, *, larger_is_better: bool = True) -> int | None:
    """Epoch of the best value of a column of the history, the first of equals; `None` where it was never measured."""
    rows = [row for row in history if metric in row and not math.isnan(row[metric])]
    if not rows:
        return None
    sign = -1.0 if larger_is_better else 1.0
    return int(min(rows, key=lambda row: sign * row[metric])["epoch"])
