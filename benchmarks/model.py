"""Size and cost of networks: parameters, multiply-adds, memory of activations, time of a forward pass of one sample.

`python -m benchmarks model` lists every network at its published configuration beside the published figures;
`python -m benchmarks model MODEL.TYPE=unetr_plusplus` those of one type; with further keys of the configuration, such
as `MODEL.PRESET=acdc INPUT.PATCH=[16,160,160]`, the network they mean. Input sizes that are not given are the published
ones. Multiply-adds follow the layers' definitions, whatever executes them (`models.costs`); the published ones of
UNETR++ also count normalisations. Memory is that of the layers' answers, one sample: `peak_mb` at once in a forward
pass, `saved_mb` what a training step keeps for its gradients. Time is that of a forward pass of one sample.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import summary
from benchmarks.published import ADDED_DOMAIN, DOMAINS, PUBLISHED, Network

QUICK = ("MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "INPUT.PATCH=[16,16]", "--repeats", "1")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """One row for each network, and what a domain adds to the universal one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks model")
    parser.add_argument("keys", nargs="*", help="of the configuration, such as MODEL.TYPE=unet3plus")
    parser.add_argument("--repeats", type=int, default=3, help="of the timing; 0 leaves it out")
    wanted = parser.parse_args(arguments)
    table: list[dict[str, Any]] = []
    result: dict[str, Any] = {"benchmark": "model", "table": table}
    for network in chosen(wanted.keys):
        table.append(row(network, repeats=wanted.repeats))
        if network.kind == "universal_unet" and network.options.get("domains") == DOMAINS:
            result["added_domain"] = added_domain(network)
    return result


def chosen(keys: Sequence[str]) -> list[Network]:
    """The networks that keys of the configuration mean; all published ones without keys.

    Raises:
        ConfigError: A key or its value is wrong.
        ValueError: The network has no such option.
    """
    if not keys:
        return list(PUBLISHED)
    from configs import compose
    from configs.facts import class_count, model_choice, plain
    from models import check_options

    cfg = compose(keys)
    kind, options = model_choice(cfg)
    check_options(kind, options)
    published = [network for network in PUBLISHED if network.kind == kind]
    if all(key.startswith("MODEL.TYPE=") for key in keys):
        return published
    options.pop("backbone_weights", None)
    usual = max(published, key=lambda one: _fits(one.options, options))
    own = {"domains": DOMAINS, **options} if kind == "universal_unet" else options
    said = {key.split("=")[0].lstrip("+") for key in keys}
    shape = usual.shape
    if plain(cfg.INPUT.PATCH):
        shape = tuple(plain(cfg.INPUT.PATCH)) + (usual.shape[-1:] if usual.classes is not None else ())
    elif said & {"INPUT.HEIGHT", "INPUT.WIDTH"}:
        shape = (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH, usual.shape[-1])
    if "INPUT.CHANNELS" in said:
        shape = (*shape[:-1], cfg.INPUT.CHANNELS)
    classes = usual.classes
    if classes is not None and "OUTPUT.CLASSES" in said:
        classes = int(cfg.OUTPUT.CLASSES)
    elif classes is not None and "DATASET.LABELS" in said:
        classes = class_count(cfg, list(plain(cfg.DATASET.LABELS)))
    return [Network(kind, kind, shape, classes, own)]


def _fits(published: Mapping[str, Any], said: Mapping[str, Any]) -> int:
    """How many options of a published network were said; less than none where another value was, or nothing."""
    return len(published) if all(said.get(name) == value for name, value in published.items()) else -1


def row(network: Network, *, repeats: int) -> dict[str, Any]:
    """Size and costs of one network; seconds where it is repeated."""
    import numpy as np

    from models import inference_model
    from models.costs import multiply_adds, peak_activation_bytes, saved_activation_bytes
    from models.universal_unet import domain_model

    built = build(network)
    trainable = sum(int(np.prod(weight.shape)) for weight in built.trainable_weights)
    if network.classes is None:  # a batch holds one domain
        built, size = domain_model(built, built.inputs[0].name), network.shape
    else:
        size = network.shape[:-1]
    used = inference_model(built)
    found: dict[str, Any] = {
        "network": network.title,
        "input": "x".join(map(str, network.shape)),
        "parameters": trainable,
        "published_parameters": network.parameters or None,
        "gmac": round(multiply_adds(used, size) / 1e9, 2),
        "published_gmac": network.gmac or None,
        "peak_mb": round(peak_activation_bytes(used, size) / 2**20, 1),
        "saved_mb": round(saved_activation_bytes(built, size) / 2**20, 1),
    }
    if repeats:
        found |= _seconds(used, (*size, used.inputs[0].shape[-1]), repeats)
    return found


def _seconds(model: Any, shape: Sequence[int], repeats: int) -> dict[str, float]:
    import numpy as np

    from inference.network import Network as Answering

    answer = Answering(model, batch_size=1)
    batch = np.random.default_rng(0).random((1, *shape), np.float32)
    answer(batch)  # compiles
    passed: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer(batch)
        passed.append(time.perf_counter() - start)
    found = summary(passed)
    return {"seconds": found["median"], "spread": found["spread"]}


def build(network: Network) -> Any:
    """The network itself, with random weights."""
    from models import build_model

    return build_model(network.kind, input_shape=network.shape, num_classes=network.classes, **network.options)


def added_domain(network: Network, added: Mapping[str, Any] = ADDED_DOMAIN) -> dict[str, Any]:
    """What another domain adds to a network: parameters, and their share of the whole.

    Returns:
        `domain`, `channels`, `classes`, `parameters`, `share_of_network`.
    """
    import keras

    domains = [*network.options["domains"], added]
    keras.backend.clear_session()
    whole = build(dataclasses.replace(network, options={**network.options, "domains": domains}))
    own = [layer for layer in whole.layers if layer.name.startswith(f"{added['name']}__")]
    parameters = sum(layer.count_params() for layer in own)
    return {
        "domain": added["name"],
        "channels": added["channels"],
        "classes": added["classes"],
        "parameters": parameters,
        "share_of_network": round(parameters / whole.count_params(), 4),
    }
