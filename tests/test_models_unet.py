"""The U-Nets of nnU-Net and the classic one: structure, sizes, state dicts, initial weights, gradients, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from models import build_model, inference_model
from models.resenc_unet import residual_block
from models.state_dicts import load_state_dict, to_state_dict

ANISOTROPIC = {
    "filters": [4, 6, 8, 8],
    "kernel_sizes": [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]],
}


def tiny(type="unet", input_shape=(32, 32, 2), num_classes=3, **options):
    return build_model(type, input_shape=input_shape, num_classes=num_classes, **({"filters": [4, 6, 8]} | options))


def agrees_with_the_original(shared, monkeypatch, name):
    monkeypatch.syspath_prepend(str(shared / "fixtures"))
    import check

    return check.check(str(shared / f"fixtures/{name}.npz"))


def unmoved_in_the_second_step(model):
    """Variables that the second step of gradient descent leaves as they are."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, *model.input_shape[1:])).astype(np.float32)
    targets = [rng.standard_normal((2, *output.shape[1:])).astype(np.float32) for output in model.outputs]
    model.compile(keras.optimizers.SGD(0.1), loss=["mse"] * len(targets), run_eagerly=True)
    model.train_on_batch(image, targets)
    before = [np.array(v) for v in model.trainable_variables]
    model.train_on_batch(image, targets)
    after = [np.array(v) for v in model.trainable_variables]
    changed = [np.any(a != b) for a, b in zip(after, before, strict=True)]
    return [v.path for v, moved in zip(model.trainable_variables, changed, strict=True) if not moved]


def test_plain_2d_answers_as_nnunet(shared, monkeypatch):
    assert agrees_with_the_original(shared, monkeypatch, "unet_plain_2d")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet_plain_3d", "unet_plain_3d_anisotropic", "resenc_unet_3d"])
def test_3d_answers_as_nnunet(shared, monkeypatch, name):
    assert agrees_with_the_original(shared, monkeypatch, name)


@pytest.mark.parametrize(
    ("type", "input_shape", "classes", "options", "parameters"),
    [
        ("unet", (None, None, None, 1), 3, {"deep_supervision": True}, 31_196_399),
        ("resenc_unet", (64, 64, 64, 1), 3, {"deep_supervision": True}, 102_350_575),
        ("unet", (None, None, 1), 1, {"recipe": "paper"}, 7_759_521),
        ("unet", (None, None, 1), 1, {"recipe": "paper", "filters": [35, 70, 140, 280, 560]}, 9_282_246),
    ],
)
def test_published_parameter_counts(type, input_shape, classes, options, parameters):
    assert build_model(type, input_shape=input_shape, num_classes=classes, **options).count_params() == parameters


@pytest.mark.parametrize("type", ["unet", "resenc_unet"])
def test_every_level_answers_at_its_own_resolution_finest_first(type):
    model = tiny(type, (4, 16, 24, 1), deep_supervision=True, **ANISOTROPIC)
    shapes = [tuple(output.shape[1:]) for output in model.outputs]
    assert shapes == [(4, 16, 24, 3), (4, 8, 12, 3), (2, 4, 6, 3)]
    assert [output.shape for output in inference_model(model).outputs] == [(None, 4, 16, 24, 3)]
    assert tiny(type, (4, 16, 24, 1), **ANISOTROPIC).output_shape == (None, 4, 16, 24, 3)


def test_every_stage_has_its_number_of_convolutions():
    model = tiny(convs_per_stage=[1, 2, 3], decoder_convs_per_stage=[2, 1])
    names = [layer.name for layer in model.layers if layer.name.endswith("_conv")]
    counts = [sum(name.startswith(f"{part}_") for name in names) for part in "encoder0 encoder1 encoder2".split()]
    assert counts == [1, 2, 3]
    # The decoder is counted from its lowest level, as nnU-Net does.
    assert [sum(name.startswith(f"decoder{i}_") for name in names) for i in (1, 0)] == [2, 1]


def test_a_free_size_takes_any_multiple():
    model = tiny(input_shape=(None, None, 2))
    for size in ((8, 12), (16, 4)):
        assert model(np.zeros((1, *size, 2), np.float32)).shape == (1, *size, 3)


def test_logits_are_float32_in_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny(deep_supervision=True, upsampling="bilinear")
    finally:
        keras.config.set_dtype_policy(policy)
    assert {output.dtype for output in model.outputs} == {"float32"}
    assert model.get_layer("encoder0_0_conv").compute_dtype == "bfloat16"


def test_the_shallowest_and_a_deep_network():
    assert tiny(filters=[2, 3]).output_shape == (None, 32, 32, 3)
    deep = tiny(input_shape=(128, 128, 1), filters=[2] * 8, deep_supervision=True)
    assert len(deep.outputs) == 7
    assert deep(np.zeros((1, 128, 128, 1), np.float32))[-1].shape == (1, 2, 2, 3)


