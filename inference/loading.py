"""A trained run's network, ready to predict."""

import logging
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.activation import Regions
from inference.network import Member, Network
from inference.segmenter import Application, Segmenter

if TYPE_CHECKING:
    import keras

_LOG = logging.getLogger(__name__)
CHOICES = ("best", "last")
Heads = str | int | Sequence[int | str] | None


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


def load_model(
    model: tuple[str, Mapping[str, Any]],
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    weights: pathlib.Path,
) -> "keras.Model":
    """Builds the whole training network and loads its weights, strictly.

    Args:
        model: Type and options, as it was trained; beside them `domain`, which one of a network of many answers.
        input_shape: `(*s, c)`; a spatial size may be None where the network allows it.
        num_classes: Outputs.
        weights: Keras weights of the whole training network.

    Raises:
        WeightsError: The file is damaged, or belongs to a network with other layers, widths or classes.
        ValueError: The network cannot be built so.
    """
    network = _build(model, input_shape=input_shape, num_classes=num_classes)
    _load(network, weights, f"{model[0]} with {num_classes} outputs")
    return network


def load_network(
    model: tuple[str, Mapping[str, Any]],
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    weights: pathlib.Path,
    batch_size: int = 8,
    regions: Regions | None = None,
    heads: Heads = None,
) -> Network:
    """Builds the trained network without its training outputs and loads its weights, strictly.

    Args:
        model: Type and options, as it was trained; beside them `domain`, which one of a network of many answers.
        input_shape: `(*s, c)`; a spatial size may be None where the network allows it.
        num_classes: Outputs.
        weights: Keras weights of the whole training network.
        batch_size: Samples per call.
        regions: Label values of each output where outputs are overlapping regions.
        heads: Of a UNet++, see `models.pruning.choose_heads`; None takes the last one.

    Raises:
        WeightsError: The file is damaged, or belongs to a network with other layers, widths or classes.
        ValueError: The network cannot be built so, or has not these heads.
    """

    network = load_model(model, input_shape=input_shape, num_classes=num_classes, weights=weights)
    name = f"{model[0]} ({weights.name})"
    return Network(_answering(network, heads, model[1]), batch_size=batch_size, regions=regions, name=name)


def load_members(
    model: tuple[str, Mapping[str, Any]],
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    weights: Sequence[pathlib.Path],
    batch_size: int = 8,
    regions: Regions | None = None,
    heads: Heads = None,
) -> tuple[Network, list[Member]]:
    """Builds the network once and keeps several sets of weights for it, such as those of the folds.

    Args:
        model: As in `load_network`.
        input_shape: Likewise.
        num_classes: Likewise.
        weights: One file per member.
        batch_size: As in `load_network`.
        regions: Likewise.
        heads: Likewise.

    Returns:
        The network, and its members in the order of the files.

    Raises:
        ValueError: As `load_network`; names the file.
    """
    built = _build(model, input_shape=input_shape, num_classes=num_classes)
    network = Network(_answering(built, heads, model[1]), batch_size=batch_size, regions=regions, name=model[0])
    members: list[Member] = []
    for path in weights:
        _load(built, path, f"{model[0]} with {num_classes} outputs")
        members.append(Member(network, network.weights()))
    return network, members


def _build(
    model: tuple[str, Mapping[str, Any]], *, input_shape: tuple[int | None, ...], num_classes: int
) -> "keras.Model":
    from models import build_model
    from models.signatures import takes

    kind, options = model
    # Pretrained encoder weights would be downloaded only to be overwritten.
    kept = {name: value for name, value in options.items() if name not in ("backbone_weights", "domain")}
    if not takes(kind, "num_classes"):
        return build_model(kind, input_shape=input_shape[:-1], **kept)
    return build_model(kind, input_shape=input_shape, num_classes=num_classes, **kept)


def _answering(network: "keras.Model", heads: Heads, options: Mapping[str, Any]) -> "keras.Model":
    """The part of a training network that answers."""
    from models import inference_model

    if "domain" in options:
        from models.universal_unet import domain_model

        return domain_model(network, options["domain"])
    if heads is None:
        return inference_model(network)
    from models.pruning import choose_heads

    return choose_heads(network, heads)


