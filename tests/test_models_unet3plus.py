import math
import runpy
import sys

import keras
import numpy as np
import pytest

from models import build_model, inference_model

TINY = {"num_classes": 2, "filters": [3, 4, 5, 6]}


def size(model, *, trainable=False):
    return sum(math.prod(v.shape) for v in (model.trainable_variables if trainable else model.variables))


@pytest.mark.parametrize(
    ("type", "options", "total", "trainable"),
    [
        ("unet3plus", {"num_classes": 1}, 26_984_833, 26_971_777),
        ("unet3plus", {"num_classes": 2}, 26_987_714, 26_974_658),
        ("unet3plus_deepsup", {"num_classes": 1}, 27_002_693, 26_989_637),
        ("unet3plus_deepsup", {"num_classes": 2}, 27_023_434, 27_010_378),
        ("unet3plus", {"num_classes": 1, "backbone": "vgg16"}, 21_660_801, 21_655_681),
        ("unet3plus", {"num_classes": 2, "backbone": "vgg16"}, 21_663_682, 21_658_562),
        ("unet3plus", {"num_classes": 1, "backbone": "vgg19"}, 26_970_497, 26_965_377),
        ("unet3plus", {"num_classes": 2, "backbone": "vgg19"}, 26_973_378, 26_968_258),
        ("unet3plus", {"num_classes": 1, "backbone": "resnet50"}, 34_883_777, 34_825_537),
        ("unet3plus", {"num_classes": 1, "backbone": "resnet101"}, 53_954_241, 53_843_777),
    ],
)
def test_parameters_are_those_of_the_published_network(type, options, total, trainable):
    model = build_model(type, input_shape=(None, None, 3), **options)
    assert (size(model), size(model, trainable=True)) == (total, trainable)


@pytest.mark.parametrize(
    ("options", "training", "inference"),
    [
        ({}, 27_004_743, 26_986_883),
        ({"backbone": "vgg16"}, 21_675_079, None),
        ({"backbone": "vgg19"}, 26_984_775, None),
    ],
)
def test_guided_parameters_are_those_of_the_published_network(options, training, inference):
    # The dropout's seed generator is two numbers more, which are no parameters.
    model = build_model("unet3plus_deepsup_cgm", input_shape=(None, None, 3), num_classes=1, **options)
    assert model.count_params() == training
    if inference is not None:
        assert inference_model(model).count_params() == inference


