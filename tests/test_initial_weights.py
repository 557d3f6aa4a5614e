"""Training starts from given weights: a run's, a Keras file's, the original's; whole, in part, at another size."""

import functools

import numpy as np
import pytest
from tiny_networks import TYPED_UNETR, UNETR
from training_commands import TINY, run, write_squares

from commands.initial_weights import find_initial_weights, start_from
from configs import compose
from inference.loading import load_model
from models import build_model
from models.keras_files import read_weights
from models.state_dicts import to_state_dict

NETWORKS = {
    "unet": {"input_shape": (8, 8, 1), "filters": [4, 8]},
    "unetplusplus": {"input_shape": (8, 8, 1), "filters": [4, 8]},
    "unetr_plusplus": {"input_shape": (8, 16, 16, 1), **UNETR},
}


def network(kind, classes=2, **changes):
    return build_model(kind, num_classes=classes, **{**NETWORKS[kind], **changes})


def begin(tmp_path, name, target, *typed):
    kind = [f"MODEL.TYPE={target.name}", *(TYPED_UNETR if target.name == "unetr_plusplus" else ())]
    cfg = compose([*kind, f"WORK_DIR={tmp_path}", f"INITIAL_WEIGHTS={name}", *typed])
    return start_from(cfg, target)


def same(ours, theirs):
    for a, b in zip(ours.trainable_variables, theirs.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("file", ["w.weights.h5", "w.keras", "w.npz"])
def test_every_kind_of_file_gives_its_weights(tmp_path, kind, file):
    source, target = network(kind), network(kind)
    if file.endswith(".npz"):
        np.savez(tmp_path / file, **to_state_dict(source))
    elif file.endswith(".keras"):
        source.save(tmp_path / file)
    else:
        source.save_weights(tmp_path / file)
    facts = begin(tmp_path, file, target)["initial_weights"]
    same(target, source)
    assert (facts["of another shape"], facts["missing"], facts["unused"]) == ([], [], [])


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_head_of_other_classes_is_refused_with_the_setting_or_trained_anew(tmp_path, kind):
    source, target = network(kind, classes=3), network(kind)
    source.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ValueError, match=r"OUTPUT\.CLASSES=3.*INITIAL_WEIGHTS_STRICT=False"):
        begin(tmp_path, "w.weights.h5", target)
    before = read_own(target, tmp_path)
    facts = begin(tmp_path, "w.weights.h5", target, "INITIAL_WEIGHTS_STRICT=False")["initial_weights"]
    after, wanted = read_own(target, tmp_path), read_weights(tmp_path / "w.weights.h5")
    differing = {text.split(" ")[0] for text in facts["of another shape"]}
    assert differing
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name] if name in differing else wanted[name], err_msg=name)


@pytest.mark.parametrize("kind", ["unet", "unetplusplus"])
def test_the_original_s_head_of_other_classes_is_listed(tmp_path, kind):
    source, target = network(kind, classes=3), network(kind)
    np.savez(tmp_path / "w.npz", **to_state_dict(source))
    with pytest.raises(ValueError, match=r"OUTPUT\.CLASSES=3"):
        begin(tmp_path, "w.npz", target)
    facts = begin(tmp_path, "w.npz", target, "INITIAL_WEIGHTS_STRICT=False")["initial_weights"]
    assert facts["of another shape"]
    assert facts["missing"] == []


def read_own(model, tmp_path):
    model.save_weights(tmp_path / "own.weights.h5")
    return read_weights(tmp_path / "own.weights.h5")


def test_a_network_with_more_layers_takes_what_it_knows(tmp_path):
    source, target = network("unet"), network("unet", filters=[4, 8, 16])
    source.save_weights(tmp_path / "w.weights.h5")
    facts = begin(tmp_path, "w.weights.h5", target, "INITIAL_WEIGHTS_STRICT=False")["initial_weights"]
    assert facts["loaded"] > 0
    assert facts["missing"]
    ours, theirs = read_own(target, tmp_path), read_weights(tmp_path / "w.weights.h5")
    first = next(name for name in theirs if "encoder0" in name or name.startswith("stage0"))
    np.testing.assert_array_equal(ours[first], theirs[first])


