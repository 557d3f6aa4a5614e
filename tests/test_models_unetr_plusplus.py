"""UNETR++: the four published networks, their attention, other sizes and ranks."""

import keras
import numpy as np
import pytest

from models import build_model
from models.attention import AttentionResidual, PairedAttention
from models.key_maps.unetr_plusplus import block_entries
from models.resizing import resize_weights
from models.state_dicts import LAYOUTS, load_state_dict, to_state_dict
from models.unetr_plusplus import PRESETS, _Block

TINY = {
    "stem": (1, 2, 2),
    "filters": (8, 16, 16, 32),
    "depths": (1, 1, 1, 1),
    "heads": 2,
    "tokens": (4, 4, 4, 2),
    "base_filters": 4,
}


def tiny(input_shape=(8, 16, 16, 1), **options):
    return build_model("unetr_plusplus", input_shape=input_shape, num_classes=3, **(TINY | options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "input_shape", "classes", "parameters"),
    [
        ("synapse", (64, 128, 128, 1), 14, 42_952_850),
        ("acdc", (16, 160, 160, 1), 4, 66_796_404),
        ("lung", (32, 192, 192, 1), 2, 121_174_798),
        ("brats", (128, 128, 128, 4), 4, 42_647_604),
    ],
)
def test_published_parameter_counts(preset, input_shape, classes, parameters):
    model = build_model("unetr_plusplus", input_shape=input_shape, num_classes=classes, preset=preset)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == parameters
    assert [output.shape[-1] for output in model.outputs] == [classes] * 3


@pytest.mark.parametrize("name", ["synapse", "acdc", "tumor"])
def test_a_block_answers_as_the_original(shared, name):
    with np.load(shared / f"fixtures/unetr_plusplus_block_{name}.npz") as archive:
        fixture = dict(archive)
    design = PRESETS["brats" if name == "tumor" else name]
    features = keras.Input((4, 3, 2, 32))
    answer = _Block(design, heads=4, dropout=0.1, legacy_merge=True).once(features, 8, encoder=True, name="block")
    model = keras.Model(features, answer)
    for entry in block_entries(model, {layer.name for layer in model.layers}, "block", ""):
        tensor = fixture[f"w::{entry.key}"]
        entry.variable.assign(LAYOUTS[entry.layout].load(tensor, tuple(entry.variable.shape)))
    block = np.moveaxis(np.asarray(model(np.moveaxis(fixture["x"], 1, -1), training=False)), -1, 1)
    np.testing.assert_allclose(block, fixture["y"], atol=1e-5 * np.abs(fixture["y"]).max())
    attention = model.get_layer("block_attention").attention
    tokens = np.asarray(attention(fixture["epa_in"], training=False))
    np.testing.assert_allclose(tokens, fixture["epa_out"], atol=1e-5 * np.abs(fixture["epa_out"]).max())


def test_the_released_merge_is_not_the_paper_s(rng):
    tokens = rng.standard_normal((1, 6, 8)).astype(np.float32)
    released = PairedAttention(2, 3)
    first = np.asarray(released(tokens))
    released.legacy_merge = False
    assert np.abs(first - np.asarray(released(tokens))).max() > 1e-3


def test_deep_supervision_leaves_the_first_output_alone(rng):
    image = rng.standard_normal((1, 8, 16, 16, 1)).astype(np.float32)
    deep, plain = tiny(), tiny(deep_supervision=False)
    tensors = to_state_dict(deep)
    load_state_dict(plain, {key: value for key, value in tensors.items() if not key.startswith(("out2", "out3"))})
    np.testing.assert_array_equal(np.asarray(deep(image)[0]), np.asarray(plain(image)))
    assert [tuple(output.shape[1:-1]) for output in deep.outputs] == [(8, 16, 16), (8, 8, 8), (4, 4, 4)]


