"""Learning rate over the course of training."""

import math
from dataclasses import dataclass
from typing import Any

import keras

SCHEDULES = ("constant", "poly", "cosine", "plateau")


@dataclass(frozen=True)
class ScheduleChoice:
    """A learning rate over training.

    Attributes:
        type: One of `SCHEDULES`.
        peak: Largest rate.
        end: What `poly` and `cosine` end at.
        power: Of `poly`.
        warmup_epochs: Epochs of linear rise at the start, fractions allowed; `poly` and `cosine` run after it.
        factor: Of `plateau`: the rate is multiplied by it ...
        patience: ... after this many validations without improvement.
    """

    type: str = "constant"
    peak: float = 1e-3
    end: float = 0.0
    power: float = 0.9
    warmup_epochs: float = 0.0
    factor: float = 0.5
    patience: int = 10

    def __post_init__(self) -> None:
        if self.type not in SCHEDULES:
            raise ValueError(f"SCHEDULE.TYPE={self.type} is unknown. Type one of {', '.join(SCHEDULES)}.")


class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """`constant`, `poly` and `cosine` as a function of the batch.

    With `f` the share of the run after warm-up that has passed:
    poly = end + (peak - end) (1 - f)^power, `f` constant within an epoch as in nnU-Net (Isensee et al., 2021);
    cosine = end + (peak - end) (1 + cos(pi f)) / 2, every batch (Loshchilov and Hutter, 2017).
    Warm-up: peak (i + 1) / (batches of warm-up) at batch `i`.

    Args:
        choice: The schedule; `plateau` is constant here.
        epochs: Length of the run.
        steps_per_epoch: Batches in an epoch.
    """

    def __init__(self, choice: ScheduleChoice, *, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        if choice.warmup_epochs >= epochs and choice.warmup_epochs > 0:
            raise ValueError(
                f"SCHEDULE.WARMUP_EPOCHS={choice.warmup_epochs} is not shorter than the run of {epochs} epochs. "
                "Type fewer, or a larger HYPER_PARAMETERS.EPOCHS."
            )
        self.choice, self.epochs, self.steps_per_epoch = choice, epochs, steps_per_epoch

    def __call__(self, step: Any) -> Any:
        """The rate at batch `step`, float32."""
        ops, choice = keras.ops, self.choice
        step = ops.cast(step, "float32")
        warmup = choice.warmup_epochs * self.steps_per_epoch
        total = self.epochs * self.steps_per_epoch
        if choice.type == "poly":
            # + 0.5: the quotient of an exact multiple may lie a rounding below it.
            epoch = ops.floor((step + 0.5) / self.steps_per_epoch)
            done = (epoch - choice.warmup_epochs) / (self.epochs - choice.warmup_epochs)
        else:
            done = (step - warmup) / (total - warmup)
        rate = choice.end + (choice.peak - choice.end) * shape(choice, ops.clip(done, 0.0, 1.0))
        return ops.where(step < warmup, choice.peak * (step + 1.0) / max(warmup, 1.0), rate)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as plain values."""
        return {"choice": self.choice, "epochs": self.epochs, "steps_per_epoch": self.steps_per_epoch}


def shape(choice: ScheduleChoice, done: Any) -> Any:
    """Share of `peak - end` that is left when the share `done` of the run has passed; 1 for the other schedules."""
    if choice.type == "poly":
        return keras.ops.power(1.0 - done, choice.power)
    if choice.type == "cosine":
        return (1.0 + keras.ops.cos(math.pi * done)) / 2.0
    return keras.ops.ones_like(done)


def rate_at(choice: ScheduleChoice, done: float) -> float:
    """The rate when the share `done` of a run measured in time has passed; there is no warm-up in time."""
    left = float(shape(choice, keras.ops.convert_to_tensor(min(max(done, 0.0), 1.0), "float32")))
    return choice.end + (choice.peak - choice.end) * left
