import keras
import numpy as np
import pytest

from models import build_model, state_dicts
from models.key_maps import unet3plus as key_map
from models.state_dicts import (
    LAYOUTS,
    Entry,
    KeyMap,
    Layout,
    conv_entries,
    load_state_dict,
    norm_entries,
    to_state_dict,
)


def tiny(type="unet3plus", **options):
    return build_model(type, **({"input_shape": (8, 8, 3), "num_classes": 2, "filters": [2, 3, 4]} | options))


def drawn(model, seed=0):
    """A state dict of the right shapes with random values."""
    rng = np.random.default_rng(seed)
    return {key: rng.random(value.shape, np.float32) for key, value in to_state_dict(model).items()}


@pytest.mark.parametrize(
    ("layout", "theirs", "ours"),
    [
        ("conv", (5, 4, 3, 2), (3, 2, 4, 5)),  # (out, in, h, w)
        ("conv", (5, 4, 3, 2, 1), (3, 2, 1, 4, 5)),
        ("depthwise", (6, 1, 3, 2), (3, 2, 3, 2)),  # 3 channels, multiplier 2
        ("dense", (5, 4), (4, 5)),
        ("vector", (5,), (5,)),
        ("as_is", (2, 3, 4), (2, 3, 4)),
    ],
)
def test_layouts_go_both_ways(rng, layout, theirs, ours):
    tensor = rng.random(theirs)
    value = LAYOUTS[layout].load(tensor, ours)
    assert value.shape == ours
    np.testing.assert_array_equal(LAYOUTS[layout].save(value), tensor)


def test_kernels_keep_their_taps():
    # out 1, in 0, row 2, column 1 of the original is row 2, column 1, in 0, out 1 here.
    tensor = np.zeros((2, 2, 3, 3))
    tensor[1, 0, 2, 1] = 7
    assert LAYOUTS["conv"].load(tensor, (3, 3, 2, 2))[2, 1, 0, 1] == 7


def test_loading_and_saving_are_inverse():
    model = tiny("unet3plus_deepsup_cgm")
    tensors = drawn(model)
    report = load_state_dict(model, tensors)
    assert (sorted(report.loaded), report.unused, report.missing) == (sorted(tensors), [], [])
    for key, value in to_state_dict(model).items():
        np.testing.assert_array_equal(value, tensors[key], err_msg=key)


def test_counters_of_the_original_are_ignored():
    model = tiny()
    report = load_state_dict(model, drawn(model) | {"conv1.conv1.1.num_batches_tracked": np.zeros(())})
    assert report.unused == []


def test_another_number_of_classes_is_named_with_the_setting():
    tensors = drawn(tiny(num_classes=3))
    with pytest.raises(ValueError, match=r"outconv1\.weight has shape \(3, 6, 3, 3\).*set OUTPUT\.CLASSES=3"):
        load_state_dict(tiny(), tensors)


def test_another_width_is_named_with_both_shapes():
    tensors = drawn(tiny(filters=[2, 4, 4]))
    with pytest.raises(ValueError, match=r"conv2\.\S+ has shape \(4, .*takes \(3, .*MODEL\.FILTERS"):
        load_state_dict(tiny(), tensors)


def test_a_refused_state_dict_leaves_the_model_unchanged():
    model = tiny()
    before = to_state_dict(model)
    tensors = drawn(model) | {"outconv1.bias": np.zeros(9, np.float32)}
    with pytest.raises(ValueError, match="outconv1"):
        load_state_dict(model, tensors)
    for key, value in to_state_dict(model).items():
        np.testing.assert_array_equal(value, before[key])


def test_missing_and_unused_keys_are_listed_and_the_cure_is_named():
    tensors = drawn(tiny("unet3plus_deepsup"))
    del tensors["conv1.conv1.0.bias"]
    with pytest.raises(ValueError, match=r"missing: conv1\.conv1\.0\.bias; unused: outconv2\.weight.*deep_supervision"):
        load_state_dict(tiny(), tensors)


def test_without_strict_they_are_reported_and_the_rest_is_loaded():
    model, tensors = tiny(), drawn(tiny("unet3plus_deepsup"))
    del tensors["conv1.conv1.0.bias"]
    report = load_state_dict(model, tensors, strict=False)
    assert report.missing == ["conv1.conv1.0.bias"]
    assert report.unused == ["outconv2.weight", "outconv2.bias", "outconv3.weight", "outconv3.bias"]
    np.testing.assert_array_equal(to_state_dict(model)["outconv1.bias"], tensors["outconv1.bias"])


@pytest.mark.parametrize("action", [lambda m: load_state_dict(m, {}), to_state_dict])
def test_a_model_without_a_published_state_dict_is_refused(action):
    x = keras.Input((4,))
    with pytest.raises(ValueError, match=r"mine has no published state dict\. Models with one: unet3plus"):
        action(keras.Model(x, keras.layers.Dense(1)(x), name="mine"))


def test_an_encoder_of_keras_applications_has_no_published_state_dict():
    model = build_model("unet3plus", input_shape=(32, 32, 3), num_classes=1, backbone="vgg16", filters=[2])
    with pytest.raises(ValueError, match="No UNet 3\\+ with a backbone was published"):
        to_state_dict(model)


@pytest.fixture
def registered(monkeypatch):
    """A dense layer under two keys, as an original that registers a module twice."""
    x = keras.Input((2,))
    layer = keras.layers.Dense(1, use_bias=False, name="d")
    model = keras.Model(x, layer(x), name="twice")
    listed = [*conv_entries("a", layer, "dense"), *conv_entries("b", layer, "dense")]
    monkeypatch.setattr(key_map, "twice", lambda model: listed, raising=False)
    maps = {**state_dicts.KEY_MAPS, "twice": KeyMap("models.key_maps.unet3plus:twice")}
    monkeypatch.setattr(state_dicts, "KEY_MAPS", maps)
    return model, listed


def test_one_variable_under_two_keys_takes_either(registered):
    model, _ = registered
    assert load_state_dict(model, {"b.weight": np.array([[3.0, 4.0]])}).missing == []
    assert to_state_dict(model)["a.weight"].tolist() == [[3.0, 4.0]]


def test_two_keys_of_one_variable_must_agree(registered):
    model, _ = registered
    with pytest.raises(ValueError, match=r"a\.weight and b\.weight are one variable"):
        load_state_dict(model, {"a.weight": np.zeros((1, 2)), "b.weight": np.ones((1, 2))})


def test_a_variable_that_no_key_reaches_is_refused(registered):
    model, listed = registered
    listed.clear()
    with pytest.raises(ValueError, match="has no tensor for variables: d/kernel"):
        load_state_dict(model, {})


def test_a_key_map_may_bring_its_own_layout():
    variable = keras.Variable(np.zeros(4))
    entry = Entry("k", variable, Layout(lambda w, shape: w.reshape(shape), lambda w: w.reshape(2, 2)))
    assert state_dicts._fitted(entry, np.array([[1.0, 2.0], [3.0, 4.0]]), set()).tolist() == [1, 2, 3, 4]


def test_normalisation_without_running_statistics_has_two_tensors():
    layer = keras.layers.GroupNormalization(2)
    layer.build((None, 4, 4, 2))
    assert [entry.key for entry in norm_entries("n", layer)] == ["n.weight", "n.bias"]
