"""Every experiment and dataset file is composed, and what it says is accepted by those who read it."""

import numpy as np
import pytest

from configs import compose
from configs.compose import group_options
from configs.facts import model_choice, plain
from data_generators.augmentation import check_recipe
from data_generators.augmentation.parameters import draw
from data_preparation.collections import COLLECTIONS
from losses import check_options as check_loss
from models import check_options as check_model

RETINA = {"drive": (64, 42), "stare": (128, 85), "chase_db1": (128, 85), "hrf": (256, 170)}


@pytest.mark.parametrize("name", group_options("experiment"))
def test_experiments_are_accepted(name):
    cfg = compose([f"experiment={name}"])
    check_model(*model_choice(cfg))
    check_loss(str(cfg.LOSS.TYPE), plain(cfg.LOSS.OPTIONS))
    check_recipe(plain(cfg.AUGMENTATION))


@pytest.mark.parametrize("name", group_options("dataset"))
def test_datasets_name_a_collection(name):
    assert compose([f"dataset={name}"]).DATASET.COLLECTION in COLLECTIONS


@pytest.mark.parametrize("name", RETINA)
def test_retinal_recipes_are_the_published_one(name):
    crop, stride = RETINA[name]
    cfg = compose([f"experiment=unetplusplus_{name}"])
    said = cfg.HYPER_PARAMETERS
    assert said.EPOCHS * said.STEPS_PER_EPOCH == 40_000
    assert (said.BATCH_SIZE, said.LEARNING_RATE) == (16, 0.01)
    assert (cfg.OPTIMIZER.TYPE, cfg.OPTIMIZER.MOMENTUM, cfg.OPTIMIZER.NESTEROV) == ("sgd", 0.9, False)
    assert (cfg.OPTIMIZER.WEIGHT_DECAY, cfg.OPTIMIZER.WEIGHT_DECAY_MODE) == (5e-4, "coupled")
    assert (cfg.SCHEDULE.TYPE, cfg.SCHEDULE.POWER, cfg.SCHEDULE.END_LEARNING_RATE) == ("poly", 0.9, 1e-4)
    assert plain(cfg.INPUT.PATCH) == [crop, crop]
    assert plain(cfg.AUGMENTATION)["CROP"]["MAX_CLASS_SHARE"] == 0.75
    assert stride == cfg.INFERENCE.STRIDE
    assert not cfg.INFERENCE.GAUSSIAN


BENCHMARKS = {
    "synapse": ("synapse", [64, 128, 128], 2, True),
    "btcv": ("synapse", [64, 128, 128], 2, True),
    "acdc": ("acdc", [16, 160, 160], 4, "auto"),
    "lung": ("lung", [32, 192, 192], 2, "auto"),
    "brats": ("brats", [128, 128, 128], 2, "auto"),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_unetr_plusplus_recipes_are_the_published_ones(name):
    preset, patch, batch, planar = BENCHMARKS[name]
    cfg = compose([f"experiment=unetr_plusplus_{name}"])
    said = cfg.HYPER_PARAMETERS
    assert (cfg.MODEL.PRESET, plain(cfg.INPUT.PATCH), said.BATCH_SIZE) == (preset, patch, batch)
    assert (said.EPOCHS, said.STEPS_PER_EPOCH, said.LEARNING_RATE) == (1000, 250, 0.01)
    assert (cfg.OPTIMIZER.TYPE, cfg.OPTIMIZER.MOMENTUM, cfg.OPTIMIZER.NESTEROV) == ("sgd", 0.99, True)
    assert (cfg.OPTIMIZER.WEIGHT_DECAY, cfg.OPTIMIZER.WEIGHT_DECAY_MODE, cfg.OPTIMIZER.CLIP_NORM) == (
        3e-5,
        "coupled",
        12,
    )
    assert (cfg.SCHEDULE.TYPE, cfg.SCHEDULE.POWER, cfg.SCHEDULE.END_LEARNING_RATE) == ("poly", 0.9, 0)
    assert plain(cfg.LOSS.OUTPUT_WEIGHTS) == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=1e-6)
    assert cfg.SAMPLING.FOREGROUND_SHARE == 0.33
    assert planar == cfg.AUGMENTATION.ROTATION.DUMMY_2D
    assert cfg.AUGMENTATION.FLIP.LEFT_RIGHT
    assert (cfg.TTA, plain(cfg.INFERENCE.MIRROR_AXES)) == (True, [0, 1, 2])
    assert name == cfg.DATASET.NAME
    assert cfg.DATASET.SPLIT == "official"


def test_synapse_patches_turn_within_slices_and_lose_no_depth():
    recipe = check_recipe(plain(compose(["experiment=unetr_plusplus_synapse"]).AUGMENTATION))
    drawn = [draw(np.random.default_rng(seed), recipe, (64, 128, 128)) for seed in range(40)]
    matrices = [one.matrix for one in drawn if one.matrix is not None]
    assert len(matrices) > 5
    assert all(matrix[0].tolist() == [1, 0, 0] and matrix[:, 0].tolist() == [1, 0, 0] for matrix in matrices)
    assert any(matrix[1, 1] < 0 for matrix in matrices)  # up to 180 degrees, where 3D turns 30
