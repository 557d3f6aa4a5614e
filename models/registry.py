"""The table of networks and the one way to build any of them."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models.signatures import MODELS, ModelEntry, check_options, model_entry, takes

if TYPE_CHECKING:
    import keras

__all__ = ["MODELS", "ModelEntry", "build_model", "inference_model"]


def build_model(
    type: str,
    *,
    input_shape: tuple[int | None, ...],
    num_classes: int | None = None,
    **options: Any,
) -> "keras.Model":
    """Builds a network by its name.

    Args:
        type: A key of `MODELS`; it becomes `model.name`.
        input_shape: `(*s, channels)`, without the batch. A spatial size is `None` where the network allows any.
            A network of several domains takes the spatial sizes only.
        num_classes: Output channels; 1 means a sigmoid, more mean a softmax. Required, except by a network whose
            domains bring their own.
        options: The builder's keyword-only arguments; see `model_options`.

    Returns:
        A network of float32 logits `(b, *s, num_classes)`, finest output first.

    Raises:
        ValueError: The type or an option is unknown (the message suggests a near one), has the wrong type, or the
            network cannot be built for this input shape.
    """
    check_options(type, options)
    entry = model_entry(type)
    facts: dict[str, Any] = {"input_shape": tuple(input_shape)}
    if takes(type, "num_classes"):
        if num_classes is None or num_classes < 1:
            raise ValueError(
                f"{type} needs the number of classes, 1 or more; got {num_classes}. Set OUTPUT.CLASSES, such as 2."
            )
        facts["num_classes"] = num_classes
    elif num_classes is not None:
        raise ValueError(f"{type} takes the classes from its domains; leave num_classes out.")
    model = _builder(entry)(**facts, **(dict(entry.presets) | options))
    model.name = type
    return model


def inference_model(model: "keras.Model") -> "keras.Model":
    """The network that is used after training: the finest output, and the class logits where it is guided.

    Args:
        model: A network from `build_model`.

    Returns:
        A network that shares the layers of `model` and computes nothing the answer does not need: one output
        `(b, *s, k)`, or `[(b, *s, k), (b, 2)]` with classification guidance. `model` itself where there is nothing
        to leave out, or where every output belongs to another input (several domains).
    """
    import keras

    outputs = list(model.outputs)
    kept = outputs[:1] + [class_logits for class_logits in outputs[1:] if len(class_logits.shape) == 2]
    if len(model.inputs) > 1 or len(kept) == len(outputs):
        return model
    return keras.Model(model.inputs[0], kept[0] if len(kept) == 1 else kept, name=model.name)


def _builder(entry: ModelEntry) -> "Callable[..., keras.Model]":
    module, function = entry.builder.split(":")
    return getattr(importlib.import_module(module), function)
