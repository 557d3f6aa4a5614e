"""How deep, how wide and how anisotropic a U-Net is: one number, kernel and stride per stage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.blocks import Axes, check_size, per_axis


@dataclass(frozen=True)
class Stages:
    """The stages of an encoder, finest first.

    Args:
        filters: Channels of every stage.
        kernels: Kernel of every stage, per axis.
        strides: Stride at the entrance of every stage, per axis; all 1 in the first.
    """

    filters: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def depth(self) -> int:
        """How often the network goes down."""
        return len(self.filters) - 1

    @property
    def multiples(self) -> tuple[int, ...]:
        """What every spatial size must be a multiple of, per axis."""
        return tuple(math.prod(axis) for axis in zip(*self.strides, strict=True))

    def upper(self, depth: int) -> "Stages":
        """The first `depth + 1` stages."""
        last = depth + 1
        return Stages(self.filters[:last], self.kernels[:last], self.strides[:last])

    def check_size(self, input_shape: Sequence[int | None], *, model: str) -> None:
        """Refuses spatial sizes that are not a multiple of all strides together.

        Raises:
            ValueError: Names the shape, the rule and the sizes that fit.
        """
        cure = "remove a stage from MODEL.FILTERS and MODEL.STRIDES"
        check_size(input_shape, self.multiples, model=model, cure=cure)


def plan_stages(
    input_shape: Sequence[int | None],
    *,
    filters: Sequence[int] | None,
    kernel_sizes: Sequence[Axes] | None,
    strides: Sequence[Axes] | None,
    default_filters: Mapping[int, Sequence[int]],
) -> Stages:
    """Fills in what the options leave open: kernels of 3, strides of 2, the published widths.

    Args:
        input_shape: `(*s, c)`; only the number of axes counts.
        filters: Channels per stage; `None` takes as many of the published ones as the other options have stages.
        kernel_sizes: Per stage, one number or one per axis; `None` means 3.
        strides: Likewise, the first 1; `None` means 1, then 2.
        default_filters: The published widths per number of spatial axes; a deeper network repeats the last.

    Raises:
        ValueError: The lists differ in length, have fewer than two stages, or hold a number that makes no sense.
    """
    rank = len(input_shape) - 1
    if rank not in default_filters:
        raise ValueError(f"Input shape {tuple(input_shape)} is not (h, w, c) or (d, h, w, c). Set INPUT accordingly.")
    usual = default_filters[rank]
    count = next((len(given) for given in (filters, strides, kernel_sizes) if given is not None), len(usual))
    widths = filters if filters is not None else [usual[min(i, len(usual) - 1)] for i in range(count)]
    kernels = _axes("KERNEL_SIZES", [3] * count if kernel_sizes is None else kernel_sizes, rank)
    steps = _axes("STRIDES", [1] + [2] * (count - 1) if strides is None else strides, rank)
    lengths = {"FILTERS": len(widths), "KERNEL_SIZES": len(kernels), "STRIDES": len(steps)}
    if len(set(lengths.values())) > 1 or count < 2:
        listed = ", ".join(f"MODEL.{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"A U-Net needs the same number of stages everywhere, at least 2: {listed}.")
    if any(n < 1 for n in widths):
        raise ValueError(f"MODEL.FILTERS={list(widths)}: every stage needs 1 channel or more.")
    if any(n < 1 or n % 2 == 0 for kernel in kernels for n in kernel):
        raise ValueError(f"MODEL.KERNEL_SIZES={_listed(kernels)}: kernels must be odd, such as 1, 3 or 5.")
    if any(n < 1 for step in steps for n in step) or set(steps[0]) != {1}:
        raise ValueError(
            f"MODEL.STRIDES={_listed(steps)}: strides are 1 or more, and the first stage has {[1] * rank}."
        )
    return Stages(tuple(widths), kernels, steps)


def per_stage(value: int | Sequence[int], count: int, *, option: str) -> tuple[int, ...]:
    """One positive number per stage.

    Args:
        value: One number for all, or one per stage.
        count: How many stages.
        option: Config key, for the message.

    Raises:
        ValueError: `value` has another length, or a number below 1.
    """
    numbers = (value,) * count if isinstance(value, int) else tuple(value)
    if len(numbers) != count or any(n < 1 for n in numbers):
        raise ValueError(f"{option}={list(numbers)}: give one number of 1 or more, or {count} of them, one per stage.")
    return numbers


def _axes(option: str, values: Sequence[Axes], rank: int) -> tuple[tuple[int, ...], ...]:
    try:
        return tuple(per_axis(value, rank) for value in values)
    except ValueError as error:
        raise ValueError(f"MODEL.{option}={list(values)}: {error}") from error


def _listed(axes: Sequence[Sequence[int]]) -> str:
    return str([list(axis) for axis in axes])