def test_inference_leaves_the_side_heads_out():
    model = build_model("unet3plus_deepsup", input_shape=(None, None, 3), num_classes=2)
    assert inference_model(model).count_params() == 26_987_714


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet3plus_base", "unet3plus_deepsup"])
def test_answers_are_those_of_the_original(shared, project, monkeypatch, name):
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setattr(sys, "argv", ["check.py", str(shared / "fixtures" / f"{name}.npz")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(shared / "fixtures" / "check.py"), run_name="__main__")
    assert end.value.code == 0


def weights_of(model):
    return [np.asarray(v) for v in model.variables]


def test_both_executions_of_the_decoder_answer_the_same(rng):
    image = rng.normal(size=(2, 16, 24, 1)).astype(np.float32)
    rewritten, direct = (
        build_model("unet3plus_deepsup", input_shape=(None, None, 1), decoder_upsampling=way, **TINY)
        for way in ("rewritten", "direct")
    )
    direct.set_weights(weights_of(rewritten))
    for ours, expected in zip(rewritten(image), direct(image), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_checkpoints_do_not_see_the_execution(tmp_path, rng):
    image = rng.normal(size=(1, 16, 16, 1)).astype(np.float32)
    rewritten, direct = (
        build_model("unet3plus", input_shape=(16, 16, 1), decoder_upsampling=way, **TINY) for way in ("auto", "direct")
    )
    rewritten.save_weights(tmp_path / "a.weights.h5")
    direct.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(rewritten(image), direct(image), atol=1e-4)
    assert [v.path for v in rewritten.variables] == [v.path for v in direct.variables]


def test_whole_model_comes_back_from_its_file(tmp_path, rng):
    image = rng.normal(size=(1, 16, 16, 1)).astype(np.float32)
    model = build_model("unet3plus_deepsup_cgm", input_shape=(None, None, 1), **TINY)
    model.save(tmp_path / "model.keras")
    for ours, theirs in zip(model(image), keras.saving.load_model(tmp_path / "model.keras")(image), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_side_outputs_come_finest_first_at_full_resolution():
    model = build_model("unet3plus_deepsup", input_shape=(None, None, 1), **TINY)
    answers = model(np.zeros((1, 8, 16, 1), np.float32))
    assert [answer.shape for answer in answers] == [(1, 8, 16, 2)] * 4
    heads = [layer.name for layer in model.layers if layer.name.startswith("head") and "up" not in layer.name]
    assert sorted(heads) == ["head1", "head2", "head3", "head4"]
    assert model.get_layer("head4").input.shape[-1] == 6  # the encoder's deepest features


def test_it_is_the_same_network_in_3d():
    model = build_model("unet3plus_deepsup_cgm", input_shape=(None, None, None, 1), **TINY)
    *masks, decision = model(np.zeros((1, 8, 8, 16, 1), np.float32))
    assert [mask.shape for mask in masks] == [(1, 8, 8, 16, 2)] * 4
    assert decision.shape == (1, 2)


def test_flat_patches_keep_their_depth_where_the_strides_say_so():
    strides = [1, [1, 2, 2], [1, 2, 2], 2]
    model = build_model("unet3plus_deepsup", input_shape=(2, 8, 8, 1), strides=strides, **TINY)
    assert [output.shape for output in model.outputs] == [(None, 2, 8, 8, 2)] * 4


@pytest.mark.parametrize(
    ("shape", "cure"),
    [((100, 96, 3), r"Set INPUT\.HEIGHT=104 INPUT\.WIDTH=96"), ((12, 16, 16, 1), r"Set INPUT\.PATCH=\[16,16,16\]")],
)
def test_sizes_that_do_not_fit_are_answered_with_the_next_that_do(shape, cure):
    with pytest.raises(ValueError, match=rf"multiple of 8\. {cure}, or remove a level from MODEL\.FILTERS"):
        build_model("unet3plus", input_shape=shape, **TINY)


@pytest.mark.parametrize("strides", [[1, 2], [2, 2, 2, 2]])
def test_strides_must_fit_the_levels(strides):
    with pytest.raises(ValueError, match="does not fit the 4 levels of MODEL.FILTERS: give one stride per level"):
        build_model("unet3plus", input_shape=(16, 16, 1), strides=strides, **TINY)


def test_one_level_is_no_network():
    with pytest.raises(ValueError, match="needs 2 or more"):
        build_model("unet3plus", input_shape=(16, 16, 1), num_classes=2, filters=[4])


def test_epsilon_of_the_normalisations_can_be_that_of_the_predecessor():
    model = build_model("unet3plus", input_shape=(16, 16, 1), norm_epsilon=1e-3, **TINY)
    assert model.get_layer("decoder1_fuse").norm.epsilon == 1e-3


def test_no_two_branches_start_alike():
    model = build_model("unet3plus", input_shape=(16, 16, 1), **TINY)
    kernels = [np.asarray(v).tobytes() for v in model.trainable_variables if v.path.endswith("kernel")]
    assert len(set(kernels)) == len(kernels)


def test_seed_decides_the_initial_weights():
    def first_kernel(seed):
        keras.utils.set_random_seed(seed)
        return np.asarray(build_model("unet3plus", input_shape=(16, 16, 1), **TINY).get_layer("encoder1_conv1").kernel)

    np.testing.assert_array_equal(first_kernel(1), first_kernel(1))
    assert not np.array_equal(first_kernel(1), first_kernel(2))


def test_logits_are_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model("unet3plus_deepsup", input_shape=(16, 16, 1), **TINY)
    finally:
        keras.config.set_dtype_policy(policy)
    assert {output.dtype for output in model.outputs} == {"float32"}
    assert np.isfinite(np.asarray(model(np.ones((1, 16, 16, 1), np.float32))[0])).all()


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="ONNX export is TensorFlow's here")
def test_onnx_file_of_any_size_answers_as_the_network(tmp_path, rng):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    options = TINY | {"filters": [32, 33, 34, 35], "convolution": "winograd"}
    model = inference_model(build_model("unet3plus_deepsup_cgm", input_shape=(None, None, 3), **options))
    model(np.zeros((1, 8, 8, 3), np.float32))  # Keras exports only what has been called
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for size in ((64, 80), (8, 72)):
        image = rng.standard_normal((2, *size, 3)).astype(np.float32)
        answers = session.run(None, {session.get_inputs()[0].name: image})
        for ours, theirs in zip(model(image), answers, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)
