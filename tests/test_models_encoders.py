import keras
import numpy as np
import pytest

from models import build_model
from models.encoders import ENCODERS, ImageNetNormalization, encoder_taps


def build(backbone, **options):
    settings = {"input_shape": (32, 32, 3), "num_classes": 1, "filters": [2], "backbone": backbone}
    return build_model("unet3plus", **(settings | options))


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_taps_halve_from_the_first_stride(name):
    taps = encoder_taps(keras.Input((64, 96, 1)), name=name)
    stride = ENCODERS[name].first_stride
    assert [tap.shape[1:3] for tap in taps] == [(64 // stride // 2**k, 96 // stride // 2**k) for k in range(5)]


@pytest.mark.parametrize(("name", "multiple"), [("vgg16", 16), ("vgg19", 16), ("resnet50", 32), ("resnet101", 32)])
def test_sizes_that_an_encoder_cannot_halve_are_refused(name, multiple):
    assert ENCODERS[name].multiple == multiple
    with pytest.raises(
        ValueError, match=rf"does not fit {name}.*multiple of {multiple}\. Set INPUT\.HEIGHT={multiple}"
    ):
        build(name, input_shape=(multiple // 2, 64, 3))


def test_answer_has_full_resolution_although_the_encoder_starts_at_half():
    model = build("resnet50", input_shape=(None, None, 3), deep_supervision=True)
    answers = model(np.zeros((1, 32, 64, 3), np.float32))
    assert [answer.shape for answer in answers] == [(1, 32, 64, 1)] * 5


def test_encoders_are_2d():
    with pytest.raises(ValueError, match="vgg16 is a 2D encoder, but the input has 3 spatial axes"):
        encoder_taps(keras.Input((32, 32, 32, 1)), name="vgg16")


def test_strides_do_not_apply_to_an_encoder():
    with pytest.raises(ValueError, match=r"MODEL\.STRIDES does not apply to MODEL\.BACKBONE\.TYPE=vgg16"):
        build("vgg16", strides=[1, 2])


def test_weights_come_from_a_file(tmp_path):
    source = keras.applications.VGG16(include_top=False, weights=None)
    file = tmp_path / "vgg16.weights.h5"
    source.save_weights(file)
    model = build("vgg16", backbone_weights=str(file))
    np.testing.assert_array_equal(model.get_layer("block5_conv3").kernel, source.get_layer("block5_conv3").kernel)
    assert "imagenet_normalization" in [layer.name for layer in model.layers]


def test_random_weights_leave_the_input_alone():
    assert "imagenet_normalization" not in [layer.name for layer in build("vgg16").layers]


def test_weights_file_that_is_not_there_is_one_line():
    with pytest.raises(ValueError, match=r"MODEL\.BACKBONE\.WEIGHTS=/nowhere\.h5 is no file\. Give null, imagenet"):
        build("vgg16", backbone_weights="/nowhere.h5")


def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save_weights(file)
    with pytest.raises(ValueError, match=rf"MODEL\.BACKBONE\.WEIGHTS={file} does not fit vgg16: [^\n]*$"):
        build("vgg16", backbone_weights=str(file))


def test_without_network_the_download_is_answered_in_one_line(monkeypatch):
    def offline(**options):
        raise Exception("URL fetch failure on https://host/vgg16.h5: None -- [Errno -3]")

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    with pytest.raises(
        ValueError, match=r"ImageNet weights of vgg16 could not be downloaded[^\n]*BACKBONE\.WEIGHTS=null"
    ):
        build("vgg16", backbone_weights="imagenet")


def test_weights_need_one_or_three_channels(tmp_path):
    with pytest.raises(ValueError, match=r"1 or 3 channels, but the input has 5\. Set INPUT\.CHANNELS=3"):
        build("vgg16", input_shape=(32, 32, 5), backbone_weights="imagenet")


def test_the_papers_encoder_has_no_weights():
    with pytest.raises(ValueError, match=r"no published weights: set MODEL\.BACKBONE\.TYPE=vgg19"):
        build(None, input_shape=(16, 16, 3), filters=[2, 3], backbone_weights="imagenet")


def test_caffe_normalisation_is_blue_green_red_on_255_minus_means():
    # Red 1, green 0, blue 0 becomes (0 - 103.939, 0 - 116.779, 255 - 123.68).
    pixel = np.array([1.0, 0.0, 0.0], np.float32).reshape(1, 1, 1, 3)
    answer = np.ravel(ImageNetNormalization("caffe")(pixel))
    np.testing.assert_allclose(answer, [-103.939, -116.779, 131.32], rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "expected"), [("tf", [1.0] * 3), ("none", [1.0] * 3), ("torch", [2.2489, 2.4286, 2.64])]
)
def test_other_normalisations_of_white(mode, expected):
    white = np.ones((1, 1, 1, 1), np.float32)
    np.testing.assert_allclose(np.ravel(ImageNetNormalization(mode)(white)) * np.ones(3), expected, rtol=1e-4)


def test_normalisation_comes_back_from_its_configuration():
    assert ImageNetNormalization.from_config(ImageNetNormalization("torch").get_config()).mode == "torch"
