import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from models.conv_units import ConvNormReLU, LogitsConv
from models.convolutions import narrow_conv
from models.winograd import trainable_winograd_conv, winograd_conv


def unit(rng, channels=4, filters=3, **options):
    """A unit with every variable drawn."""
    layer = ConvNormReLU(filters, **options)
    layer.build((None,) * (options.get("rank", 2) + 1) + (channels,))
    for variable in layer.weights:
        low = 0.5 if "variance" in variable.path else -1.0
        variable.assign(rng.uniform(low, 1.5, variable.shape).astype(np.float32))
    return layer


def plainly(layer, image, scale=1, **how):
    """The same from layers of Keras."""
    x = keras.layers.UpSampling2D(scale, interpolation="bilinear")(image) if scale > 1 else image
    return np.asarray(ops.relu(layer.norm(ops.conv(x, layer.kernel, padding="same") + layer.bias, **how)))


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("upsampling", ["auto", "direct"])
@pytest.mark.parametrize("convolution", ["direct", "winograd"])
def test_inference_is_convolution_normalisation_relu(rng, scale, upsampling, convolution):
    layer = unit(rng, scale=scale, upsampling=upsampling, convolution=convolution)
    image = rng.standard_normal((2, 5, 7, 4)).astype(np.float32)
    np.testing.assert_allclose(layer(image), plainly(layer, image, scale), atol=2e-5)


def test_training_normalises_by_the_batch_and_follows_it(rng):
    layer, image = unit(rng, scale=2), rng.standard_normal((2, 5, 7, 4)).astype(np.float32)
    before = np.asarray(layer.norm.moving_mean).copy()
    answer = layer(image, training=True)
    after = np.asarray(layer.norm.moving_mean).copy()
    np.testing.assert_allclose(answer, plainly(layer, image, 2, training=True), atol=2e-5)
    assert not np.allclose(before, after)


def test_frozen_unit_keeps_its_statistics(rng):
    layer, image = unit(rng), rng.standard_normal((2, 5, 7, 4)).astype(np.float32)
    layer.trainable = False
    np.testing.assert_allclose(layer(image, training=True), plainly(layer, image, training=False), atol=2e-5)


def test_variables_are_those_of_the_convolution_and_its_normalisation(rng):
    layer = unit(rng, scale=2)
    assert [v.path.split("/")[-1] for v in layer.trainable_weights] == ["kernel", "bias", "gamma", "beta"]
    assert layer.kernel.shape == (3, 3, 4, 3)


def test_half_precision_keeps_its_variables_and_folds_them_in_float32(rng):
    layer = unit(rng, dtype="mixed_bfloat16")
    image = rng.standard_normal((1, 6, 6, 4)).astype(np.float32)
    answer = layer(image)
    assert {v.dtype for v in layer.weights} == {"float32"}
    assert keras.backend.standardize_dtype(answer.dtype) == "bfloat16"
    np.testing.assert_allclose(ops.cast(answer, "float32"), plainly_in_float32(layer, image), atol=0.1)


def plainly_in_float32(layer, image):
    twin = ConvNormReLU(layer.filters)
    twin.build((None, None, None, image.shape[-1]))
    twin.set_weights([np.asarray(v) for v in layer.weights])
    return np.asarray(twin(image))


@pytest.mark.parametrize(
    ("filters", "channels", "dtype", "chosen"),
    [
        (320, 320, "float32", True),
        (128, 64, "float32", True),
        (64, 64, "float32", False),
        (1024, 32, "float32", False),
        (320, 320, "bfloat16", False),
    ],
)
def test_winograd_is_chosen_where_it_measured_faster(monkeypatch, filters, channels, dtype, chosen):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [])
    layer = ConvNormReLU(filters, dtype=dtype)
    assert layer._prefers_winograd(np.zeros((1, 1, 1, channels))) is chosen
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [f"{kind}:0"])
    assert not layer._prefers_winograd(np.zeros((1, 1, 1, channels)))


def test_unit_comes_back_from_its_configuration():
    layer = ConvNormReLU(3, scale=(1, 2), epsilon=1e-3, upsampling="direct", convolution="winograd", name="u")
    copy = ConvNormReLU.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.norm.epsilon == 1e-3


@pytest.mark.parametrize("shape", [(2, 3, 8), (1, 5, 1), (1, 2, 13), (1, 2, 3, 6)])
@pytest.mark.parametrize("algorithm", [winograd_conv, trainable_winograd_conv, narrow_conv])
def test_algorithms_are_the_convolution_for_any_size(rng, algorithm, shape):
    image = rng.standard_normal((*shape, 4)).astype(np.float32)
    kernel = rng.standard_normal((*(3,) * (len(shape) - 1), 4, 5)).astype(np.float32)
    np.testing.assert_allclose(algorithm(image, kernel), ops.conv(image, kernel, padding="same"), atol=5e-5)


@pytest.mark.parametrize("shape", [(2, 3, 8), (1, 9, 6), (1, 2, 3, 6)])
@pytest.mark.parametrize("algorithm", [winograd_conv, trainable_winograd_conv])
def test_winograd_has_the_gradients_of_the_convolution(rng, algorithm, shape):
    image = tf.constant(rng.standard_normal((*shape, 4)).astype(np.float32))
    kernel = tf.constant(rng.standard_normal((*(3,) * (len(shape) - 1), 4, 5)).astype(np.float32))
    upstream = tf.constant(rng.standard_normal((*shape, 5)).astype(np.float32))

    @tf.function(autograph=False)
    def gradients(convolve):
        with tf.GradientTape() as tape:
            tape.watch([image, kernel])
            answer = convolve(image, kernel)
        return tape.gradient(answer, [image, kernel], output_gradients=upstream)

    expected = gradients(functools.partial(ops.conv, padding="same"))
    for found, there in zip(gradients(algorithm), expected, strict=True):
        np.testing.assert_allclose(found, there, atol=2e-4)


@pytest.mark.parametrize("classes", [2, 9])
def test_logits_are_the_convolution_in_float32(rng, classes):
    layer = LogitsConv.from_config(LogitsConv(classes).get_config())
    image = rng.standard_normal((1, 6, 6, 4)).astype(np.float32)
    answer = layer(ops.cast(image, "bfloat16"))
    layer.bias.assign(np.arange(classes))
    assert keras.backend.standardize_dtype(answer.dtype) == "float32"
    expected = ops.conv(image, layer.kernel, padding="same") + np.arange(classes)
    np.testing.assert_allclose(layer(image), expected, atol=1e-4)


def test_winograd_takes_sizes_that_are_unknown_beforehand(rng):
    x = keras.Input((None, None, 4))
    layer = ConvNormReLU(3, scale=2, convolution="winograd")
    model = keras.Model(x, ConvNormReLU(3, convolution="winograd")(layer(x)))
    assert model.output.shape == (None, None, None, 3)
    for size in ((2, 3), (40, 5)):
        assert model.predict(rng.standard_normal((1, *size, 4)), verbose=0).shape == (1, 2 * size[0], 2 * size[1], 3)
