"""How long training lasts: epochs, batches or time."""

import re
from dataclasses import dataclass

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)([dhms]))")


@dataclass(frozen=True)
class Budget:
    """Length of a run. Exactly one of the three is set.

    Attributes:
        epochs: Passes over the data.
        steps: Batches.
        seconds: Wall-clock time of training, over all continuations.
    """

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None

    def epochs_of(self, steps_per_epoch: int) -> int | None:
        """Epochs, the last possibly shortened; `None` where time decides."""
        return self.epochs if self.steps is None else -(-self.steps // steps_per_epoch)


def parse_budget(text: str | None, *, epochs: int) -> Budget:
    """Reads `HYPER_PARAMETERS.BUDGET`.

    Args:
        text: A time such as `6h`, `90m`, `1h30m`, a number of batches such as `40000 steps`, or `None`.
        epochs: What holds when nothing is given.

    Raises:
        ValueError: The text is none of these, or zero.
    """
    if text is None:
        return Budget(epochs=epochs)
    compact = str(text).replace(" ", "").lower()
    steps = re.fullmatch(r"(\d+)steps?", compact)
    if steps and int(steps[1]):
        return Budget(steps=int(steps[1]))
    parts = _TIME.findall(compact)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(
            f"HYPER_PARAMETERS.BUDGET={text} is neither a time nor a number of batches. "
            'Type 6h, 90m, 1h30m or "40000 steps".'
        )
    return Budget(seconds=seconds)
