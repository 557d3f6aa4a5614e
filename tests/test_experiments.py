"""Every experiment and dataset file is composed, and what it says is accepted by those who read it."""

import pytest

from configs import compose
from configs.compose import group_options
from configs.facts import model_choice, plain
from data_generators.augmentation import check_recipe
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
