"""A trained run's network, ready to predict."""

import pathlib
from collections.abc import Mapping
from typing import Any

from inference.activation import Regions
from inference.network import Network

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
