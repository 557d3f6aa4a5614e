"""Small collections and runs for the tests of evaluate.py and predict.py: bright boxes in dark volumes."""

import pathlib

import numpy as np

from configs import compose
from configs.runs import save_config
from imaging import Volume, reorient, write_volume

SIZE = 32
NAMES = {0: "background", 1: "liver", 2: "tumor"}


def box_label(number, *, depth=6, height=40, width=36):
    """A box that touches no symmetry: any flip or exchange of axes moves it. Canonical orientation."""
    label = np.zeros((depth, height, width), np.uint8)
    label[1:4, 4 : 16 + number % 3, 20:32] = 1
    return label


def write_case(folder, number, *, codes="LPS", label=None):
    """`volume-N.nii.gz` (liver 150 HU, elsewhere -150 HU) and `segmentation-N.nii.gz`, stored in that orientation."""
    label = box_label(number) if label is None else label
    affine = np.array([[0, 0, -1.5, 20], [0, -1.5, 0, 30], [4.0, 0, 0, -50], [0, 0, 0, 1]])
    image = np.where(label > 0, 150, -150).astype(np.int16)
    for stem, array in (("volume", image), ("segmentation", label)):
        stored = reorient(Volume(array, affine), codes)
        write_volume(pathlib.Path(folder) / f"{stem}-{number}.nii.gz", stored)


def prepare(source, root, **options):
    """Prepares a LiTS-like folder at 32 x 32."""
    from data_preparation.case import Recipe
    from data_preparation.collections import SourceOptions, open_collection
    from data_preparation.pipeline import prepare_collection

    collection = open_collection("lits", SourceOptions(source=pathlib.Path(source)))
    outcome = prepare_collection(
        collection, root, Recipe(height=SIZE, width=SIZE), workers=1, progress=False, **options
    )
    assert not outcome.failures


def overrides(work, *more):
    """What would stand on the command line for a collection and its runs in `work`."""
    return [
        f"WORK_DIR={work}",
        f"DATASET.PREPARED_PATH={work}/prepared",
        f"INPUT.HEIGHT={SIZE}",
        f"INPUT.WIDTH={SIZE}",
        "MODEL.FILTERS=[4,4,4,4,4]",
        "INFERENCE.BATCH_SIZE=4",
        "VERBOSE=0",
        *more,
    ]


def make_run(work, *more):
    """A run folder with a configuration and a weights file that only a stand-in network reads."""
    cfg = compose(overrides(work, "RUN_NAME=run", *more))
    run = pathlib.Path(work) / "outputs" / "run"
    (run / "checkpoints").mkdir(parents=True)
    save_config(cfg, run)
    (run / "checkpoints" / "best.weights.h5").write_bytes(b"stand-in")
    return run


class BrightNetwork:
    """Foreground is where the centre channel is above one half: the right answer for `write_case`."""

    def __init__(self, spatial_shape=(SIZE, SIZE), outputs=2, wrong=lambda p: p):
        self.spatial_shape = spatial_shape
        self.steps = ()
        self.outputs = outputs
        self.wrong = wrong
        self.regions = None

    def __call__(self, batch):
        centre = batch[..., batch.shape[-1] // 2]
        foreground = self.wrong(np.clip((centre - 0.5) * 4 + 0.5, 0, 1))
        return np.stack([1 - foreground, foreground], axis=-1).astype(np.float32)


def stand_in(monkeypatch, network=None):
    """Makes evaluate.py and predict.py load this network instead of a trained one."""
    monkeypatch.setattr("inference.loading.load_network", lambda *_, **__: network or BrightNetwork())
