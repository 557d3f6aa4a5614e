"""Optimizers whose update is the same on one device, on several, and on both backends.

Keras' own reduce gradients over devices inside the update: clipping and loss scaling would then see the gradients of
one device only. Here the step reduces first, and the update that follows is the same, and local, on every device.
"""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras

LearningRate = float | keras.optimizers.schedules.LearningRateSchedule


@dataclass(frozen=True)
class OptimizerChoice:
    """What to build.

    Attributes:
        type: `sgd`, `adam` or `adamw`.
        momentum: Of sgd.
        nesterov: Of sgd.
        weight_decay: Strength.
        coupled: Decay is added to the gradient after clipping, biases and norms included, as PyTorch's SGD and Adam
            do; otherwise weights shrink by `rate * decay * weight` apart from the gradient.
        clip_norm: Largest global norm of the gradients.
        ema: Momentum of averaged weights.
        accumulation_steps: Batches whose averaged gradients make one update.
    """

    type: str = "adam"
    momentum: float = 0.99
    nesterov: bool = True
    weight_decay: float = 0.0
    coupled: bool = False
    clip_norm: float | None = None
    ema: float | None = None
    accumulation_steps: int = 1


class LocalUpdate:
    """Update of a device's own copy of each variable from gradients that are already reduced (mix-in)."""

    coupled_decay: float = 0.0
    _only: frozenset[int] | None = None
    _counts: Mapping[int, Any] = MappingProxyType({})
    _count: Any = None

    @property
    def iterations(self) -> Any:
        """Updates so far; while a variable that is counted apart is updated, its own."""
        return super().iterations if self._count is None else self._count  # type: ignore[misc]

    def count_apart(self, groups: Mapping[str, Sequence[Any]]) -> None:
        """Counts the updates of groups of variables that not every batch has gradients for.

        Adam's correction of its first steps then knows how often a variable was updated, as PyTorch's does.

        Args:
            groups: Name to variables.
        """
        counts: dict[int, Any] = {}
        for name, variables in groups.items():
            count = self.add_variable(  # type: ignore[attr-defined]
                (), dtype="int", aggregation="only_first_replica", name=f"updates_{name}"
            )
            counts |= {id(variable): count for variable in variables}
        self._counts = counts

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        """Updates all variables, or within `updating` those that it names."""
        if self._only is None:
            return super().apply(grads, trainable_variables)  # type: ignore[misc]
        known = self._trainable_variables if trainable_variables is None else trainable_variables  # type: ignore
        pairs = [pair for pair in zip(grads, known, strict=True) if id(pair[1]) in self._only]
        return super().apply([pair[0] for pair in pairs], [pair[1] for pair in pairs])  # type: ignore[misc]

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self.coupled_decay:
                gradient = keras.ops.add(gradient, keras.ops.multiply(variable, self.coupled_decay))  # noqa: PLW2901
            self._count = self._counts.get(id(variable))
            self.update_step(gradient, variable, learning_rate)  # type: ignore[attr-defined]
        self._count = None
        counted = [self._counts[id(variable)] for variable in trainable_variables if id(variable) in self._counts]
        for count in {id(count): count for count in counted}.values():
            count.assign(count + 1)

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        decay = self.weight_decay  # type: ignore[attr-defined]
        if decay is None:
            return
        for variable in variables:
            rate = keras.ops.cast(self.learning_rate, variable.dtype)  # type: ignore[attr-defined]
            variable.assign(variable - variable * rate * decay)

    def _backend_increment_gradient_accumulators(self, grads: list[Any], acc_grads: list[Any]) -> None:
        for gradient, total in zip(grads, acc_grads, strict=True):
            total.assign(total + gradient)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Leaves the weights as they are: `fit` would put the averaged ones in their place, even after an error."""


class SGD(LocalUpdate, keras.optimizers.SGD):
    """Stochastic gradient descent; Nesterov keeps the rate inside the velocity, as Keras does."""


class Adam(LocalUpdate, keras.optimizers.Adam):
    """Adam (Kingma and Ba, ICLR 2015); with decoupled decay it is AdamW (Loshchilov and Hutter, ICLR 2019)."""


def build_optimizer(choice: OptimizerChoice, *, learning_rate: LearningRate, scale_loss: bool = False) -> Any:
    """Builds the optimizer.

    Args:
        choice: What to build.
        learning_rate: A number that may be assigned later, or a schedule over batches.
        scale_loss: Scale the loss dynamically, for float16.

    Returns:
        A `keras.optimizers.Optimizer`.

    Raises:
        ValueError: Unknown type, or AdamW with coupled decay.
    """
    if choice.type not in {"sgd", "adam", "adamw"}:
        raise ValueError(f"OPTIMIZER.TYPE={choice.type} is unknown. Type sgd, adam or adamw.")
    if choice.type == "adamw" and choice.coupled:
        raise ValueError(
            "AdamW decouples its decay. Type OPTIMIZER.WEIGHT_DECAY_MODE=decoupled or OPTIMIZER.TYPE=adam."
        )
    shared: dict[str, Any] = {
        "learning_rate": learning_rate,
        "weight_decay": None if choice.coupled or not choice.weight_decay else choice.weight_decay,
        "global_clipnorm": choice.clip_norm,
        "use_ema": choice.ema is not None,
        "ema_momentum": 0.99 if choice.ema is None else choice.ema,
        "gradient_accumulation_steps": choice.accumulation_steps if choice.accumulation_steps > 1 else None,
    }
    if choice.type == "sgd":
        shared |= {"momentum": choice.momentum, "nesterov": choice.nesterov and choice.momentum > 0}
        optimizer: Any = SGD(**shared)
    else:
        optimizer = Adam(**shared)
    optimizer.coupled_decay = choice.weight_decay if choice.coupled else 0.0
    return keras.optimizers.LossScaleOptimizer(optimizer) if scale_loss else optimizer


def inner_optimizer(optimizer: Any) -> Any:
    """The optimizer itself where it is wrapped by loss scaling."""
    return getattr(optimizer, "inner_optimizer", optimizer)


@contextlib.contextmanager
def updating(optimizer: Any, variables: Sequence[Any]) -> Generator[None]:
    """Inside, an update leaves all other variables, their momenta and their decay alone."""
    inner = inner_optimizer(optimizer)
    inner._only = frozenset(id(variable) for variable in variables)
    try:
        yield
    finally:
        inner._only = None
