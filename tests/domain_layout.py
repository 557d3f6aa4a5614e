"""A run of a network for two domains, laid out by hand: what it answers is known without training."""

import functools
import pathlib
import tempfile

import numpy as np
from inference_cases import prepare, write_case
from omegaconf import open_dict

from configs import compose
from configs.runs import save_config

DOMAINS = [{"name": "liver", "channels": 1, "classes": 2}, {"name": "both", "channels": 1, "classes": 3}]
OPTIONS = {"mode": "separable", "base_filters": 2, "strides": [[1, 1, 1], [1, 2, 2]]}
PATCH = (4, 16, 16)


def make_collection(root):
    """Two test volumes and three training volumes, prepared."""
    for number in (1, 2, 30, 31, 32):
        write_case(root / "raw", number)
    prepare(root / "raw", root / "prepared")
    return root


def typed(work, *more):
    """What would stand on the command line."""
    common = [f"WORK_DIR={work}", "DATASET.SPLIT=official", "INFERENCE.BATCH_SIZE=8", "VERBOSE=0"]
    return ["experiment=universal_unet", *common, *more]


def make_network(domains=DOMAINS, **options):
    """Every domain answers its last class everywhere: nothing but the bias of its output counts."""
    from models import build_model

    network = build_model("universal_unet", input_shape=PATCH, domains=domains, **(OPTIONS | options))
    for domain in domains:
        output = network.get_layer(f"{domain['name']}__output")
        output.set_weights([np.zeros(output.kernel.shape), np.eye(domain["classes"])[-1] * 10])
    return network


def make_run(work, *more, name="run", domains=DOMAINS, network=None):
    """The run's folder, as training leaves it."""
    from data_generators.manifest import save_facts

    prepared = f"{work}/prepared"
    cfg = compose(typed(work, f"DOMAINS=[{','.join(item['name'] for item in domains)}]", *more))
    settings = {
        item["name"]: {"PREPARED_PATH": prepared, "INPUT": {"PATCH": list(PATCH)}, "LABELS": {"liver": [1, 2]}}
        for item in domains
    }
    if "both" in settings:
        settings["both"]["LABELS"] = {"liver": 1, "tumor": 2}
    with open_dict(cfg):
        cfg.DOMAIN_SETTINGS = settings
        cfg.MODEL.update({key.upper(): value for key, value in OPTIONS.items()})
        cfg.MODEL.DOMAINS = domains
        cfg.OVERRIDES = []
    run = pathlib.Path(work) / "outputs" / name
    (run / "checkpoints").mkdir(parents=True)
    save_config(cfg, run)
    for item in domains:
        (run / "domains" / item["name"]).mkdir(parents=True)
        save_facts(pathlib.Path(prepared), run / "domains" / item["name"])
    path = run / "checkpoints" / "best.weights.h5"
    if network is None:
        path.write_bytes(_weights())
    else:
        network.save_weights(path)
    return run


@functools.cache
def _weights():
    """Weights of `make_network()` as a file's bytes; built once."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "best.weights.h5"
        make_network().save_weights(path)
        return path.read_bytes()