def test_a_run_is_named_and_a_missing_one_answered(tmp_path):
    folder = tmp_path / "outputs" / "first"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    network("unet").save_weights(folder / "checkpoints" / "best.weights.h5")
    assert find_initial_weights(compose([f"WORK_DIR={tmp_path}", "INITIAL_WEIGHTS=first"])) is not None
    with pytest.raises(ValueError, match=r"INITIAL_WEIGHTS=second: neither a run with weights in .* nor a file"):
        find_initial_weights(compose([f"WORK_DIR={tmp_path}", "INITIAL_WEIGHTS=second"]))


@pytest.mark.parametrize("file", ["w.weights.h5", "w.npz"])
def test_weights_of_another_patch_size_are_resized(tmp_path, file, rng):
    source, target = network("unetr_plusplus"), network("unetr_plusplus", input_shape=(8, 16, 32, 1))
    for variable in source.trainable_variables:
        variable.assign(rng.standard_normal(variable.shape))
    if file == "w.npz":
        np.savez(tmp_path / file, **to_state_dict(source))
        with pytest.raises(ValueError, match=r"blocks of 1x2x2 voxels: set INPUT\.PATCH"):
            begin(tmp_path, file, target)
        begin(tmp_path, file, target, "IMPORT.RESIZE_FROM=[8,16,16]")
    else:
        source.save_weights(tmp_path / file)
        begin(tmp_path, file, target)
    kernel = "encoder0_block0_attention"
    ours, theirs = (model.get_layer(kernel).attention.project_keys.kernel for model in (target, source))
    # Twice the voxels, each with half the weight: a sum over voxels keeps its size.
    np.testing.assert_allclose(np.asarray(ours).sum(0), np.asarray(theirs).sum(0), rtol=1e-4, atol=1e-3)
    same_shape = "encoder0_block0_conv51_conv1"
    np.testing.assert_array_equal(target.get_layer(same_shape).kernel, source.get_layer(same_shape).kernel)


def test_a_trained_run_is_applied_at_another_patch_size_and_says_so(tmp_path, caplog, rng):
    source = network("unetr_plusplus")
    source.save_weights(tmp_path / "w.weights.h5")
    load = functools.partial(load_model, ("unetr_plusplus", UNETR), num_classes=2, weights=tmp_path / "w.weights.h5")
    with caplog.at_level("INFO"):
        wide = load(input_shape=(8, 16, 32, 1))
    assert "trained on a grid of (8, 8, 8), resized to (8, 8, 16)" in caplog.text
    assert np.isfinite(np.asarray(wide(rng.standard_normal((1, 8, 16, 32, 1)))[0])).all()
    caplog.clear()
    with caplog.at_level("INFO"):
        same(load(input_shape=(8, 16, 16, 1)), source)
    assert "resized" not in caplog.text


@pytest.mark.slow
def test_train_py_starts_from_a_run(tmp_path):
    """A run that learns nothing has the weights of the run that it starts from."""
    train = functools.partial(run, "train.py", write_squares(tmp_path))
    train(*TINY, "RUN_NAME=first", "HYPER_PARAMETERS.EPOCHS=1")
    still = ["HYPER_PARAMETERS.EPOCHS=1", "HYPER_PARAMETERS.LEARNING_RATE=1e-30", "SCHEDULE.END_LEARNING_RATE=0"]
    train(*TINY, "RUN_NAME=second", "INITIAL_WEIGHTS=first", *still)
    first, second = (
        read_weights(tmp_path / "outputs" / name / "checkpoints" / "best.weights.h5") for name in ("first", "second")
    )
    kernels = [name for name, value in first.items() if value.ndim > 1]
    assert kernels
    for name in kernels:
        np.testing.assert_allclose(second[name], first[name], atol=1e-6, err_msg=name)
