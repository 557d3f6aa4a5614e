"""Multiply-adds and memory, worked by hand; and the figures published or measured for the originals."""

import keras
import pytest

from models import build_model, inference_model
from models.costs import multiply_adds, peak_activation_bytes, saved_activation_bytes
from models.depthwise import DepthwiseConv3D
from models.universal_unet import domain_model

FLOAT = 4


def count(layer, shape):
    image = keras.Input(shape)
    return multiply_adds(keras.Model(image, layer(image)), shape[:-1])


def test_a_convolution_spends_its_kernel_at_every_output():
    # Stride 2: 4 x 3 outputs, each 3 x 3 taps of 5 channels into 7.
    assert count(keras.layers.Conv2D(7, 3, 2, "same"), (8, 6, 5)) == 4 * 3 * 3 * 3 * 5 * 7


def test_a_transposed_convolution_spends_its_kernel_at_every_input():
    assert count(keras.layers.Conv3DTranspose(7, 2, 2), (4, 4, 4, 5)) == 4 * 4 * 4 * 2 * 2 * 2 * 5 * 7


def test_a_depthwise_convolution_has_one_channel_in():
    assert count(DepthwiseConv3D(3), (4, 5, 6, 8)) == 4 * 5 * 6 * 27 * 8
    assert count(keras.layers.DepthwiseConv2D(3, padding="same"), (4, 5, 8)) == 4 * 5 * 9 * 8


def test_groups_see_their_share_of_the_channels():
    assert count(keras.layers.Conv2D(8, 3, groups=4, padding="same"), (5, 5, 12)) == 25 * 9 * 3 * 8


def test_a_dense_layer_and_a_network_inside_a_network():
    image = keras.Input((4, 4, 3))
    inner = keras.Model(image, keras.layers.Conv2D(5, 1)(image))
    outer = keras.Input((4, 4, 3))
    flat = keras.layers.Flatten()(inner(outer))
    network = keras.Model(outer, keras.layers.Dense(2)(flat))
    assert multiply_adds(network, (4, 4)) == 16 * 3 * 5 + 80 * 2


def test_shared_layers_count_every_time_they_run():
    image, layer = keras.Input((4, 4, 3)), keras.layers.Conv2D(3, 1)
    assert multiply_adds(keras.Model(image, layer(layer(image))), (4, 4)) == 2 * 16 * 9


def test_paired_attention_worked_by_hand():
    from models.attention import AttentionResidual, PairedAttention

    # n = 2 x 2 x 2 tokens, c = 8, 2 heads of 4, p = 3: 4ncc + 2ncp + 2ncd + 2ncp + ncc.
    expected = 4 * 512 + 2 * 192 + 2 * 256 + 2 * 192 + 512
    layer = AttentionResidual(PairedAttention(2, 3))
    assert count(layer, (2, 2, 2, 8)) == expected
    matrix = AttentionResidual(PairedAttention(2, 3, projection="matrix"))
    assert count(matrix, (2, 2, 2, 8)) == expected - 512


def network():
    """Two branches of 4 x 4 x 2 and 4 x 4 x 6, joined, and one channel out."""
    image = keras.Input((4, 4, 2))
    wide = keras.layers.Conv2D(6, 1)(image)
    kept = keras.layers.Dropout(0.5)(keras.layers.Conv2D(2, 1)(wide))
    joined = keras.layers.Concatenate()([image, kept])
    return keras.Model(image, keras.layers.Conv2D(1, 1)(joined))


def test_the_peak_is_the_largest_sum_of_living_tensors():
    # While the second convolution runs: image 2, wide 6, its answer 2 channels. While joining: 2 + 2 + 4.
    assert peak_activation_bytes(network(), (4, 4)) == 16 * (2 + 6 + 2) * FLOAT


def test_training_keeps_everything():
    # image 2, wide 6, narrow 2, dropped 2, joined 4, answer 1
    assert saved_activation_bytes(network(), (4, 4)) == 16 * 17 * FLOAT


def test_reshaping_takes_no_room_and_half_precision_half():
    image = keras.Input((4, 4, 2), dtype="float16")
    network = keras.Model(image, keras.layers.Reshape((16, 2), dtype="float16")(image))
    assert peak_activation_bytes(network, (4, 4)) == saved_activation_bytes(network, (4, 4)) == 64


@pytest.mark.parametrize(
    ("preset", "shape", "operations"),
    [
        ("synapse", (64, 128, 128, 1), 94.90e9),
        pytest.param("acdc", (16, 160, 160, 1), 86.82e9, marks=pytest.mark.slow),
        pytest.param("brats", (128, 128, 128, 4), 145.58e9, marks=pytest.mark.slow),
    ],
)
def test_unetr_plusplus_costs_what_the_original_was_counted_to_cost(preset, shape, operations):
    classes = {"synapse": 14, "acdc": 4, "brats": 4}[preset]
    network = build_model("unetr_plusplus", input_shape=shape, num_classes=classes, preset=preset)
    assert 2 * multiply_adds(inference_model(network), shape[:-1]) == pytest.approx(operations, rel=1e-3)


def test_universal_unet_costs_what_the_original_was_counted_to_cost():
    names = ["heart", "liver"]
    domains = [{"name": name, "channels": 1, "classes": 2} for name in names]
    network = build_model("universal_unet", input_shape=(None, None, None), domains=domains)
    one = domain_model(network, "heart")
    assert 2 * multiply_adds(one, (128, 128, 128)) == pytest.approx(47_558_819_840, rel=1e-3)


def test_unetplusplus_costs_what_was_measured():
    network = build_model("unetplusplus", input_shape=(None, None, None, 1), num_classes=3)
    assert multiply_adds(network, (64, 64, 64)) == pytest.approx(296.67e9, rel=1e-4)
