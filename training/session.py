"""What happens around Keras' fit: positions, validation, checkpoints, stopping. One Keras callback does it all."""

import logging
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras

from training.budget import Budget
from training.checkpoints import STATE, Progress, averaged_weights, read_metrics, save_state, save_weights
from training.optimizers import inner_optimizer
from training.schedules import ScheduleChoice, rate_at
from training.signals import Stopper

log = logging.getLogger(__name__)

Validate = Callable[[keras.Model], Mapping[str, float]]
"""Measures the model; names without `val_`."""


class TrainingStoppedError(ValueError):
    """Training cannot go on, for example after a loss that is no number; one line."""


class InterruptedTrainingError(Exception):
    """Training was asked to leave, and has saved where it was."""

    def __init__(self, reason: str, *, signal: int | None = None) -> None:
        super().__init__(reason)
        self.signal = signal


class Observer(Protocol):
    """Watches a run. Every method may be called with nothing to do."""

    def started(self, progress: Progress, epochs: int | None) -> None:
        """The run starts or goes on; `epochs` is its length where that is known."""
        ...

    def batch(self, step: int, steps: int, logs: Mapping[str, Any]) -> None:
        """Batch `step` of `steps` is done; the values may be tensors still being computed."""
        ...

    def epoch(self, row: Mapping[str, float], progress: Progress) -> None:
        """An epoch is done and saved."""
        ...

    def finished(self) -> None:
        """The run leaves, whatever the reason."""
        ...


@dataclass(frozen=True)
class Rules:
    """How a run goes.

    Attributes:
        budget: Its length.
        schedule: The learning rate; what epochs decide is inside the optimizer already.
        validate_every: Epochs between validations; the last epoch is always validated.
        metric: Column of the history that best checkpoint, early stopping and plateau follow.
        larger_is_better: Direction of that metric.
        patience: Validations without improvement before stopping; `None` never stops.
        save_every_steps: Also save within an epoch.
        keep_last: Write the state to continue from, and the last weights.
        whole_network: Also write the best network as `.keras`.
    """

    budget: Budget = field(default_factory=lambda: Budget(epochs=1))
    schedule: ScheduleChoice = field(default_factory=ScheduleChoice)
    validate_every: int = 1
    metric: str = "val_dice"
    larger_is_better: bool = True
    patience: int | None = None
    save_every_steps: int | None = None
    keep_last: bool = True
    whole_network: bool = False