@pytest.mark.parametrize("projection", ["shared", "separate", "matrix"])
def test_a_state_dict_goes_round(projection, rng):
    model, other = tiny(projection=projection), tiny(projection=projection)
    for variable in model.trainable_variables:
        variable.assign(rng.standard_normal(variable.shape).astype(np.float32))
    load_state_dict(other, to_state_dict(model))
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        if "seed" not in ours.path:
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_resizing_to_the_same_size_changes_nothing():
    model, other = tiny(), tiny()
    resize_weights(model, other)
    for ours, theirs in zip(other.trainable_variables, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_constant_projection_keeps_its_sum_at_another_size():
    # A projection that averages 1024 voxels (weight 1/1024 each) averages 4608 voxels after resizing.
    model, larger = tiny(), tiny((8, 16, 32, 1))
    layer = model.get_layer("encoder0_block0_attention")
    count = int(np.prod(layer.grid))
    layer.attention.project_keys.kernel.assign(np.full((count, 4), 1 / count, np.float32))
    resize_weights(model, larger)
    kernel = np.asarray(larger.get_layer("encoder0_block0_attention").attention.project_keys.kernel)
    np.testing.assert_allclose(kernel.sum(0), 1, rtol=1e-5)
    assert np.isfinite(np.asarray(larger(np.ones((1, 8, 16, 32, 1), np.float32))[0])).all()


def test_resizing_refuses_another_network():
    with pytest.raises(ValueError, match="same MODEL options"):
        resize_weights(tiny(), tiny(depths=(1, 2, 1, 1)))


def test_pictures_are_trained_on_and_predicted(rng):
    # A preset's stem loses its depth: (2, 4, 4) is (4, 4) for pictures of multiples of 32.
    model = tiny((32, 64, 3), stem=None, deep_supervision=False)
    assert model.get_layer("encoder0_down_conv").strides == (4, 4)
    image = rng.standard_normal((2, 32, 64, 3)).astype(np.float32)
    label = rng.integers(0, 3, (2, 32, 64, 1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss=loss, jit_compile=False)
    losses = [float(model.train_on_batch(image, label)) for _ in range(3)]
    assert losses[-1] < losses[0]
    assert model.predict_on_batch(image).shape == (2, 32, 64, 3)


def test_every_variable_learns(rng):
    model = tiny()
    for layer in model.layers:
        if isinstance(layer, AttentionResidual):
            layer.gamma.assign(np.ones(layer.gamma.shape, np.float32))
            layer.attention.mix.kernel.assign(rng.standard_normal(layer.attention.mix.kernel.shape))
    before = [np.asarray(v).copy() for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(10.0), loss=["mse"] * 3, jit_compile=False)
    image = rng.standard_normal((2, 8, 16, 16, 1)).astype(np.float32)
    targets = [rng.standard_normal((2, *output.shape[1:])).astype(np.float32) for output in model.outputs]
    model.train_on_batch(image, targets)
    still = [
        v.path for v, old in zip(model.trainable_variables, before, strict=True) if np.array_equal(np.asarray(v), old)
    ]
    assert not still


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_stays_near_and_logits_are_float32(policy, rng):
    image = rng.standard_normal((1, 8, 16, 16, 1)).astype(np.float32)
    exact = tiny()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = tiny()
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(exact.get_weights())
    answer, expected = mixed(image)[0], np.asarray(exact(image)[0])
    assert answer.dtype == "float32"
    assert np.abs(np.asarray(answer) - expected).max() < 0.15 * expected.std() + 0.05


def attention_of(policy, tokens, weights=None):
    layer = PairedAttention(2, 8, dtype=policy)
    layer.build(tokens.shape)
    if weights is not None:
        layer.set_weights(weights)
    return layer


def test_scores_are_float32_where_bfloat16_would_hurt(rng, monkeypatch):
    tokens = rng.standard_normal((1, 64, 16)).astype(np.float32)
    mixed, seen = attention_of("mixed_bfloat16", tokens), []
    for name in ("_over_channels", "_over_space"):
        inner = getattr(PairedAttention, name)

        def watched(self, queries, keys, *rest, inner=inner, **options):
            seen.extend(keras.backend.standardize_dtype(part.dtype) for part in (queries, keys))
            return inner(self, queries, keys, *rest, **options)

        monkeypatch.setattr(PairedAttention, name, watched)
    mixed(tokens)
    assert seen == ["float32"] * 4
    assert mixed.channel_temperature.dtype == mixed.spatial_temperature.dtype == "float32"


def test_many_tokens_do_not_overflow_half_precision(rng):
    # 8,192 queries of about 6: the squared length, about 300,000, is beyond float16, whose largest number is 65,504.
    tokens = rng.standard_normal((1, 8192, 16)).astype(np.float32)
    exact = attention_of("float32", tokens)
    exact.mix.kernel.assign(1.5 * rng.standard_normal(exact.mix.kernel.shape))
    for variable in (exact.channel_temperature, exact.spatial_temperature):
        variable.assign(np.full(variable.shape, 20.0, np.float32))
    mixed = attention_of("mixed_float16", tokens, exact.get_weights())
    expected, answer = np.asarray(exact(tokens)), np.asarray(keras.ops.cast(mixed(tokens), "float32"))
    assert np.abs(answer - expected).mean() < 0.05 * np.abs(expected).mean()


def test_the_network_is_saved_and_read_back(tmp_path, rng):
    model = tiny()
    model.save(tmp_path / "network.keras")
    image = rng.standard_normal((1, 8, 16, 16, 1)).astype(np.float32)
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(np.asarray(again(image)[0]), np.asarray(model(image)[0]))


@pytest.mark.parametrize(
    ("turn", "awaited"),
    [("shallow", "decoder0_block0_add"), ("shallow_skip", "shallow_norm2"), ("final", "shallow_act2")],
)
def test_branches_of_full_resolution_take_turns(turn, awaited, rng):
    model = tiny()
    one, other = model.get_layer(f"{turn}_turn").input
    assert other._keras_history.operation.name == awaited
    waits = keras.Model(model.input, [one, other, model.get_layer(f"{turn}_turn").output])
    x, _, answer = waits(rng.standard_normal((1, 8, 16, 16, 1)).astype(np.float32))
    np.testing.assert_array_equal(np.asarray(answer), np.asarray(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "synaps"}, "type one of synapse"),
        ({"projection": "both"}, "shared, separate or matrix"),
        ({"input_shape": (8, None, 16, 1)}, "fixed sizes"),
        ({"input_shape": (8, 20, 16, 1)}, "multiple of"),
    ],
)
def test_mistakes_are_answered(options, words):
    with pytest.raises(ValueError, match=words):
        tiny(**options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synapse", "acdc", "lung", "tumor"])
def test_full_size_networks_answer_as_the_originals(shared, project, name):
    import subprocess
    import sys

    fixture = shared / f"fixtures/unetr_plusplus_{name}.npz"
    check = [sys.executable, str(shared / "fixtures/check.py"), str(fixture)]
    done = subprocess.run(check, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
