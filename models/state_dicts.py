"""Weights of the original networks: their state dicts into our models, and back.

    load_state_dict(model, tensors, *, strict=True) -> LoadReport(loaded, unused, missing)
    to_state_dict(model) -> dict[str, np.ndarray]          the exact inverse
    Entry(key, variable, layout)                           one tensor of the original and where it goes
    KEY_MAPS[model.name] = KeyMap("models.key_maps.<family>:entries", ignored=(pattern, ...))
    conv_entries / norm_entries(key, layer) -> [Entry]     weight and bias (and running statistics) of one layer

A key map is a function `entries(model) -> list[Entry]`. Original tensors are channels first. Two entries may name one
variable (an original that registers a module twice).
"""

import fnmatch
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from models.fitting import advice, shapes_of

LayoutName = Literal["conv", "depthwise", "dense", "vector", "as_is"]


@dataclass(frozen=True)
class Layout:
    """How a tensor of the original becomes ours: `load(tensor, our_shape)`, and back: `save(value)`."""

    load: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
    save: Callable[[np.ndarray], np.ndarray]


LAYOUTS: Mapping[str, Layout] = {
    # (out, in, *k) -> (*k, in, out); a transposed convolution's (in, out, *k) -> (*k, out, in)
    "conv": Layout(lambda w, _: np.moveaxis(w, (0, 1), (-1, -2)), lambda w: np.moveaxis(w, (-1, -2), (0, 1))),
    # (in * multiplier, 1, *k) -> (*k, in, multiplier)
    "depthwise": Layout(
        lambda w, shape: np.moveaxis(w.reshape(*shape[-2:], *w.shape[2:]), (0, 1), (-2, -1)),
        lambda w: np.moveaxis(w, (-2, -1), (0, 1)).reshape(-1, 1, *w.shape[:-2]),
    ),
    "dense": Layout(lambda w, _: w.T, lambda w: w.T),
    "vector": Layout(lambda w, _: w, lambda w: w),
    "as_is": Layout(lambda w, _: w, lambda w: w),
}


@dataclass(frozen=True)
class Entry:
    """One tensor of an original network and the variable that takes it."""

    key: str
    variable: Any  # keras.Variable
    layout: LayoutName | Layout


@dataclass(frozen=True)
class LoadReport:
    """What a state dict met: keys loaded, keys that nothing takes, keys that are wanted and absent."""

    loaded: list[str]
    unused: list[str]
    missing: list[str]


@dataclass(frozen=True)
class KeyMap:
    """Where the entries of one network family are listed, and which keys mean nothing."""

    entries: str  # "module:function"
    ignored: tuple[str, ...] = ("*num_batches_tracked",)


_UNET3PLUS = KeyMap("models.key_maps.unet3plus:entries")

_NNUNET = KeyMap("models.key_maps.nnunet:entries", ("*num_batches_tracked", "*.all_modules.*", "decoder.encoder.*"))

KEY_MAPS: Mapping[str, KeyMap] = {
    "unet3plus": _UNET3PLUS,
    "unet3plus_deepsup": _UNET3PLUS,
    "unet3plus_deepsup_cgm": _UNET3PLUS,
    "unetplusplus": KeyMap("models.key_maps.unetplusplus:entries"),
    "unet": _NNUNET,
    "resenc_unet": _NNUNET,
    "unetr_plusplus": KeyMap("models.key_maps.unetr_plusplus:entries"),
    "universal_unet": KeyMap("models.key_maps.universal_unet:entries"),
}


def load_state_dict(model: keras.Model, tensors: Mapping[str, np.ndarray], *, strict: bool = True) -> LoadReport:
    """Gives a model the weights of the original network.

    Args:
        model: Built by `build_model`.
        tensors: The original's state dict: its keys, its layout (channels first).
        strict: Whether a missing or an unused key is an error. Without it they are only reported.

    Returns:
        Which keys were loaded, unused, missing. Keys without meaning (`ignored`) are in none of them.

    Raises:
        ValueError: No key map for this model; a shape differs; two keys of one variable disagree; with `strict`, a key
            is missing or unused. The model is unchanged then.
    """
    entries = entries_of(model)
    if strict:
        _check_complete(model, entries)
    present = {id(entry.variable) for entry in entries if entry.key in tensors}
    missing = [entry.key for entry in entries if id(entry.variable) not in present]
    known = {entry.key for entry in entries}
    unused = [key for key in tensors if key not in known and not ignored(key, model)]
    if strict and (missing or unused):
        cure = (
            "Build the model with the options of the original (deep_supervision, classification_guided, filters), or "
            "load with strict=False."
        )
        raise ValueError(
            f"The state dict does not fit {model.name}: {some('missing', missing)}; {some('unused', unused)}. "
            f"{advice(model, shapes_of(tensors)) or cure}"
        )
    classes, cure = {output.shape[-1] for output in model.outputs}, advice(model, shapes_of(tensors))
    values: dict[int, tuple[Entry, np.ndarray]] = {}
    for entry in entries:
        if entry.key in tensors:
            value = _fitted(entry, np.asarray(tensors[entry.key]), classes, cure=cure)
            first, other = values.setdefault(id(entry.variable), (entry, value))
            if not np.array_equal(other, value):
                raise ValueError(f"Keys {first.key} and {entry.key} are one variable, but their tensors differ.")
    for entry, value in values.values():
        entry.variable.assign(value)
    return LoadReport([entry.key for entry in entries if entry.key in tensors], unused, missing)


