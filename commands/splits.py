"""Who trains, validates and is tested, as DATASET.SPLIT says."""

import pathlib

from omegaconf import DictConfig

from configs.facts import place
from data_generators.manifest import Splits, load_manifest, load_splits

STORED = ("official", "folds")


def find_splits(cfg: DictConfig, root: pathlib.Path) -> Splits:
    """The splits of a prepared collection, or published ones of the same cases.

    Args:
        cfg: `official`, `folds` and files of splits mean what `prepare.py` stored; a published split is brought to the
            prepared cases, whatever was stored.
        root: The prepared collection.

    Raises:
        PreparationError: `DATASET.SPLIT` is no known name and no JSON file, or names none of the cases.
    """
    from data_preparation.collections import CaseSource
    from data_preparation.collections.parts import published_names
    from data_preparation.published_splits import published_splits

    said = str(cfg.DATASET.SPLIT)
    if said in STORED or (said not in published_names() and ".json" in said):
        return load_splits(root)
    manifest = load_manifest(root)
    cases = [CaseSource(case.id, case.patient, (), None) for case in manifest.cases]
    return published_splits(said, cases, folder=place(cfg, "."), collection=manifest.collection)
