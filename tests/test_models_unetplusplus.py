"""UNet++: structure at any depth, published sizes, pruning, the mean of heads, state dicts, gradients, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from models import build_model, inference_model
from models.costs import multiply_adds
from models.pruning import mean_of_heads, prune
from models.state_dicts import load_state_dict, to_state_dict

ANISOTROPIC = {
    "filters": [2, 3, 4, 4],
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 1, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 1, 2]],
}


def tiny(input_shape=(16, 16, 2), num_classes=3, **options):
    options = {"filters": [3, 4, 5, 6], "deep_supervision": True} | options
    return build_model("unetplusplus", input_shape=input_shape, num_classes=num_classes, **options)


def image(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def agrees_with_the_original(shared, monkeypatch, name):
    monkeypatch.syspath_prepend(str(shared / "fixtures"))
    import check

    return check.check(str(shared / f"fixtures/{name}.npz"))


def test_2d_answers_as_the_original(shared, monkeypatch):
    assert agrees_with_the_original(shared, monkeypatch, "unetplusplus_2d")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unetplusplus_3d_liver", "unetplusplus_3d_anisotropic"])
def test_3d_answers_as_the_original(shared, monkeypatch, name):
    assert agrees_with_the_original(shared, monkeypatch, name)


@pytest.mark.parametrize(
    ("channels", "classes", "options", "all_heads", "one_head"),
    [
        pytest.param(
            1, 3, {}, [294_592, 1_483_872, 6_392_832, 20_170_528, 45_966_784],
            [294_592, 1_483_776, 6_392_640, 20_170_240, 45_966_400], id="3d",
        ),
        pytest.param(3, 2, {}, [102_048, 513_056, 2_208_672, 8_656_480, 24_000_608], None, id="2d"),
        pytest.param(
            2, 3,
            {
                "kernel_sizes": [[1, 3, 3], *[[3, 3, 3]] * 5],
                "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2], [1, 2, 2]],
            },
            [267_680, 1_448_768, 6_349_536, 19_791_360, 44_842_144], None, id="anisotropic",
        ),
    ],
)  # fmt: skip
def test_published_parameter_counts_per_level(request, channels, classes, options, all_heads, one_head):
    rank = 2 if request.node.callspec.id == "2d" else 3
    model = tiny((None,) * rank + (channels,), classes, filters=None, **options)
    kept = [prune(model, level, deep_supervision=True).count_params() for level in range(1, 6)]
    assert kept == all_heads
    if one_head:
        assert [prune(model, f"L{level}").count_params() for level in range(1, 6)] == one_head


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"prune_at": "L1"}, 100_961),
        ({"prune_at": "L2"}, 511_105),
        ({"prune_at": "L3"}, 2_204_961),
        ({}, 9_041_601),
        ({"deep_supervision": True}, 9_041_700),
    ],
)
def test_parameter_counts_of_the_papers(options, parameters):
    options = {"deep_supervision": False, "filters": None, "recipe": "paper"} | options
    assert tiny((None, None, 1), 1, **options).count_params() == parameters


def test_multiply_adds_per_level():
    model = tiny((None, None, None, 1), 3, filters=[32, 64, 128, 256])
    costs = [multiply_adds(prune(model, level), (64, 64, 64)) / 1e9 for level in (1, 2, 3)]
    assert costs == pytest.approx([35.22, 78.60, 137.07], abs=0.005)


@pytest.mark.parametrize("depth", range(1, 8))
def test_any_depth_answers_at_full_resolution(depth):
    size = 2**depth
    model = tiny((size, size, 1), filters=[2] * (depth + 1))
    assert model.output_names == [f"head{j}" for j in range(depth, 0, -1)]
    answers = model(image(1, size, size, 1))
    assert {answer.shape for answer in (answers if depth > 1 else [answers])} == {(1, size, size, 3)}
    nodes = {layer.name for layer in model.layers if layer.name.endswith("_concat")}
    assert len(nodes) == depth * (depth + 1) // 2


def test_anisotropic_pools_in_3d():
    # Products of the strides: 1 * 2 * 2, 2 * 2 * 1, 2 * 2 * 2.
    model = tiny((8, 12, 16, 1), **ANISOTROPIC)
    assert [answer.shape for answer in model(image(1, 8, 12, 16, 1))] == [(1, 8, 12, 16, 3)] * 3
    with pytest.raises(ValueError, match=r"multiple of \[4, 4, 8\]"):
        tiny((8, 12, 12, 1), **ANISOTROPIC)


def test_decoder_nodes_have_the_kernel_of_the_level_below():
    model = tiny((4, 8, 8, 1), **ANISOTROPIC)
    kernels = {name: model.get_layer(f"{name}_0_conv").kernel.shape[:3] for name in ("x0_0", "x0_1", "x1_1", "x2_1")}
    assert kernels == {"x0_0": (1, 3, 3), "x0_1": (3, 3, 3), "x1_1": (3, 3, 3), "x2_1": (3, 1, 3)}
    paper = tiny((4, 8, 8, 1), recipe="paper", **ANISOTROPIC)
    assert paper.get_layer("x0_1_0_conv").kernel.shape[:3] == (1, 3, 3)


@pytest.mark.parametrize(("recipe", "biases"), [("nnunet", False), ("paper", True)])
def test_recipes_differ_in_biases_and_order(recipe, biases):
    model = tiny(recipe=recipe)
    assert {model.get_layer(name).use_bias for name in ("head1", "head3", "x0_1_up", "x1_2_up")} == {biases}
    assert model.get_layer("x1_2_concat").input[0 if biases else -1] is model.get_layer("x1_2_up").output


@pytest.mark.parametrize("recipe", ["nnunet", "paper"])
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_every_variable_learns(recipe, depth, deep_supervision):
    size = 2 ** (depth + 1)
    options = {"dropout": 0.1} if recipe == "paper" else {}
    model = tiny(
        (size, size, 1), 2, filters=[6] * (depth + 1), recipe=recipe, deep_supervision=deep_supervision, **options
    )
    targets = [image(2, size, size, 2, seed=n) for n, _ in enumerate(model.outputs)]
    model.compile(keras.optimizers.SGD(0.1), loss=["mse"] * len(targets), run_eagerly=True)
    model.train_on_batch(image(2, size, size, 1), targets)
    before = [np.array(v) for v in model.trainable_variables]
    model.train_on_batch(image(2, size, size, 1), targets)
    moved = [np.any(np.array(v) != old) for v, old in zip(model.trainable_variables, before, strict=True)]
    assert all(moved)


@pytest.mark.parametrize("recipe", ["nnunet", "paper"])
def test_a_pruned_network_is_a_head_of_the_whole_one_bit_for_bit(recipe):
    model, x = tiny(recipe=recipe), image(2, 16, 16, 2)
    heads = [np.asarray(answer) for answer in model(x, training=False)]
    for level in (1, 2, 3):
        np.testing.assert_array_equal(np.asarray(prune(model, level)(x, training=False)), heads[3 - level])
    kept = prune(model, "L2", deep_supervision=True)(x, training=False)
    assert [np.array_equal(a, b) for a, b in zip(kept, heads[1:], strict=True)] == [True, True]
    np.testing.assert_array_equal(np.asarray(inference_model(model)(x, training=False)), heads[0])


def test_a_pruned_network_is_saved_small_and_answers_the_same(tmp_path):
    model, x = tiny(), image(1, 16, 16, 2)
    small = prune(model, 1)
    small.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    assert again.count_params() == small.count_params() < model.count_params() / 5
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)[2]))


def test_pruning_a_trained_network_and_building_a_pruned_one_are_the_same_network():
    small, built = prune(tiny(), 2), tiny(prune_at="L2", deep_supervision=False)
    assert [v.path for v in small.weights] == [v.path for v in built.weights]
    built.set_weights(small.get_weights())
    x = image(1, 16, 16, 2)
    np.testing.assert_array_equal(np.asarray(built(x)), np.asarray(small(x)))


def test_a_pruned_network_needs_the_sizes_of_its_own_depth_only():
    assert tiny((6, 10, 1), prune_at=1).output_shape == (None, 6, 10, 3)


def test_the_mean_of_heads_is_that_of_the_probabilities():
    model, x = tiny(), image(1, 16, 16, 2)
    heads = [ops.softmax(answer) for answer in model(x)]
    mean = ops.softmax(mean_of_heads(model)(x))
    np.testing.assert_allclose(np.asarray(mean), np.mean([np.asarray(p) for p in heads], axis=0), atol=1e-6)
    two = ops.softmax(mean_of_heads(model, levels=["L1", 3])(x))
    np.testing.assert_allclose(np.asarray(two), np.mean([np.asarray(heads[n]) for n in (0, 2)], axis=0), atol=1e-6)


@pytest.mark.parametrize(("classes", "overlapping"), [(1, False), (3, True)])
def test_the_mean_of_sigmoids(classes, overlapping):
    model, x = tiny(num_classes=classes), image(1, 16, 16, 2)
    heads = [np.asarray(ops.sigmoid(answer)) for answer in model(x)]
    mean = ops.sigmoid(mean_of_heads(model, overlapping=overlapping)(x))
    np.testing.assert_allclose(np.asarray(mean), np.mean(heads, axis=0), atol=1e-6)


def test_certain_heads_stay_finite_and_the_mean_can_be_saved(tmp_path):
    model = tiny(num_classes=1)
    for level in (1, 2, 3):
        head = model.get_layer(f"head{level}")
        head.kernel.assign(np.full(head.kernel.shape, 1e3 if level > 1 else -1e3, np.float32))
    accurate, x = mean_of_heads(model), image(1, 16, 16, 2)
    assert np.isfinite(np.asarray(accurate(x))).all()
    accurate.save(tmp_path / "accurate.keras")
    again = keras.saving.load_model(tmp_path / "accurate.keras")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(accurate(x)))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_state_dicts_go_there_and_back(depth):
    model, other = (tiny(filters=[2] * (depth + 1)) for _ in range(2))
    tensors = to_state_dict(model)
    report = load_state_dict(other, tensors)
    assert (report.unused, report.missing) == ([], [])
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), model.get_weights(), strict=True))


def test_the_keys_are_those_of_the_original():
    # Depth 2: X(0, 1) is loc1.0, X(1, 1) loc0.0, X(0, 2) loc0.1; the last level of the encoder is nested differently.
    keys = {key.removesuffix(".weight") for key in to_state_dict(tiny(filters=[2, 3, 4])) if key.endswith(".weight")}
    convolutions = {key.removesuffix(".conv") for key in keys if key.endswith(".conv")}
    assert {key.removesuffix(".instnorm") for key in keys if key.endswith(".instnorm")} == convolutions
    encoder = {f"conv_blocks_context.{i}.blocks.{n}" for i in (0, 1) for n in (0, 1)}
    encoder |= {"conv_blocks_context.2.0.blocks.0", "conv_blocks_context.2.1.blocks.0"}
    nodes = {f"loc{node}.{n}.blocks.0" for node in ("0.0", "0.1", "1.0") for n in (0, 1)}
    assert convolutions == encoder | nodes
    assert {key for key in keys if "conv" not in key and "loc" not in key} == {
        "up0.0", "up0.1", "up1.0", "seg_outputs.0", "seg_outputs.1",
    }  # fmt: skip


@pytest.mark.parametrize(("backbone", "depth"), [("vgg16", 1), ("vgg16", 5), ("resnet50", 3), ("resnet50", 5)])
def test_a_nested_decoder_over_an_encoder(backbone, depth):
    model = tiny((64, 64, 1), filters=[2] * depth, backbone=backbone)
    assert [output.shape for output in model.outputs] == [(None, 64, 64, 3)] * depth
    assert prune(model, 1).count_params() <= model.count_params()
    assert isinstance(model.get_layer("x0_1_0_norm"), keras.layers.BatchNormalization)


def test_a_nested_decoder_over_an_encoder_can_use_transposed_convolutions():
    model = tiny((32, 32, 3), filters=[2, 3], backbone="vgg16", upsampling="transposed")
    assert isinstance(model.get_layer("x1_1_up"), keras.layers.Conv2DTranspose)
    assert model.get_layer("x1_1_up").output.shape[-1] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune_at": "L4"}, "levels L1 to L3"),
        ({"prune_at": 0}, "levels L1 to L3"),
        ({"prune_at": "shallow"}, "MODEL.PRUNE_AT=shallow"),
        ({"input_shape": (20, 16, 2)}, r"multiple of 8\. Set INPUT.HEIGHT=24"),
        ({"backbone": "vgg16", "recipe": "paper"}, "decides MODEL.RECIPE"),
        ({"backbone": "vgg16", "input_shape": (32, 32, 32, 1)}, "2D encoder|2 numbers"),
    ],
)
def test_mistakes_are_answered_with_the_cure(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_heads_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match=r"no head at L1, only at L3.*MODEL.DEEP_SUPERVISION=True"):
        prune(tiny(deep_supervision=False), "L1")
    with pytest.raises(ValueError, match="L1 was trained with weight 0"):
        prune(tiny(), 1, output_weights=[0.5, 0.5, 0.0])
    assert prune(tiny(), 2, output_weights=[0.5, 0.5, 0.0]).output_shape == (None, 16, 16, 3)
    with pytest.raises(ValueError, match=r"heads at L3, not at L1"):
        mean_of_heads(tiny(deep_supervision=False), levels=[1, 3])
    with pytest.raises(ValueError, match="Only MODEL.TYPE=unetplusplus"):
        prune(build_model("unet", input_shape=(8, 8, 1), num_classes=2, filters=[2, 2]), 1)
