"""The compiled network: activation inside, one batch shape, clear refusals."""

import keras
import numpy as np
import pytest

from inference.network import Network
from inference.slices import predict_slices
from inference.sliding_window import sliding_window
from inference.tiles import Windows


def pointwise(outputs, *, channels=1, rank=2, spatial=None, guided=False):
    """A network of one 1-wide convolution with logits `w x + b`, w = 1, 2, ..., b = 0."""
    inputs = keras.Input((*[spatial] * rank, channels))
    conv = [keras.layers.Conv2D, keras.layers.Conv3D][rank - 2]
    logits = conv(outputs, 1, dtype="float32", name="logits")(inputs)
    pool = [keras.layers.GlobalMaxPooling2D, keras.layers.GlobalMaxPooling3D][rank - 2]
    model = keras.Model(inputs, [logits, pool(name="class_logits")(logits)] if guided else logits)
    kernel = np.tile(np.arange(1.0, outputs + 1), (*[1] * rank, channels, 1))
    model.get_layer("logits").set_weights([kernel, np.zeros(outputs)])
    return model


def test_one_output_answers_a_sigmoid():
    network = Network(pointwise(1), batch_size=2)
    # sigmoid(0) = 1/2, sigmoid(log 3) = 3/4.
    found = network(np.log([1.0, 3.0]).reshape(2, 1, 1, 1))
    np.testing.assert_allclose(found.ravel(), [0.5, 0.75], atol=1e-6)


def test_several_outputs_answer_a_softmax():
    found = Network(pointwise(2))(np.full((1, 1, 1, 1), np.log(3.0)))
    # logits log 3 and 2 log 3: 3 / (3 + 9), 9 / (3 + 9).
    np.testing.assert_allclose(found.ravel(), [0.25, 0.75], atol=1e-6)


def test_regions_answer_one_sigmoid_each():
    found = Network(pointwise(2), regions=[[1, 2], [2]])(np.full((1, 1, 1, 1), np.log(3.0)))
    np.testing.assert_allclose(found.ravel(), [3 / 4, 9 / 10], atol=1e-6)


def test_the_first_of_several_outputs_is_used():
    found = Network(pointwise(1, guided=True))(np.zeros((1, 4, 4, 1)))
    assert found.shape == (1, 4, 4, 1)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_any_number_of_samples_is_answered_with_one_compiled_shape(rng, count):
    network = Network(pointwise(1), batch_size=4)
    batch = rng.normal(size=(count, 4, 4, 1)).astype(np.float32)
    np.testing.assert_allclose(network(batch), 1 / (1 + np.exp(-batch)), atol=1e-6)


def test_the_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"3 channels.*INPUT\.CHANNELS"):
        Network(pointwise(1, channels=3))(np.zeros((1, 4, 4, 1)))


def test_a_slice_network_over_a_volume(rng):
    volume = rng.normal(size=(5, 10, 12, 1)).astype(np.float16)
    network = Network(pointwise(1), batch_size=4)
    found = predict_slices(volume, network, slices=1, batch_size=4, spatial_shape=network.spatial_shape)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-volume.astype(np.float32))), atol=1e-6)


def test_a_volume_network_through_windows(rng):
    volume = rng.normal(size=(9, 10, 12, 1)).astype(np.float32)
    network = Network(pointwise(1, rank=3), batch_size=2)
    found = sliding_window(volume, network, windows=Windows(patch=(8, 8, 8)), batch_size=2)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-volume)), atol=1e-5)
