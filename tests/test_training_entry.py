"""train.py from the command line: prepared volumes, image folders, continuing, mistakes."""

import functools
import json

import cv2
import numpy as np
import pytest
from training_commands import TINY, rows, run, write_squares

train = functools.partial(run, "train.py")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def trained(collection):
    said = train(collection, *TINY, "RUN_NAME=first", "HYPER_PARAMETERS.EPOCHS=2", "DETERMINISTIC=True")
    return collection / "outputs" / "first", said


def test_a_run_leaves_everything_in_its_folder(trained):
    run, said = trained
    found = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    wanted = {"config.yaml", "run.json", "history.csv", "curves.png", "train.log"}
    wanted |= {f"checkpoints/{name}" for name in ("best.weights.h5", "last.weights.h5", "last.state.npz")}
    assert wanted <= found
    assert any(name.startswith("tensorboard/") for name in found)
    assert "python evaluate.py RUN_NAME=first" in said.splitlines()[-1]


def test_it_says_what_it_found_and_remembers_it(trained):
    run, said = trained
    assert "10 samples to train on, 5 to validate on; classes: liver." in said
    record = json.loads((run / "run.json").read_text())
    assert record["classes"] == ["liver"]
    assert len(record["data_sha256"]) == 64


def test_history_has_the_terms_apart_and_validation(trained):
    names = set(rows(trained[0])[0])
    assert {"epoch", "loss", "dice", "val_loss", "val_dice", "learning_rate", "seconds"} <= names
    assert any(name.startswith("loss_") for name in names)


def test_resume_goes_on_to_a_later_end(trained, collection):
    run, _ = trained
    said = train(collection, "RESUME=True", "RUN_NAME=first", "HYPER_PARAMETERS.EPOCHS=3")
    assert "Continuing in epoch 3" in said
    assert [row["epoch"] for row in rows(run)] == ["1.0", "2.0", "3.0"]
    assert len(json.loads((run / "run.json").read_text())["sessions"]) == 2


@pytest.mark.slow
def test_slices_train_a_flat_attention_network_in_little_memory(collection):
    tokens = ["MODEL.FILTERS=[8,8,16,16]", "MODEL.DEPTHS=[1,1,1,1]", "MODEL.TOKENS=[8,8,8,8]", "MODEL.BASE_FILTERS=4"]
    words = [*TINY, *tokens, "MODEL.TYPE=unetr_plusplus", "OPTIMIZATION.REMAT=True", "HYPER_PARAMETERS.EPOCHS=5"]
    train(collection, *words, "RUN_NAME=flat")
    assert max(float(row["val_dice"]) for row in rows(collection / "outputs" / "flat")) > 0.7


@pytest.mark.slow
def test_two_devices_share_what_winograd_convolves(collection):
    words = [*TINY[1:], "MODEL.FILTERS=[4,4]", "MODEL.CONVOLUTION=winograd", "USE_MULTI_GPUS.VALUE=True"]
    train(collection, *words, "OPTIMIZATION.AMP=False", "HYPER_PARAMETERS.EPOCHS=3", "RUN_NAME=shared", devices=2)
    losses = [float(row["loss"]) for row in rows(collection / "outputs" / "shared")]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_fold_trains_on_its_cases(collection):
    said = train(collection, *TINY, "RUN_NAME=fold", "HYPER_PARAMETERS.EPOCHS=1", "FOLD=1")
    assert "15 samples to train on, 5 to validate on" in said


@pytest.mark.slow
def test_patches_train_a_volume_network(collection):
    words = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "INPUT.PATCH=[4,16,16]", "INPUT.CHANNELS=1"]
    words += ["HYPER_PARAMETERS.BATCH_SIZE=2", "HYPER_PARAMETERS.EPOCHS=1", "LOSS.TYPE=dice_ce"]
    words += ["VALIDATION.WHOLE_VOLUME=True", "HYPER_PARAMETERS.STEPS_PER_EPOCH=3"]
    said = train(collection, *words, "augmentation=nnunet_3d", "RUN_NAME=volumes")
    assert "best validation" in said
    assert (collection / "outputs" / "volumes" / "augmentation.png").exists()


