"""Recomputed activations: the same outputs, gradients and averages, and fewer tensors kept."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import build_model
from models.costs import saved_activation_bytes, trace
from training.recompute import Recomputed, segments

NETWORKS = {
    "unetplusplus": {"input_shape": (32, 32, 1), "filters": [4, 8, 8], "deep_supervision": True, "recipe": "paper"},
    "unet3plus_deepsup": {"input_shape": (32, 32, 3), "filters": [4, 8, 8, 16, 16], "convolution": "winograd"},
    "unet": {"input_shape": (16, 16, 16, 1), "filters": [4, 8, 8], "dropout": 0.3, "recipe": "paper"},
}


def small(kind: str) -> keras.Model:
    options = {"strides": [1, 2, 2], "kernel_sizes": [3, 3, 3]} if kind in ("unet", "unetplusplus") else {}
    return build_model(kind, num_classes=2, **NETWORKS[kind], **options)


def nested() -> keras.Model:
    inner = small("unet")
    image = keras.Input(inner.input_shape[1:])
    return keras.Model(image, inner(image))


def gradients(network: keras.Model, run, images, state):
    """Outputs, gradients and the state afterwards, from a given state, in a graph."""
    for variable, value in zip(network.non_trainable_variables, state, strict=True):
        variable.assign(value)

    @tf.function(autograph=False)
    def passed(images):
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(run(images))
            loss = sum(tf.reduce_mean(output**2) for output in outputs)
        return outputs, tape.gradient(loss, [variable.value for variable in network.trainable_variables])

    outputs, found = passed(images)
    return [*outputs, *found, *(variable.value for variable in network.non_trainable_variables)]


@pytest.mark.parametrize("make", [*NETWORKS, "nested"])
def test_a_step_is_the_same(make, rng):
    keras.utils.set_random_seed(3)
    network = nested() if make == "nested" else small(make)
    recomputed = Recomputed(network)
    assert len(recomputed) > 2
    images = rng.normal(size=(2, *network.input_shape[1:])).astype(np.float32)
    state = [variable.numpy() for variable in network.non_trainable_variables]
    kept = gradients(network, lambda x: network(x, training=True), images, state)
    again = gradients(network, recomputed, images, state)
    assert any((np.asarray(new) != old).any() for new, old in zip(again[-len(state) :], state, strict=True))
    for ours, theirs in zip(again, kept, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_cuts_keep_less_than_half():
    network = build_model("unetplusplus", input_shape=(32, 32, 32, 1), num_classes=2)
    passed = trace(network, (32, 32, 32))
    cuts = segments(passed)
    assert [turn for segment in cuts for turn in segment] == list(range(len(passed.calls)))
    made = [sum(passed.sizes[place] for place in call.outputs) for call in passed.calls]
    largest = max(sum(made[turn] for turn in segment) for segment in cuts)
    kept = set()
    for first, second in itertools.pairwise(cuts):
        before = {place for call in passed.calls[: first.stop] for place in call.outputs}
        kept |= before & {place for call in passed.calls[second.start :] for place in call.inputs}
    held = largest + sum(math.prod(passed.shapes[place]) * 4 for place in kept)
    assert held < saved_activation_bytes(network, (32, 32, 32)) / 2


def test_one_layer_is_one_part():
    image = keras.Input((4, 4, 1))
    assert len(Recomputed(keras.Model(image, keras.layers.Conv2D(2, 1)(image)))) == 1