def _load(network: "keras.Model", weights: pathlib.Path, what: str) -> None:
    try:
        network.load_weights(weights)
        stored = _stored(weights)
        if stored != len(network.weights):
            # Keras takes what it finds and passes over the rest of the file.
            raise ValueError(f"the file holds {stored} arrays, the network {len(network.weights)}")
        _say_where_trained(network, weights)
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        lacking = _lacks_adapters(network, weights)
        raise WeightsError(
            f"{weights} does not fit {what} ({'it holds no adapters of domains' if lacking else reason}): give the "
            f"MODEL options, the classes and the channels that it was trained with. {_advice(network, weights)}".strip()
        ) from error


def _say_where_trained(network: "keras.Model", weights: pathlib.Path) -> None:
    """Logs that weights of another patch size were resized while they were read."""
    from models.keras_files import finest_grid

    grids = finest_grid(weights), getattr(next((x for x in network.layers if hasattr(x, "grid")), None), "grid", None)
    if None not in grids and grids[0] != grids[1]:
        _LOG.info(
            "%s: trained on a grid of %s, resized to %s, because INPUT.PATCH is another one.", weights.name, *grids
        )


def _advice(network: "keras.Model", weights: pathlib.Path) -> str:
    """The settings that the file wants, as far as its arrays tell."""
    from models.fitting import advice, shapes_of
    from models.keras_files import read_weights

    try:
        return advice(network, shapes_of(read_weights(weights)))
    except ValueError:
        return ""


def _lacks_adapters(network: "keras.Model", weights: pathlib.Path) -> bool:
    """Whether the network has adapters of domains and the file none: Keras files arrays by the kind of their layer."""
    import h5py

    from models.depthwise import DepthwiseConv3D

    if not h5py.is_hdf5(weights) or not any(isinstance(layer, DepthwiseConv3D) for layer in network.layers):
        return False
    with h5py.File(weights) as file:
        return not any(name.startswith("depthwise_conv3d") for name in file.get("layers", {}))


def _stored(weights: pathlib.Path) -> int:
    """Arrays in a weights file."""
    import h5py

    names: list[str] = []
    with h5py.File(weights) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sum("vars" in name.split("/") and not name.endswith("/grid") for name in names)


def averaged(members: Sequence[Segmenter]) -> Segmenter:
    """One segmenter whose probabilities are the mean over several.

    Raises:
        WeightsError: They say different things: some regions, others exclusive classes, or other regions.
    """
    first, *others = members
    if any(other.regions != first.regions for other in others):
        raise WeightsError("Networks with different DATASET.REGIONS cannot be averaged: choose runs with the same.")
    return replace(first, further=tuple(others))


def open_segmenters(
    model: tuple[str, Mapping[str, Any]],
    *,
    weights: Sequence[pathlib.Path],
    input_shape: tuple[int | None, ...],
    num_classes: int,
    application: Application,
    regions: Regions | None = None,
) -> list[Segmenter]:
    """The trained network and the way it is applied, once for every set of weights.

    Args:
        model: Type and options, as it was trained; beside them `domain`, which one of a network of many answers.
        weights: Keras weights of the whole training network; several are members of one network that is built once.
        input_shape: `(*s, c)`. Three spatial axes mean windows of that size over volumes, two mean slices. Sizes are
            left free where `application` has a window of its own.
        num_classes: Outputs.
        application: How it is applied.
        regions: Label values of each output where outputs are overlapping regions.

    Raises:
        ValueError: As `load_network`.
    """
    facts: dict[str, Any] = {
        "input_shape": input_shape,
        "num_classes": num_classes,
        "batch_size": application.batch_size,
        "regions": regions,
        "heads": application.heads,
    }
    if application.window is not None:
        facts["input_shape"] = (*(None for _ in input_shape[:-1]), input_shape[-1])
    if len(weights) == 1:
        network = load_network(model, weights=weights[0], **facts)
        return [Segmenter(network, network.spatial_shape, application, regions, network.steps)]
    shared, members = load_members(model, weights=weights, **facts)
    return [Segmenter(member, shared.spatial_shape, application, regions, shared.steps) for member in members]