def to_state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """Weights of a model under the keys and in the layout of the original network.

    Args:
        model: Built by `build_model`.

    Returns:
        Key to tensor, channels first, float32; `load_state_dict` is the exact inverse.

    Raises:
        ValueError: No key map for this model, or a variable that the original does not have.
    """
    entries = entries_of(model)
    _check_complete(model, entries)
    return {
        entry.key: np.ascontiguousarray(_layout(entry).save(np.asarray(keras.ops.convert_to_numpy(entry.variable))))
        for entry in entries
    }


def ignored(key: str, model: keras.Model) -> bool:
    """Whether a key of the original carries nothing that the model needs."""
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in KEY_MAPS[model.name].ignored)


def conv_entries(key: str, layer: Any, layout: LayoutName | Layout = "conv") -> list[Entry]:
    """`{key}.weight` and, where the layer has one, `{key}.bias` of a convolution or a dense layer."""
    kernel = [Entry(f"{key}.weight", layer.kernel, layout)]
    return kernel + ([Entry(f"{key}.bias", layer.bias, "vector")] if layer.use_bias else [])


def norm_entries(key: str, layer: Any) -> list[Entry]:
    """Scale, shift and, for batch normalisation, running statistics of a normalisation."""
    entries = [Entry(f"{key}.weight", layer.gamma, "vector"), Entry(f"{key}.bias", layer.beta, "vector")]
    if hasattr(layer, "moving_mean"):
        entries.append(Entry(f"{key}.running_mean", layer.moving_mean, "vector"))
        entries.append(Entry(f"{key}.running_var", layer.moving_variance, "vector"))
    return entries


def entries_of(model: keras.Model) -> list[Entry]:
    """Every tensor of the original of this model; ValueError where it has none."""
    if model.name not in KEY_MAPS:
        raise ValueError(f"{model.name} has no published state dict. Models with one: {', '.join(KEY_MAPS)}.")
    module, function = KEY_MAPS[model.name].entries.split(":")
    return getattr(importlib.import_module(module), function)(model)


def _check_complete(model: keras.Model, entries: list[Entry]) -> None:
    """Every trainable variable and every running statistic must have a key."""
    mapped = {id(entry.variable) for entry in entries}
    states = [variable for variable in model.non_trainable_variables if "seed_generator" not in variable.path]
    absent = [variable.path for variable in [*model.trainable_variables, *states] if id(variable) not in mapped]
    if absent:
        raise ValueError(f"The original of {model.name} has no tensor for {some('variables', absent)}.")


def _layout(entry: Entry) -> Layout:
    return entry.layout if isinstance(entry.layout, Layout) else LAYOUTS[entry.layout]


def fits(entry: Entry, tensor: np.ndarray) -> bool:
    """Whether a tensor of the original has the shape that the entry's variable takes."""
    return tensor.shape == _layout(entry).save(np.zeros(tuple(entry.variable.shape), np.float32)).shape


def _fitted(entry: Entry, tensor: np.ndarray, classes: set[int | None], cure: str = "") -> np.ndarray:
    """The tensor in our layout; refuses another shape."""
    wanted = tuple(entry.variable.shape)
    theirs = _layout(entry).save(np.zeros(wanted, np.float32)).shape
    if tensor.shape == theirs:
        return _layout(entry).load(tensor, wanted)
    hint = "Set MODEL.FILTERS and INPUT.CHANNELS as in the original."
    if tensor.ndim == len(theirs) and tensor.shape[1:] == theirs[1:] and theirs[0] in classes:
        hint = f"That is {tensor.shape[0]} classes against {theirs[0]}: set OUTPUT.CLASSES={tensor.shape[0]}."
    raise ValueError(f"{entry.key} has shape {tensor.shape}, but {entry.variable.path} takes {theirs}. {cure or hint}")


def some(what: str, keys: list[str]) -> str:
    """The first four of them, and how many there are: `missing: a, b`."""
    more = f", ... ({len(keys)} in all)" if len(keys) > 4 else ""
    return f"{what}: {', '.join(keys[:4]) + more if keys else 'none'}"
