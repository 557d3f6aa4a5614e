"""Network, objective, metric and optimizer put together where the runtime wants them."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from losses.objective import Objective
from metrics.streaming import StreamingDice
from training.budget import Budget
from training.optimizers import OptimizerChoice, build_optimizer
from training.runtime import Runtime
from training.schedules import EpochSchedule, ScheduleChoice
from training.step import TrainingModel


def assemble(
    build_network: Callable[[], keras.Model],
    objective: Objective,
    *,
    class_names: Sequence[str],
    ignore_label: int,
    optimizer: OptimizerChoice,
    learning_rate: float | EpochSchedule,
    runtime: Runtime,
    remat: bool = False,
    regions: Sequence[Sequence[int]] | None = None,
) -> TrainingModel:
    """Makes everything that has variables.

    Args:
        build_network: Makes the network; called within the runtime's scope.
        objective: What is minimised.
        class_names: Foreground classes, or regions.
        ignore_label: Label that the metric does not see.
        optimizer: What to build.
        learning_rate: A number or a schedule.
        runtime: Devices, precision, compilation.
        remat: Recompute activations in the backward pass.
        regions: Classes of each output where outputs are overlapping regions.

    Returns:
        A model ready to be trained.
    """
    with runtime.scope():
        network = build_network()
        logits = network.outputs[0]
        dice: Any = StreamingDice(
            int(logits.shape[-1]), ignore_label=ignore_label, class_names=class_names, regions=regions, name="dice"
        )
        model = TrainingModel(network, objective, dice=dice, class_names=class_names, xla=runtime.xla, remat=remat)
        scaled = runtime.precision == "mixed_float16"
        model.prepare(build_optimizer(optimizer, learning_rate=learning_rate, scale_loss=scaled))
    return model


def initial_rate(choice: ScheduleChoice, budget: Budget, *, steps_per_epoch: int) -> float | EpochSchedule:
    """A schedule over batches where batches decide the rate, the peak where it is assigned as the run goes."""
    epochs = budget.epochs_of(steps_per_epoch)
    if epochs is None or choice.type == "plateau":
        return choice.peak
    return EpochSchedule(choice, epochs=epochs, steps_per_epoch=steps_per_epoch)


def scaled_rate(rate: float, *, devices: int, rule: str) -> float:
    """The learning rate for a batch that several devices share.

    `none` leaves it: each step then sees more samples at the same rate, which lost 0.8 to 1.5 Dice points in published
    runs on 8 devices. `linear` multiplies it by the devices (Goyal et al., 2017; with SGD and warm-up), `sqrt` by
    their root (common with Adam).

    Raises:
        ValueError: Another rule.
    """
    factors = {"none": 1.0, "linear": float(devices), "sqrt": float(devices) ** 0.5}
    if rule not in factors:
        raise ValueError(f"HYPER_PARAMETERS.SCALE_LEARNING_RATE={rule} is unknown. Type one of {', '.join(factors)}.")
    return rate * factors[rule]
