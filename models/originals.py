"""The tensors of an original network into one of ours that may have another input size, or other heads."""

from collections.abc import Mapping

import keras
import numpy as np

from models.keras_files import Transfer
from models.resizing import resize_weights
from models.state_dicts import entries_of, fits, load_state_dict


def load_original(
    network: keras.Model,
    tensors: Mapping[str, np.ndarray],
    *,
    strict: bool = True,
    trained: keras.Model | None = None,
) -> Transfer:
    """Gives a network the weights of its original.

    Args:
        network: Built by `build_model`.
        tensors: The original's state dict, see `models.torch_files.read_tensors`.
        strict: Whether anything that does not fit is an error. Without it tensors of another shape are left out as
            well, such as the head of other classes, and listed.
        trained: The same network at the input size that the tensors are of, where that is another one: it takes them,
            and `network` its resized weights.

    Raises:
        ValueError: As `models.state_dicts.load_state_dict`.
    """
    first = network if trained is None else trained
    differing: dict[str, str] = {}
    if not strict:
        for entry in entries_of(first):
            tensor = tensors.get(entry.key)
            if tensor is not None and not fits(entry, tensor):
                differing[entry.key] = f"{entry.key} {tensor.shape} against {tuple(entry.variable.shape)} of ours"
    kept = {key: tensor for key, tensor in tensors.items() if key not in differing}
    report = load_state_dict(first, kept, strict=strict)
    if trained is not None:
        resize_weights(trained, network)
    missing = [key for key in report.missing if key not in differing]
    return Transfer(report.loaded, list(differing.values()), missing, report.unused)