class DirectCallbacks(keras.callbacks.CallbackList):
    """Hands on what a batch logs as it is; Keras' own list waits for the device after every batch."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """After a batch of training."""
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Session(keras.callbacks.Callback):
    """A run in progress.

    Args:
        trained: The compiled model.
        progress: Where it is; changed as it goes.
        rules: How it goes.
        steps: Batches in an epoch.
        folder: Where checkpoints go; `None` writes none (another process does).
        validate: Measures the model, or `None`.
        names: Batch of the stream to the names of its samples.
        observers: Told of every batch and epoch.
        stopper: Signals and the stop file.
    """

    def __init__(
        self,
        trained: Any,
        *,
        progress: Progress,
        rules: Rules,
        steps: int,
        folder: pathlib.Path | None,
        validate: Validate | None,
        names: Callable[[int], Sequence[str]],
        observers: Sequence[Observer] = (),
        stopper: Stopper | None = None,
    ) -> None:
        super().__init__()
        self.trained, self.progress, self.rules, self.steps, self.folder = trained, progress, rules, steps, folder
        self.validate, self.names, self.observers = validate, names, tuple(observers)
        self.stopper = stopper or Stopper()
        self.epochs = rules.budget.epochs_of(steps)
        self.done = rules.patience is not None and progress.waited >= rules.patience
        self._restore: list[Any] | None = None
        self._unchecked: tuple[int, Any] | None = None
        self._clock = time.monotonic()
        self._assigned = rules.schedule.type == "plateau" or rules.budget.seconds is not None

    def restore_metrics(self, values: list[Any]) -> None:
        """Sets what the metrics held within an unfinished epoch; applied when Keras has reset them."""
        self._restore = values

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Goes on with the metrics of an unfinished epoch, and sets the rate."""
        del epoch, logs
        if self._restore is not None:
            for variable, value in zip(self.trained.metrics_variables, self._restore, strict=True):
                variable.assign(value)
            self._restore = None
        self._set_rate()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts, checks the loss of the batch before, saves and leaves where that is due."""
        del batch
        logs = logs or {}
        progress, rules = self.progress, self.rules
        self._check_loss()
        self._unchecked = (progress.epoch * self.steps + progress.step, logs.get("loss"))
        progress.step += 1
        self._tick()
        for observer in self.observers:
            observer.batch(progress.step, self.steps, logs)
        if self.stopper.asked():
            self._leave()
        if rules.save_every_steps and progress.step % rules.save_every_steps == 0 and progress.step < self.steps:
            self.save()
        if self._spent():
            self.trained.stop_training = True
        elif rules.budget.seconds is not None and progress.step % 25 == 0:
            self._set_rate()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Validates, saves, and stops where that is due."""
        del epoch
        self._check_loss()
        self.progress.trained = {name: float(value) for name, value in (logs or {}).items()}
        self.finish_epoch()
        if self.done:
            self.trained.stop_training = True

    def finish_epoch(self) -> None:
        """Everything after the training of an epoch; also where a run goes on that was stopped during validation."""
        progress, rules = self.progress, self.rules
        self._synchronise()
        number = progress.epoch + 1
        last = self._spent() or (self.epochs is not None and number >= self.epochs)
        row = {"epoch": float(number), "learning_rate": self._rate(), **(progress.trained or {})}
        if self.validate is not None and (last or number % rules.validate_every == 0):
            with averaged_weights(self.trained):
                measured = self.validate(self.trained)
            row |= {f"val_{name}": float(value) for name, value in measured.items()}
        if self.stopper.asked():
            self._leave()
        self._tick()
        row["seconds"] = progress.seconds
        improved = self._judge(row)
        progress.epoch, progress.step, progress.trained = number, 0, None
        progress.history.append(row)
        self._save_best(improved)
        self.done = last or self._spent() or (rules.patience is not None and progress.waited >= rules.patience)
        self.save()
        for observer in self.observers:
            observer.epoch(row, progress)

    def save(self) -> None:
        """Writes the state to continue from, and the last weights."""
        self._check_loss()
        if not self.rules.keep_last:
            return
        if self.folder is None:
            read_metrics(self.trained)
            return
        self._synchronise()
        with averaged_weights(self.trained):
            save_weights(self.folder / "last.weights.h5", self.trained.network)
        save_state(self.folder / STATE, self.trained, self.progress)

    def _save_best(self, improved: bool) -> None:
        if not improved or self.folder is None:
            return
        with averaged_weights(self.trained):
            save_weights(self.folder / "best.weights.h5", self.trained.network)
            if self.rules.whole_network:
                save_weights(self.folder / "best.keras", self.trained.network)

    def _judge(self, row: Mapping[str, float]) -> bool:
        """Whether the followed metric improved. Without validation in a run the newest weights are the best."""
        progress, rules = self.progress, self.rules
        if rules.metric not in row:
            if self.validate is None:
                return True
            if any(name.startswith("val_") for name in row):
                known = ", ".join(sorted(row))
                raise TrainingStoppedError(f"VALIDATION.METRIC={rules.metric} is not measured. Type one of {known}.")
            return False
        value = row[rules.metric]
        sign = 1.0 if rules.larger_is_better else -1.0
        if not math.isnan(value) and (progress.best is None or sign * value > sign * progress.best):
            progress.best, progress.waited, progress.plateau_waited = value, 0, 0
            return True
        progress.waited += 1
        progress.plateau_waited += 1
        if rules.schedule.type == "plateau" and progress.plateau_waited >= rules.schedule.patience:
            progress.plateau *= rules.schedule.factor
            progress.plateau_waited = 0
        return False

    def _check_loss(self) -> None:
        """Reads the loss of the batch before: its device has finished by now, so nothing waits."""
        if self._unchecked is None:
            return
        (index, loss), self._unchecked = self._unchecked, None
        if loss is None or math.isfinite(float(loss)):
            return
        epoch, step = divmod(index, self.steps)
        names = ", ".join(self.names(index))
        raise TrainingStoppedError(
            f"The loss is {float(loss)} at batch {step + 1} of epoch {epoch + 1}, samples {names}. Look at these "
            "samples; or lower HYPER_PARAMETERS.LEARNING_RATE, type OPTIMIZER.CLIP_NORM=12 or OPTIMIZATION.AMP=False."
        )

    def _leave(self) -> None:
        self.save()
        raise InterruptedTrainingError(self.stopper.reason, signal=self.stopper.signal)

    def _synchronise(self) -> None:
        """On JAX the step keeps the weights to itself; this puts them back into the variables."""
        if hasattr(self.trained, "jax_state_sync"):
            self.trained.jax_state_sync()

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now

    def _spent(self) -> bool:
        """The budget is used up within the epoch: time, or a number of batches."""
        budget, progress = self.rules.budget, self.progress
        if budget.seconds is not None:
            return progress.seconds >= budget.seconds
        return budget.steps is not None and progress.epoch * self.steps + progress.step >= budget.steps

    def _set_rate(self) -> None:
        """Assigns the rate where no formula over batches gives it: plateau, or a run measured in time."""
        if not self._assigned:
            return
        self._synchronise()
        schedule, budget = self.rules.schedule, self.rules.budget
        done = 0.0 if budget.seconds is None else self.progress.seconds / budget.seconds
        self.trained.optimizer.learning_rate = rate_at(schedule, done) * self.progress.plateau

    def _rate(self) -> float:
        """The rate of the last batch."""
        optimizer = inner_optimizer(self.trained.optimizer)
        rate = optimizer._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return float(rate(max(int(keras.ops.convert_to_numpy(optimizer._iterations)) - 1, 0)))
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
