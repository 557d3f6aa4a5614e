"""One domain of a 3D universal U-Net as a small file of its own: saved, shipped, merged into the network it belongs to.

A file is an npz archive of plain arrays, nothing in it is run: the tensors of the domain's own layers (adapters, norms,
input, outputs) and `domain.json`, which says what they are and on which shared tensors they were trained. Without those
they are useless, so the base is recognised by a fingerprint.
"""

import dataclasses
import hashlib
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from imaging.atomic import replacing
from models.registry import build_model
from models.signatures import model_options
from models.universal_unet import OF_DOMAIN, domain_layers, domain_model, domain_names, inherit

VERSION = 1
_HEADER = "domain.json"
_KIND = "domain of a universal_unet"
_TYPE = "universal_unet"


class DomainFileError(ValueError):
    """A domain's file cannot be used; one line with the remedy."""


@dataclasses.dataclass(frozen=True)
class DomainPart:
    """What a domain adds to the shared network.

    Attributes:
        name: Of the domain.
        channels: Of its images.
        classes: Of its logits.
        network: Options of the network but its domains: `mode`, `base_filters`, `strides`.
        shared: `shared_fingerprint` of the network it was trained on.
        facts: What the caller knows of the domain, such as labels, spacing and patch; plain JSON types.
        tensors: `layer/variable` to array, without the domain's name.
    """

    name: str
    channels: int
    classes: int
    network: Mapping[str, Any]
    shared: str
    facts: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]

    @property
    def entry(self) -> dict[str, Any]:
        """The domain as the network's option `domains` lists it."""
        return {"name": self.name, "channels": self.channels, "classes": self.classes}

    @property
    def parameters(self) -> int:
        """How many values the domain adds."""
        return sum(tensor.size for tensor in self.tensors.values())


def shared_fingerprint(network: keras.Model) -> str:
    """SHA-256 of the tensors that belong to no domain: names, shapes and values."""
    digest = hashlib.sha256()
    for layer in sorted(network.layers, key=lambda layer: layer.name):
        if OF_DOMAIN in layer.name:
            continue
        for variable in layer.variables:
            digest.update(f"{layer.name}/{variable.name}{tuple(variable.shape)}".encode())
            digest.update(_value(variable).tobytes())
    return digest.hexdigest()


def domain_part(
    network: keras.Model, name: str, *, options: Mapping[str, Any], facts: Mapping[str, Any] | None = None
) -> DomainPart:
    """What one domain adds to a trained network.

    Args:
        network: From `models.universal_unet`.
        name: A domain of it.
        options: Options the network was built with; `domains` is not looked at.
        facts: Kept with it, plain JSON types.

    Raises:
        ValueError: The network has no such domain (lists those it has), or shares nothing (mode `independent`).
    """
    own = domain_model(network, name)
    described = _described(options)
    if described["mode"] == "independent":
        raise DomainFileError(
            f"MODEL.MODE=independent shares nothing, so {name} is the whole network: type EXPORT.FORMATS=[keras]."
        )
    return DomainPart(
        name=name,
        channels=int(own.input_shape[-1]),
        classes=int(own.output_shape[-1]),
        network=described,
        shared=shared_fingerprint(network),
        facts=dict(facts or {}),
        tensors={key: _value(variable) for key, variable in _variables(network, name).items()},
    )


def save_domain(path: pathlib.Path, part: DomainPart) -> pathlib.Path:
    """Writes the file; it appears whole."""
    said = {item.name: getattr(part, item.name) for item in dataclasses.fields(part) if item.name != "tensors"}
    text = json.dumps({"kind": _KIND, "version": VERSION, **said}, sort_keys=True)
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **{_HEADER: np.frombuffer(text.encode(), np.uint8), **part.tensors})  # pyright: ignore
    return path