@pytest.mark.slow
def test_whole_volumes_validate_slice_networks_too(collection):
    train(collection, *TINY, "RUN_NAME=whole", "HYPER_PARAMETERS.EPOCHS=2", "VALIDATION.WHOLE_VOLUME=True")
    history = rows(collection / "outputs" / "whole")
    assert "val_loss" not in history[0]
    assert 0.0 <= float(history[1]["val_dice"]) <= 1.0


@pytest.mark.slow
@pytest.mark.dali
def test_dali_gives_the_same_training_without_augmentation(collection):
    pytest.importorskip("nvidia.dali")
    words = [*TINY, "HYPER_PARAMETERS.EPOCHS=2", "DETERMINISTIC=True"]
    for name, loader in (("by_dali", "DALI"), ("by_sequence", "SEQUENCE")):
        train(collection, *words, f"RUN_NAME={name}", f"DATA_GENERATOR_TYPE={loader}")
    ours, theirs = (rows(collection / "outputs" / name) for name in ("by_dali", "by_sequence"))
    assert [row["loss"] for row in ours] == [row["loss"] for row in theirs]


@pytest.mark.slow
def test_image_folders_train_without_preparation(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "pictures" / part).mkdir(parents=True)
    for number in range(8):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 4 + number : 20 + number] = 255
        picture = np.clip(mask * 0.5 + rng.normal(60, 10, mask.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / "images" / f"p{number // 2}_{number}.png"), picture)
        cv2.imwrite(str(tmp_path / "pictures" / "masks" / f"p{number // 2}_{number}.png"), mask)
    words = [
        "dataset=image_folder",
        "DATASET.TRAIN.IMAGES_PATH=pictures/images",
        "DATASET.TRAIN.MASK_PATH=pictures/masks",
    ]
    words += ["PREPROCESS_DATA.NORMALIZE_MASK.VALUE=True", "PREPROCESS_DATA.PATIENT_PATTERN='(p[0-9]+)_'"]
    said = train(tmp_path, *words, *TINY, "DATASET.VALIDATION_SHARE=0.25", "HYPER_PARAMETERS.EPOCHS=1")
    assert "6 samples to train on, 2 to validate on; classes: foreground." in said


@pytest.mark.slow
def test_jax_without_tensorflow_trains(collection):
    said = train(collection, *TINY, "RUN_NAME=jax", "HYPER_PARAMETERS.EPOCHS=2", backend="jax", without_tensorflow=True)
    assert "Backend jax" in said
    history = rows(collection / "outputs" / "jax")
    assert float(history[1]["loss"]) < float(history[0]["loss"])
    assert list((collection / "outputs" / "jax" / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["MODEL.TYPE=unet3pluss"], "unet3plus"),
        (["MODEL.FILTRES=[1]"], "filters"),
        (["LOSS.TYPE=dice_cee"], "dice_ce"),
        (["HYPER_PARAMETERS.BUDGET=long"], "6h, 90m"),
        (["augmentation=flips", "AUGMENTATION.FLOP={}"], "FLIP"),
        (["DATASET.PREPARED_PATH=nowhere"], "python prepare.py"),
    ],
)
def test_mistakes_are_answered_in_one_line(collection, words, answer):
    said = train(collection, *words, code=2)
    assert len(said.strip().splitlines()) == 1
    assert answer.lower() in said.lower()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["INPUT.HEIGHT=64"], "Type INPUT.HEIGHT=32"),
        (["OPTIMIZER.TYPE=adamw", "OPTIMIZER.WEIGHT_DECAY_MODE=coupled"], "WEIGHT_DECAY_MODE=decoupled"),
        (["USE_MULTI_GPUS.VALUE=True", "USE_MULTI_GPUS.GPU_IDS=[0,7]"], "There are 0:"),
        (["RESUME=True", "RUN_NAME=nowhere"], "There is no run"),
        (["FOLD=9"], "Fold 9 does not exist"),
    ],
)
def test_later_mistakes_too(collection, words, answer):
    assert answer in train(collection, *TINY, *words, code=2)
