"""3D U²-Net: published counts and answers, domains apart, a domain added without touching the others."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from models import build_model
from models.depthwise import DepthwiseConv3D
from models.state_dicts import load_state_dict, to_state_dict
from models.universal_unet import domain_layers, domain_model, domain_names, freeze_shared, inherit

FIVE = [
    {"name": "heart", "channels": 1, "classes": 2},
    {"name": "liver", "channels": 1, "classes": 2},
    {"name": "hippocampus", "channels": 1, "classes": 3},
    {"name": "prostate", "channels": 2, "classes": 3},
    {"name": "pancreas", "channels": 1, "classes": 2},
]
SPLEEN = {"name": "spleen", "channels": 1, "classes": 2}
THREE_POOLS = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
TINY = {"input_shape": (8, 8, 8), "base_filters": 4, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 1]]}


def count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.weights)


def build(domains, **options):
    return build_model("universal_unet", domains=domains, **({"input_shape": (32, 32, 32)} | options))


def tiny(domains, **options):
    return build(domains, **(TINY | options))


@pytest.mark.parametrize(
    ("options", "domains", "parameters"),
    [
        ({}, FIVE, 6_577_460),
        ({}, [*FIVE, SPLEEN], 6_722_050),
        ({}, [SPLEEN], 5_998_430),
        ({}, [FIVE[2]], 5_998_549),
        ({}, [FIVE[3]], 5_998_981),
        ({"base_filters": 32}, FIVE, 24_853_524),
        ({"mode": "shared"}, FIVE, 33_152_724),
        ({"mode": "series"}, FIVE, 38_009_124),
        ({"mode": "parallel"}, FIVE, 38_847_044),
        ({"mode": "parallel"}, [FIVE[0], FIVE[2]], 35_400_771),
        ({"mode": "independent"}, [FIVE[0]], 33_113_214),
        ({"mode": "independent", "strides": THREE_POOLS}, [FIVE[2]], 2_055_285),
        ({"mode": "independent"}, [FIVE[3]], 33_113_765),
    ],
)
def test_published_parameter_counts(options, domains, parameters):
    assert count(build(domains, **options)) == parameters


def test_the_recorded_network_of_two_domains(shared):
    with np.load(shared / "fixtures/universal_unet_two_domains.npz") as archive:
        fixture = dict(archive)
    network = build(
        [{"name": "first", "channels": 1, "classes": 2}, {"name": "second", "channels": 2, "classes": 3}],
        input_shape=(8, 8, 4),
        base_filters=4,
        strides=[[1, 1, 1], [2, 2, 2], [2, 2, 1]],
    )
    load_state_dict(network, {key[3:]: value for key, value in fixture.items() if key.startswith("w::")})
    names = ("second__share_map", "second__para_map")
    maps = [network.get_layer(name).output for name in names]
    model = keras.Model(network.inputs[1], [network.outputs[1], *maps])
    answers = model(np.moveaxis(fixture["x"], 1, -1))
    for answer, name in zip(answers, ("y", "share_map", "para_map"), strict=True):
        ours = np.moveaxis(np.asarray(answer), -1, 1)
        np.testing.assert_allclose(ours, fixture[name], atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["separable", "shared", "independent_hippocampus", "independent_prostate"])
def test_full_size_networks_answer_as_the_originals(shared, project, name):
    check = [sys.executable, str(shared / "fixtures/check.py"), str(shared / f"fixtures/universal_unet_{name}.npz")]
    done = subprocess.run(check, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("mode", ["separable", "shared", "series", "parallel"])
def test_a_state_dict_goes_round(mode, rng):
    network, other = tiny(FIVE[2:4], mode=mode), tiny(FIVE[2:4], mode=mode)
    for weight in network.weights:
        weight.assign(rng.standard_normal(weight.shape).astype(np.float32))
    load_state_dict(other, to_state_dict(network))
    for ours, theirs in zip(other.weights, network.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_training_one_domain_leaves_the_others_own_weights(rng):
    network = tiny(FIVE[:2])
    apart = [weight for layer in domain_layers(network, "liver") for weight in layer.weights]
    before = [np.asarray(weight).copy() for weight in apart]
    model = domain_model(network, "heart")
    model.compile("sgd", "mse", jit_compile=False)
    image = rng.standard_normal((1, 8, 8, 8, 1)).astype(np.float32)
    model.train_on_batch(image, rng.standard_normal((1, 8, 8, 8, 2)).astype(np.float32))
    for weight, old in zip(apart, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), old)


@pytest.mark.parametrize(("rule", "trainable"), [("paper", 144_590), ("all", 5_998_430)])
def test_an_added_domain_trains_its_own_part(rule, trainable):
    # Adapters 134,880 + norms 8,992 + input, output, side outputs 718 = 144,590 values of its own.
    network = build([*FIVE, SPLEEN])
    freeze_shared(network, new="spleen", rule=rule)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == trainable


def test_an_added_domain_does_not_change_the_others_by_a_bit(rng):
    trained = tiny(FIVE[:2])
    network = tiny([*FIVE[:2], SPLEEN])
    fresh = inherit(network, trained)
    assert fresh and all(name.startswith("spleen__") for name in fresh)
    image = rng.standard_normal((1, 8, 8, 8, 1)).astype(np.float32)
    before = np.asarray(domain_model(trained, "liver")(image))
    freeze_shared(network, new="spleen")
    model = domain_model(network, "spleen")
    model.compile("sgd", "mse", jit_compile=False)
    model.train_on_batch(image, rng.standard_normal((1, 8, 8, 8, 2)).astype(np.float32))
    np.testing.assert_array_equal(np.asarray(domain_model(network, "liver")(image)), before)


def test_every_variable_of_a_domain_learns(rng):
    model = domain_model(tiny(FIVE[:1]), "heart")
    before = [np.asarray(weight).copy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(10.0), "mse", jit_compile=False)
    image = rng.standard_normal((1, 8, 8, 8, 1)).astype(np.float32)
    model.train_on_batch(image, rng.standard_normal((1, 8, 8, 8, 2)).astype(np.float32))
    weights = zip(model.trainable_weights, before, strict=True)
    assert not [weight.path for weight, old in weights if np.array_equal(np.asarray(weight), old)]


@pytest.mark.parametrize(
    ("domains", "options", "words"),
    [
        ([SPLEEN, SPLEEN], {}, "name of its own"),
        ([], {}, "name of its own"),
        ([{"name": "a b", "channels": 1, "classes": 2}], {}, "does not fit"),
        (FIVE, {"mode": "independent"}, "MODEL.MODE=shared"),
        (FIVE, {"mode": "separate"}, "type one of separable"),
        ([SPLEEN], {"input_shape": (8, 8, 6)}, "multiple of"),
    ],
)
def test_mistakes_are_answered(domains, options, words):
    with pytest.raises(ValueError, match=words):
        tiny(domains, **({"strides": THREE_POOLS} | options))


def test_an_unknown_domain_lists_the_known_ones():
    network = tiny(FIVE[:2])
    assert domain_names(network) == ["heart", "liver"]
    with pytest.raises(ValueError, match="heart, liver"):
        domain_model(network, "kidney")


def test_a_domain_that_changed_its_channels_is_refused():
    with pytest.raises(ValueError, match="channels and classes it had"):
        inherit(tiny([FIVE[0] | {"channels": 2}]), tiny([FIVE[0]]))


@pytest.mark.parametrize("execution", ["slices", "shifted"])
@pytest.mark.parametrize("shape", [(2, 5, 6, 7, 3), (1, 1, 1, 1, 4), (1, 2, 3, 1, 2)])
def test_depthwise_executions_agree_with_a_plain_sum(execution, shape, rng):
    image = rng.standard_normal(shape).astype(np.float32)
    layer = DepthwiseConv3D(3, execution=execution)
    layer.build(shape)
    kernel = rng.standard_normal(layer.kernel.shape).astype(np.float32)
    layer.kernel.assign(kernel)
    padded = np.pad(image, [(0, 0), (1, 1), (1, 1), (1, 1), (0, 0)])
    expected = np.zeros(shape, np.float64)
    d, h, w = shape[1:4]
    for i, j, k in np.ndindex(3, 3, 3):
        expected += padded[:, i : i + d, j : j + h, k : k + w] * kernel[i, j, k, 0]
    np.testing.assert_allclose(np.asarray(layer(image)), expected, atol=1e-5)


def test_depthwise_executions_have_the_same_gradients(rng):
    answers = []
    image = rng.standard_normal((1, 4, 4, 4, 2)).astype(np.float32)
    target = rng.standard_normal((1, 4, 4, 4, 2)).astype(np.float32)
    for execution in ("slices", "shifted"):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((4, 4, 4, 2))
        model = keras.Model(inputs, DepthwiseConv3D(3, execution=execution)(DepthwiseConv3D(3)(inputs)))
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        model.train_on_batch(image, target)
        answers.append([np.asarray(weight) for weight in model.weights])
    for first, second in zip(*answers, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
