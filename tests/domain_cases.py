"""Small prepared collections of different channels, classes and sizes, for the tests of networks for many domains."""

import pathlib

import numpy as np
from generators_helpers import write_collection

from data_generators.manifest import load_manifest, save_manifest, save_splits
from data_generators.records import Splits

WORDS = [
    "experiment=universal_unet",
    "DOMAINS=[liver,heart]",
    "MODEL.BASE_FILTERS=4",
    "MODEL.STRIDES=[[1,1,1],[2,2,2]]",
    "INPUT.PATCH=[8,16,16]",
    "HYPER_PARAMETERS.STEPS_PER_EPOCH=4",
    "HYPER_PARAMETERS.LEARNING_RATE=0.003",
    "DETERMINISTIC=True",
    "VERBOSE=2",
]
"""A network and a run of seconds."""


def write_domain(folder: pathlib.Path, name: str, *, channels: int, classes: int, size: tuple[int, int, int]):
    """Four volumes under `data/prepared/<name>`: boxes that are brighter the higher their label."""
    rng = np.random.default_rng(len(name))
    cases = {}
    for number in range(4):
        label = np.zeros(size, np.uint8)
        depth, height, width = (side // 4 for side in size)
        label[depth : 3 * depth, height : 3 * height, width + number % 2 : 3 * width] = 1
        if classes > 2:
            label[depth : 2 * depth, height : 2 * height, width : 2 * width] = 2
        image = label[..., None] + rng.normal(0.0, 0.2, (*size, channels))
        cases[f"{name}{number}"] = (image.astype(np.float32), label)
    root = write_collection(folder / "data" / "prepared" / name, cases)
    found = load_manifest(root)
    labels = {0: "background", 1: name, 2: "tumor"} if classes > 2 else {0: "background", 1: name}
    save_manifest(
        root, type(found)(name, labels, [f"channel{n}" for n in range(channels)], found.intensity, found.cases)
    )
    ids = sorted(cases)
    fold = {"train": tuple(ids[:3]), "validation": tuple(ids[3:])}
    save_splits(root, Splits({**fold, "test": ()}, (fold,) * 5, 0))
    return root


def write_domains(folder: pathlib.Path) -> pathlib.Path:
    """`liver` with one channel and two classes, `heart` with two channels and one, `spleen` with one of each."""
    write_domain(folder, "liver", channels=1, classes=3, size=(12, 24, 24))
    write_domain(folder, "heart", channels=2, classes=2, size=(8, 16, 20))
    write_domain(folder, "spleen", channels=1, classes=2, size=(10, 20, 20))
    return folder