def test_a_new_residual_block_passes_its_shortcut_on():
    # gamma = beta = 0 in the second normalisation: only the leaky ReLU of the input is left.
    features = keras.Input((4, 4, 2))
    block = keras.Model(features, residual_block(features, 2, 3, name="block"))
    x = np.random.default_rng(1).standard_normal((1, 4, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(block(x)), np.where(x > 0, x, 0.01 * x), rtol=1e-6)


def test_initial_kernels_have_the_deviation_of_he():
    # Convolution: fan_in = in * 9; transposed convolution: out * 4 (kernel (2, 2, out, in)); slope 0.01.
    model = tiny(filters=[32, 64])
    for name, fan_in in (("encoder1_1_conv", 64 * 9), ("decoder0_up", 32 * 4)):
        kernel = np.asarray(model.get_layer(name).kernel)
        assert kernel.std() == pytest.approx(np.sqrt(2 / (1.0001 * fan_in)), rel=0.03)
        assert abs(kernel.mean()) < 0.01


def test_layers_start_apart_and_the_seed_decides():
    first, again, other = (_seeded_weights(seed) for seed in (3, 3, 4))
    assert not np.array_equal(first["encoder1_1_conv"], first["decoder1_1_conv"])  # both (3, 3, 6, 6)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["encoder1_1_conv"], other["encoder1_1_conv"])


def _seeded_weights(seed):
    keras.utils.set_random_seed(seed)
    model = tiny()
    return {layer.name: np.asarray(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")}


@pytest.mark.parametrize("type", ["unet", "resenc_unet"])
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_every_variable_learns(type, deep_supervision):
    assert unmoved_in_the_second_step(tiny(type, deep_supervision=deep_supervision)) == []


def test_the_classic_network_learns_with_dropout_and_weight_decay():
    model = tiny(recipe="paper", filters=[8, 12], dropout=0.25)
    assert unmoved_in_the_second_step(model) == []
    assert {layer.rate for layer in model.layers if "drop" in layer.name} == {0.25}
    penalised = [layer for layer in model.layers if layer.name.endswith("_conv")]
    expected = 1e-4 * sum(float(ops.sum(ops.square(layer.kernel))) for layer in penalised)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("type", "options"),
    [
        ("unet", ANISOTROPIC | {"convs_per_stage": [1, 2, 1, 3], "decoder_convs_per_stage": [2, 1, 2]}),
        ("resenc_unet", ANISOTROPIC | {"blocks_per_stage": [1, 2, 1, 1]}),
    ],
)
def test_state_dicts_go_there_and_back(type, options):
    model = tiny(type, (4, 16, 16, 1), deep_supervision=True, **options)
    tensors = to_state_dict(model)
    copies = {
        f"decoder.encoder.{k.removeprefix('encoder.')}": w for k, w in tensors.items() if k.startswith("encoder.")
    }
    copies |= {k.replace(".conv.", ".all_modules.0."): w for k, w in tensors.items() if ".conv." in k}
    other = tiny(type, (4, 16, 16, 1), deep_supervision=True, **options)
    report = load_state_dict(other, tensors | copies)
    assert (report.unused, report.missing) == ([], [])
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), model.get_weights(), strict=True))
    assert all(np.array_equal(w, to_state_dict(other)[k]) for k, w in tensors.items())


def test_the_shortcut_is_numbered_as_in_the_original():
    # 1 behind a pooling, 0 where only the channels change, absent where nothing does.
    model = tiny("resenc_unet", filters=[4, 6, 8, 8], strides=[1, 2, 1, 2], blocks_per_stage=1)
    shortcuts = sorted(key for key in to_state_dict(model) if ".skip." in key and key.endswith("conv.weight"))
    assert shortcuts == [
        "encoder.stages.1.blocks.0.skip.1.conv.weight",
        "encoder.stages.2.blocks.0.skip.0.conv.weight",
    ]


def test_a_saved_network_answers_the_same(tmp_path):
    model = tiny("resenc_unet", (16, 16, 2), deep_supervision=True)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(2).standard_normal((1, 16, 16, 2)).astype(np.float32)
    again = keras.saving.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(model(x), again(x), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize(
    ("backbone", "levels", "multiple"),
    [("vgg16", 4, 16), ("resnet50", 5, 32)],
)
def test_an_encoder_carries_a_decoder_at_full_resolution(backbone, levels, multiple):
    model = tiny(backbone=backbone, filters=None, input_shape=(64, 64, 1), deep_supervision=True)
    assert [output.shape[1] for output in model.outputs] == [64 // 2**i for i in range(levels)]
    with pytest.raises(ValueError, match=f"multiple of {multiple}"):
        tiny(backbone=backbone, filters=None, input_shape=(multiple + 8, 64, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (20, 16, 16, 1)}, "does not fit unet.*multiple of 8.*24,16,16.*MODEL.FILTERS"),
        ({"input_shape": (30, 32, 1)}, "INPUT.HEIGHT=32"),
        ({"input_shape": (32, 1)}, r"\(h, w, c\) or \(d, h, w, c\)"),
        ({"filters": [4]}, "at least 2: MODEL.FILTERS has 1"),
        ({"strides": [1, 2]}, "MODEL.FILTERS has 4, MODEL.KERNEL_SIZES has 4, MODEL.STRIDES has 2"),
        ({"filters": [4, 0, 4, 4]}, "1 channel or more"),
        ({"kernel_sizes": [3, 3, 2, 3]}, "kernels must be odd"),
        ({"kernel_sizes": [3, 3, [3, 3, 3], 3]}, "MODEL.KERNEL_SIZES.*2 spatial axes"),
        ({"strides": [2, 2, 2, 2]}, "the first stage has"),
        ({"strides": [1, 2, 0, 2]}, "strides are 1 or more"),
        ({"convs_per_stage": [2, 2]}, "MODEL.CONVS_PER_STAGE.*or 4 of them"),
        ({"decoder_convs_per_stage": 0}, "MODEL.DECODER_CONVS_PER_STAGE"),
        ({"dropout": 0.5}, "MODEL.RECIPE=paper"),
        ({"recipe": "paper", "dropout": 1.0}, "less than 1"),
        ({"backbone": "vgg-16"}, "Did you mean vgg16"),
        ({"backbone": "vgg16", "strides": [1, 2]}, "decides MODEL.STRIDES"),
        ({"backbone": "vgg16", "filters": []}, "one width"),
    ],
)
def test_mistakes_are_answered_with_the_cure(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**({"filters": [4, 4, 4, 4]} | options))
