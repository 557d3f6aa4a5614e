import keras
import numpy as np
import pytest
from keras import ops

from models.conv_units import ConvNormReLU
from models.upsampling import LinearUpsample, tap_weights, upsample_linear, upsample_then_conv

SCALES = (2, 4, 8, 16)
SIZES = ((1, 1), (1, 3), (5, 2))


def arrays(rng, size, *, channels=6, filters=5):
    image = rng.standard_normal((2, *size, channels)).astype(np.float32)
    kernel = rng.standard_normal((*(3,) * len(size), channels, filters)).astype(np.float32) * 0.2
    return image, kernel


def straightforward(image, kernel, scale):
    up = keras.layers.UpSampling2D(scale, interpolation="bilinear")(image)
    return np.asarray(ops.conv(up, kernel, padding="same"))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_rewritten_is_the_convolution_of_the_upsampled_image_borders_included(rng, size, scale):
    image, kernel = arrays(rng, size)
    expected = straightforward(image, kernel, scale)
    np.testing.assert_allclose(upsample_then_conv(image, kernel, scale), expected, atol=5e-6)


@pytest.mark.parametrize(("size", "scale"), [((2, 1, 3), 2), ((2, 3, 2), (1, 2, 4)), ((1, 1, 1), 4)])
def test_rewritten_is_exact_in_3d_and_per_axis(rng, size, scale):
    image, kernel = arrays(rng, size)
    expected = ops.conv(upsample_linear(ops.convert_to_tensor(image), scale), kernel, padding="same")
    np.testing.assert_allclose(upsample_then_conv(image, kernel, scale), expected, atol=5e-6)


@pytest.mark.parametrize("scale", [2, 3, 16])
def test_linear_upsampling_is_that_of_keras(rng, scale):
    image = rng.standard_normal((2, 3, 4, 2)).astype(np.float32)
    expected = keras.layers.UpSampling2D(scale, interpolation="bilinear")(image)
    np.testing.assert_allclose(LinearUpsample(scale)(image), expected, atol=2e-6)


def test_linear_upsampling_worked_by_hand():
    # Half-pixel centres: 0 | 1/4 of the way | 3/4 of the way | 1, edges repeated.
    line = np.array([0.0, 4.0], np.float32).reshape(1, 2, 1, 1)
    assert np.ravel(LinearUpsample((2, 1))(line)).tolist() == [0, 1, 3, 4]


def test_taps_outside_of_the_upsampled_line_read_zero():
    # Line of one pixel, doubled to two: the left tap of row 0 and the right tap of row 1 lie outside.
    weights = np.asarray(tap_weights(np.arange(2), np.arange(1), 1, 2, 3))
    assert weights[:, :, 0].tolist() == [[0, 1, 1], [1, 1, 0]]


def gradients(function, image, kernel):
    weight = np.arange(np.asarray(function(image, kernel)).size, dtype=np.float32)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda a, k: (ops.reshape(function(a, k), -1) * weight).mean(), argnums=(0, 1))(image, kernel)
    import tensorflow as tf

    image, kernel = tf.constant(image), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([image, kernel])
        loss = tf.reduce_mean(tf.reshape(function(image, kernel), [-1]) * weight)
    return tape.gradient(loss, [image, kernel])


@pytest.mark.parametrize("scale", [2, 8])
def test_gradients_are_those_of_the_straightforward_form(rng, scale):
    image, kernel = arrays(rng, (3, 2))

    def direct(x, k):
        return ops.conv(ops.image.resize(x, (3 * scale, 2 * scale), interpolation="bilinear"), k, padding="same")

    for ours, expected in zip(
        gradients(lambda x, k: upsample_then_conv(x, k, scale), image, kernel),
        gradients(direct, image, kernel),
        strict=True,
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(32, 3), (33, 40), (2, 35)])
def test_products_cut_into_blocks_answer_the_same(rng, size):
    image, kernel = arrays(rng, size)
    expected = straightforward(image, kernel, 2)
    np.testing.assert_allclose(upsample_then_conv(image, kernel, 2, banded=True), expected, atol=5e-6)


def test_half_precision_loses_no_more_than_the_straightforward_form(rng):
    image, kernel = arrays(rng, (6, 6), channels=64, filters=16)
    exact = straightforward(image, kernel, 4)
    low = [ops.cast(a, "bfloat16") for a in (image, kernel)]

    def error(answer):
        return np.sqrt(np.mean((np.asarray(ops.cast(answer, "float32")) - exact) ** 2))

    direct = ops.conv(upsample_linear(low[0], 4), low[1], padding="same")
    assert error(upsample_then_conv(*low, 4)) < 1.3 * error(direct)


def test_layer_comes_back_from_its_configuration():
    assert LinearUpsample.from_config(LinearUpsample(4).get_config()).scale == 4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA inside tf.function")
def test_gradients_compile_under_xla_in_bfloat16(rng):
    import tensorflow as tf

    layer = ConvNormReLU(3, scale=2, dtype="mixed_bfloat16")
    grow = LinearUpsample(2, dtype="mixed_bfloat16")
    layer.build((None, None, None, 4))

    @tf.function(jit_compile=True)
    def gradient(image):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(grow(layer(image, training=True)), tf.float32) ** 2)
        return tape.gradient(loss, layer.trainable_variables)

    image = tf.constant(rng.standard_normal((1, 4, 4, 4)).astype(np.float32))
    assert all(np.isfinite(np.asarray(g)).all() for g in gradient(image))
