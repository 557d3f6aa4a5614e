"""Names and options of the networks, read from the source text: no Keras, no backend, a few milliseconds."""

import ast
import difflib
import functools
import pathlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FACTS = ("input_shape", "num_classes")  # what `build_model` passes; not options
REQUIRED = "<required>"  # default of an option that has none


@dataclass(frozen=True)
class ModelEntry:
    """Where a network's builder is, and what its name presets."""

    builder: str  # "module:function"
    presets: Mapping[str, Any] = field(default_factory=dict[str, Any])


_UNET3PLUS = "models.unet3plus:unet3plus"

MODELS: Mapping[str, ModelEntry] = {
    "unet3plus": ModelEntry(_UNET3PLUS),
    "unet3plus_deepsup": ModelEntry(_UNET3PLUS, {"deep_supervision": True}),
    "unet3plus_deepsup_cgm": ModelEntry(_UNET3PLUS, {"deep_supervision": True, "classification_guided": True}),
    "unetplusplus": ModelEntry("models.unetplusplus:unetplusplus"),
    "unet": ModelEntry("models.unet:unet"),
    "resenc_unet": ModelEntry("models.resenc_unet:resenc_unet"),
    "unetr_plusplus": ModelEntry("models.unetr_plusplus:unetr_plusplus"),
    "universal_unet": ModelEntry("models.universal_unet:universal_unet"),
}


def model_entry(type: str) -> ModelEntry:
    """Looks a network up.

    Raises:
        ValueError: No network has this name; the message names a near one and all of them.
    """
    if type not in MODELS:
        raise ValueError(f"Unknown MODEL.TYPE={type}.{did_you_mean(type, MODELS)} Valid: {', '.join(MODELS)}.")
    return MODELS[type]


def model_options(type: str) -> dict[str, Any]:
    """Options of a network with their defaults, in the order of the builder's signature.

    Args:
        type: A key of `MODELS`.

    Returns:
        Option name to default; `"<required>"` stands for an option that must be given.

    Raises:
        ValueError: The type is unknown.
    """
    entry = model_entry(type)
    arguments = _signature(entry.builder)
    return {name: entry.presets.get(name, default) for name, (default, _) in arguments.items() if name not in FACTS}


def check_options(type: str, options: Mapping[str, Any]) -> None:
    """Refuses options that the network does not have, or that have the wrong type.

    Args:
        type: A key of `MODELS`.
        options: Option name to value, as they would be given to `build_model`.

    Raises:
        ValueError: One line that names the option, what holds and what to type.
    """
    known = model_options(type)
    arguments = _signature(MODELS[type].builder)
    for name, value in options.items():
        if name not in known:
            listed = ", ".join(f"MODEL.{option.upper()}" for option in known)
            hint = did_you_mean(name, known)
            raise ValueError(f"MODEL.TYPE={type} has no option MODEL.{name.upper()}.{hint} Valid: {listed}.")
        allowed = arguments[name][1]
        if allowed is not None and not any(_fits(value, kind) for kind in allowed):
            words = " or ".join(kind if kind in _KINDS else repr(kind) for kind in allowed)
            raise ValueError(f"MODEL.{name.upper()}={value} does not fit MODEL.TYPE={type}: it must be {words}.")
    for name, default in known.items():
        if default == REQUIRED and name not in options:
            raise ValueError(f"MODEL.TYPE={type} needs MODEL.{name.upper()}. Set it.")


def takes(type: str, argument: str) -> bool:
    """Whether the builder of a network has this argument."""
    return argument in _signature(model_entry(type).builder)


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """`" Did you mean X?"` for the nearest valid word, or an empty string when none is near."""
    near = difflib.get_close_matches(word.lower(), list(valid), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


_KINDS: Mapping[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "None": (type(None),),
    "list": (list, tuple),
    "mapping": (dict,),
}
_SEQUENCES = ("Sequence", "list", "tuple")
_MAPPINGS = ("Mapping", "dict")


def _fits(value: Any, kind: str) -> bool:
    if kind not in _KINDS:
        return value == kind
    return isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))


@functools.cache
def _signature(builder: str) -> dict[str, tuple[Any, tuple[str, ...] | None]]:
    """Keyword-only argument to (default, kinds allowed by its annotation or None where anything goes)."""
    module, function = builder.split(":")
    path = pathlib.Path(__file__).parents[1] / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    pairs = zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True)
    return {argument.arg: (_default(node, constants), _kinds(argument.annotation)) for argument, node in pairs}


def _default(node: ast.expr | None, constants: Mapping[str, ast.expr]) -> Any:
    if node is None:
        return REQUIRED
    return ast.literal_eval(constants.get(node.id, node) if isinstance(node, ast.Name) else node)


def _kinds(node: ast.expr | None) -> tuple[str, ...] | None:
    """Kinds that an annotation allows; None where it says more than the names below."""
    if isinstance(node, ast.BinOp):
        left, right = _kinds(node.left), _kinds(node.right)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.Constant):
        return ("None",) if node.value is None else None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return _generic(node.value.id, node.slice)
    return (node.id,) if isinstance(node, ast.Name) and node.id in _KINDS else None


def _generic(name: str, inside: ast.expr) -> tuple[str, ...] | None:
    if name == "Literal":
        return tuple(ast.literal_eval(inside)) if isinstance(inside, ast.Tuple) else (ast.literal_eval(inside),)
    return ("list",) if name in _SEQUENCES else ("mapping",) if name in _MAPPINGS else None
