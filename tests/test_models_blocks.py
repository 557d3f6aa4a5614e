import keras
import numpy as np
import pytest

from models.blocks import (
    BLOCK_TRANSPOSE,
    batch_norm,
    check_size,
    conv_norm_act,
    he_normal,
    head,
    instance_norm,
    per_axis,
    same_conv,
    spatial_rank,
    up_conv,
)


def outputs(block, array):
    x = keras.Input(array.shape[1:])
    model = keras.Model(x, block(x))
    return model, lambda: np.asarray(model(array))


def test_strided_convolution_pads_both_sides():
    # Kernel 1, 10, 100 over 0..7 with one zero on each side, stride 2: 0*1 + 0*10 + 1*100 = 100, then
    # 1 + 20 + 300 = 321, 543, 765. Padding the far side only gives 210, 432, 654, 76.
    line = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
    model, answer = outputs(lambda x: same_conv(x, 1, (3, 1), strides=(2, 1), name="c"), line)
    model.get_layer("c").kernel.assign(np.array([1, 10, 100], np.float32).reshape(3, 1, 1, 1))
    assert answer().ravel().tolist() == [100, 321, 543, 765]


@pytest.mark.parametrize("shape", [(8, 6, 2), (4, 8, 6, 2)])
def test_blocks_serve_every_rank(shape):
    array = np.zeros((1, *shape), np.float32)
    rank = len(shape) - 1
    strides = (1, *(2,) * (rank - 1))
    model, _ = outputs(lambda x: up_conv(conv_norm_act(x, 4, strides=strides, name="b"), 3, strides, name="u"), array)
    assert spatial_rank(model.input) == rank
    assert model.output.shape == (None, *shape[:-1], 3)


def test_layers_of_one_shape_start_different():
    array = np.zeros((1, 8, 8, 2), np.float32)
    model, _ = outputs(lambda x: same_conv(same_conv(x, 2, name="a"), 2, name="b"), array)
    assert not np.array_equal(model.get_layer("a").kernel, model.get_layer("b").kernel)


def test_initial_kernel_has_the_variance_of_he():
    # fan_in = 3 * 3 * 32 = 288, slope 1: variance 2 / ((1 + 1) 288) = 1 / 288.
    kernel = np.asarray(he_normal(slope=1.0)((3, 3, 32, 64)))
    assert kernel.var() == pytest.approx(1 / 288, rel=0.05)


def test_instance_normalisation_treats_every_image_and_channel_alone(rng):
    array = rng.normal(5, 3, (2, 16, 16, 3)).astype(np.float32)
    _, answer = outputs(lambda x: instance_norm(x, name="n"), array)
    np.testing.assert_allclose(answer().mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(answer().std((1, 2)), 1, atol=1e-4)


def test_normalisations_have_the_epsilon_of_the_originals():
    x = keras.Input((8, 8, 2))
    model = keras.Model(x, batch_norm(instance_norm(x, name="i"), name="b"))
    assert model.get_layer("i").epsilon == model.get_layer("b").epsilon == 1e-5


def test_head_answers_in_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        x = keras.Input((8, 8, 2))
        assert head(x, 3, name="head").dtype == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


def test_numbers_per_axis():
    assert per_axis(2, 3) == (2, 2, 2)
    assert per_axis([1, 2], 2) == (1, 2)
    with pytest.raises(ValueError, match=r"\[1, 2\] has 2 numbers, but the input has 3 spatial axes"):
        per_axis([1, 2], 3)


def test_size_that_does_not_fit_is_answered_with_one_that_does():
    with pytest.raises(ValueError, match=r"\(20, 16, 16\).*multiple of 8\. Set INPUT\.PATCH=\[24,16,16\], or remove a"):
        check_size((20, 16, 16, 1), 8, model="unet", cure="remove a stage from MODEL.FILTERS")


def test_size_rule_per_axis_is_spelt_out():
    with pytest.raises(ValueError, match=r"multiple of \[2, 8\], axis by axis\. Set INPUT\.HEIGHT=6 INPUT\.WIDTH=24"):
        check_size((5, 20, 1), (2, 8), model="unet", cure="x")


def test_free_sizes_pass():
    check_size((None, None, 1), 16, model="unet", cure="x")


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 3), (2, 3, 2, 3)])
def test_blocks_painted_by_one_product_are_a_transposed_convolution(rng, shape):
    # The reference is the plain layer of Keras with the same kernel and bias; sizes are unknown until the image comes.
    rank, strides = len(shape) - 1, (2, 1, 4)[: len(shape) - 1]
    kinds = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
    free = keras.Input((*(None,) * rank, shape[-1]))
    painted, plain = BLOCK_TRANSPOSE[rank](5, strides, strides), kinds[rank - 1](5, strides, strides)
    model = keras.Model(free, painted(free))
    image = rng.standard_normal((2, *shape)).astype(np.float32)
    plain.build(image.shape)
    plain.set_weights([rng.standard_normal(weight.shape) for weight in plain.get_weights()])
    painted.set_weights(plain.get_weights())
    np.testing.assert_allclose(np.asarray(model(image)), np.asarray(plain(image)), atol=1e-5)


def test_weights_files_list_them_as_keras_own():
    assert [layer.__name__ for layer in BLOCK_TRANSPOSE.values()] == [f"Conv{rank}DTranspose" for rank in (1, 2, 3)]