def load_domain(path: pathlib.Path) -> DomainPart:
    """Reads what `save_domain` wrote.

    Raises:
        DomainFileError: There is no such file, it is damaged, is no domain's file, or of another version.
    """
    if not path.is_file():
        raise DomainFileError(f"There is no domain file {path}: type the file that EXPORT.FORMATS=[domain] wrote.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            tensors = {key: archive[key] for key in archive.files}
        said = json.loads(tensors.pop(_HEADER).tobytes())
        kind, version = said.pop("kind"), said.pop("version")
        part = DomainPart(**said, tensors=tensors) if version == VERSION else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DomainFileError(
            f"{path} is no domain file, or damaged ({type(error).__name__}): export it again with "
            "`python export.py RUN_NAME=... DOMAIN=... EXPORT.FORMATS=[domain]`."
        ) from error
    if part is None or kind != _KIND:
        raise DomainFileError(f"{path} holds {kind} of version {version}, this program reads version {VERSION}.")
    return part


def with_domains(
    network: keras.Model, parts: Sequence[DomainPart], *, options: Mapping[str, Any], keep: Sequence[str] | None = None
) -> keras.Model:
    """The whole network with further domains; those it has answer as before, bit for bit.

    Args:
        network: Trained, from `models.universal_unet`.
        parts: The new domains.
        options: Options it was built with, `domains` among them.
        keep: Only these domains, old or new; None: all.

    Returns:
        A new network; `network` is as it was. Its domains are the old ones in their order, then the new ones.

    Raises:
        DomainFileError: Two domains have one name, one was trained on other shared tensors than this network's, or one
            to keep is not there.
    """
    names = [*domain_names(network), *[part.name for part in parts]]
    _check_names(names)
    absent = [name for name in keep or () if name not in names]
    if absent:
        raise DomainFileError(
            f"DOMAINS names {', '.join(absent)}, but there are {', '.join(names)}: type some of these."
        )
    shared = shared_fingerprint(network)
    for part in parts:
        _check_base(part, _described(options), shared)
    domains = [*options["domains"], *[part.entry for part in parts]]
    domains = [entry for entry in domains if keep is None or entry["name"] in keep]
    shape = tuple(network.inputs[0].shape[1:-1])
    chosen: dict[str, Any] = {**options, "domains": domains}
    whole = build_model(_TYPE, input_shape=shape, **chosen)
    inherit(whole, network)
    for part in parts:
        if keep is None or part.name in keep:
            _fill(whole, part)
    return whole


def _described(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in plain JSON types, defaults filled in."""
    chosen = {key: options.get(key, default) for key, default in model_options(_TYPE).items() if key != "domains"}
    return json.loads(json.dumps(chosen))


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DomainFileError(
            f"Two domains are called {', '.join(twice)}; every domain needs a name of its own. Leave one out, or give "
            f"it another name: SOURCE={{{twice[0]}_2: <file>}}."
        )


def _check_base(part: DomainPart, described: Mapping[str, Any], shared: str) -> None:
    for key, value in described.items():
        if part.network.get(key) != value:
            raise DomainFileError(
                f"The domain {part.name} was trained in a network of MODEL.{key.upper()}={part.network.get(key)}, this "
                f"one has {value}: give the run it was added to."
            )
    if part.shared != shared:
        raise DomainFileError(
            f"The domain {part.name} was trained on other shared tensors ({part.shared[:12]}) than this network's "
            f"({shared[:12]}): give the run and the CHECKPOINT that it was added to, with the shared part frozen."
        )


def _fill(network: keras.Model, part: DomainPart) -> None:
    variables = _variables(network, part.name)
    odd = set(variables) ^ set(part.tensors)
    odd |= {key for key in set(variables) & set(part.tensors) if part.tensors[key].shape != variables[key].shape}
    if odd:
        raise DomainFileError(
            f"The domain {part.name} does not fill its layers ({', '.join(sorted(odd)[:3])}): export it again."
        )
    for key, variable in variables.items():
        variable.assign(part.tensors[key])


def _variables(network: keras.Model, name: str) -> dict[str, Any]:
    """`layer/variable` to variable of a domain's own layers, without the domain's name."""
    return {
        f"{layer.name.removeprefix(f'{name}{OF_DOMAIN}')}/{variable.name}": variable
        for layer in domain_layers(network, name)
        for variable in layer.variables
    }


def _value(variable: Any) -> np.ndarray:
    return np.ascontiguousarray(keras.ops.convert_to_numpy(variable), dtype="<f4")
