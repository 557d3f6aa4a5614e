"""A trained run's network, ready to predict."""

import pathlib
from collections.abc import Mapping
from typing import Any

from inference.activation import Regions
from inference.network import Network
from inference.segmenter import Application, Segmenter

CHOICES = ("best", "last")


class WeightsError(ValueError):
    """Weights are missing or do not belong to the network; one line with the remedy."""


def checkpoint_path(folder: pathlib.Path, choice: str) -> pathlib.Path:
    """The weights file that is meant.

    Args:
        folder: The run's checkpoint folder.
        choice: `"best"`, `"last"`, or the path of a weights file.

    Raises:
        WeightsError: It does not exist.
    """
    path = folder / f"{choice}.weights.h5" if choice in CHOICES else pathlib.Path(choice).expanduser()
    if not path.is_file():
        there = sorted(file.name for file in folder.glob("*.h5")) if folder.is_dir() else []
        raise WeightsError(
            f"There is no weights file {path}: {folder} holds {', '.join(there) or 'none'}. "
            "Train first, or type CHECKPOINT=best, last or a file."
        )
    return path


def load_network(
    model: tuple[str, Mapping[str, Any]],
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    weights: pathlib.Path,
    batch_size: int = 8,
    regions: Regions | None = None,
) -> Network:
    """Builds the trained network without its training outputs and loads its weights, strictly.

    Args:
        model: Type and options, as it was trained.
        input_shape: `(*s, c)`; a spatial size may be None where the network allows it.
        num_classes: Outputs.
        weights: Keras weights of the whole training network.
        batch_size: Samples per call.
        regions: Label values of each output where outputs are overlapping regions.

    Raises:
        WeightsError: The file is damaged, or belongs to a network with other layers, widths or classes.
        ValueError: The network cannot be built so.
    """
    from models import build_model, inference_model

    kind, options = model
    # Pretrained encoder weights would be downloaded only to be overwritten.
    kept = {name: value for name, value in options.items() if name != "backbone_weights"}
    network = build_model(kind, input_shape=input_shape, num_classes=num_classes, **kept)
    try:
        network.load_weights(weights)
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{weights} does not fit {kind} with {num_classes} outputs ({reason}): give the MODEL options, the classes "
            "and the channels that it was trained with."
        ) from error
    return Network(inference_model(network), batch_size=batch_size, regions=regions, name=f"{kind} ({weights.name})")


def open_segmenter(
    model: tuple[str, Mapping[str, Any]],
    *,
    weights: pathlib.Path,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    foreground: int,
    options: Mapping[str, Any],
    slices: int = 1,
    mirror: bool = False,
) -> Segmenter:
    """The trained network and the way it is applied.

    Args:
        model: Type and options, as it was trained.
        weights: Keras weights of the whole training network.
        input_shape: `(*s, c)`. Three spatial axes mean windows of that size over volumes, two mean slices.
        num_classes: Outputs.
        foreground: Number of foreground classes.
        options: The INFERENCE section of the configuration as plain values, keys in upper case.
        slices: Neighbouring slices that make up an input.
        mirror: Whether to average over mirrored inputs.

    Raises:
        ValueError: As `load_network` and `Application.from_options`.
    """
    rank = len(input_shape) - 1
    application = Application.from_options(
        options, rank=rank, classes=range(1, foreground + 1), slices=slices, mirror=mirror
    )
    network = load_network(
        model,
        input_shape=input_shape,
        num_classes=num_classes,
        weights=weights,
        batch_size=application.batch_size,
    )
    return Segmenter(network, network.spatial_shape, application, network.regions)
