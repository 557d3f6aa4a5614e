import keras
import numpy as np
import pytest

from models import build_model
from models.basic_resnet import load_torchvision, resnet18, resnet34, state_dict_entries
from models.encoder_weights import adapt_weights
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


@pytest.mark.parametrize(("build", "parameters"), [(resnet18, 11_176_512), (resnet34, 21_284_672)])
def test_small_resnets_have_the_published_size(build, parameters):
    network = build(input_tensor=keras.Input((64, 64, 3)))
    assert sum(int(np.prod(variable.shape)) for variable in network.trainable_variables) == parameters


def test_torchvision_weights_of_resnet18_load_from_a_file(tmp_path, rng):
    keys = {
        entry.key: entry.variable.shape for entry in state_dict_entries(resnet18(input_tensor=keras.Input((32, 32, 3))))
    }
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.weight", "layer4.1.conv2.weight"} <= set(keys)
    assert len(keys) == 100  # 20 convolutions, 20 normalisations of four tensors
    tensors = {
        key: rng.normal(size=[shape[i] for i in ((3, 2, 0, 1) if len(shape) == 4 else range(len(shape)))])
        for key, shape in keys.items()
    }
    np.savez(tmp_path / "resnet18.npz", **tensors, **{"fc.weight": np.zeros((10, 512))})
    model = build_model(
        "unetplusplus",
        input_shape=(32, 32, 3),
        num_classes=1,
        backbone="resnet18",
        backbone_weights=str(tmp_path / "resnet18.npz"),
    )
    kernel = np.asarray(model.get_layer("conv3_block1_0_conv").kernel)
    np.testing.assert_allclose(kernel, np.transpose(tensors["layer2.0.downsample.0.weight"], (2, 3, 1, 0)), rtol=1e-6)
    del tensors["bn1.weight"]
    with pytest.raises(ValueError, match=r"bn1\.weight is missing"):
        load_torchvision(resnet18(input_tensor=keras.Input((32, 32, 3))), tensors)


def test_every_encoder_of_the_table_is_there():
    for family, sizes in {
        "vgg": (16, 19),
        "resnet": (18, 34, 50, 101, 152),
        "densenet": (121, 169, 201),
        "efficientnetb": range(8),
        "convnext_": ("tiny", "small", "base"),
    }.items():
        assert {f"{family}{size}" for size in sizes} <= set(ENCODERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_halves_from_its_first_stride(name):
    taps = encoder_taps(keras.Input((64, 96, 2)), name=name)
    stride = ENCODERS[name].first_stride
    assert [tap.shape[1:3] for tap in taps] == [(64 // stride // 2**k, 96 // stride // 2**k) for k in range(len(taps))]


@pytest.mark.parametrize("kind", ["unet", "unetplusplus"])
@pytest.mark.parametrize("depth", range(2, 7))
def test_a_decoder_over_an_encoder_has_any_depth(kind, depth):
    model = build_model(
        kind, input_shape=(64, 64, 1), num_classes=1, backbone="resnet18", filters=[2] * depth, deep_supervision=True
    )
    assert len(model.outputs) == depth
    assert model.outputs[0].shape == (None, 64, 64, 1)


def test_an_unknown_encoder_is_answered_with_the_nearest():
    for kind in ("unet", "unetplusplus", "unet3plus"):
        with pytest.raises(ValueError, match=r"MODEL\.BACKBONE\.TYPE=resnet343\. Did you mean resnet34"):
            build_model(kind, input_shape=(64, 64, 1), num_classes=1, backbone="resnet343")


def test_unet3plus_runs_over_the_same_table():
    model = build("resnet34", input_shape=(32, 32, 2))
    assert model(np.zeros((1, 32, 32, 2), np.float32)).shape == (1, 32, 32, 1)


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


def test_equal_channels_answer_as_three_equal_ones(tmp_path, rng):
    # Weights see two equal channels as they see a grey picture; only the mean subtracted from each differs a little.
    source = keras.applications.VGG16(include_top=False, weights=None)
    source.save_weights(tmp_path / "vgg16.weights.h5")
    grey = rng.random((1, 32, 32, 1)).astype(np.float32)
    first = []
    for channels in (1, 2, 3):
        image = keras.Input((32, 32, channels))
        tap = encoder_taps(image, name="vgg16", weights=str(tmp_path / "vgg16.weights.h5"))[0]
        first.append(np.ravel(keras.Model(image, tap)(np.repeat(grey, channels, -1))))
    np.testing.assert_array_equal(first[0], first[2])
    assert np.corrcoef(first[1], first[2])[0, 1] > 0.98


def test_the_kernel_of_other_channels_is_the_mean_that_keeps_the_sum():
    # Kernels 1, 2, 6 over three channels sum to 9: over two channels 4.5 each, over four 2.25 each.
    def network(channels):
        return keras.Sequential([keras.Input((4, 4, channels)), keras.layers.Conv2D(1, 1, use_bias=False)])

    source = network(3)
    source.set_weights([np.array([1.0, 2.0, 6.0], np.float32).reshape(1, 1, 3, 1)])
    for channels, expected in ((2, 4.5), (4, 2.25)):
        target = network(channels)
        adapt_weights(source, target)
        np.testing.assert_allclose(np.ravel(target.get_weights()[0]), [expected] * channels)


def test_the_papers_encoder_has_no_weights():
    with pytest.raises(ValueError, match=r"no published weights: set MODEL\.BACKBONE\.TYPE=vgg19"):
        build(None, input_shape=(16, 16, 3), filters=[2, 3], backbone_weights="imagenet")


def test_caffe_normalisation_is_blue_green_red_on_255_minus_means():
    # Red 1, green 0, blue 0 becomes (0 - 103.939, 0 - 116.779, 255 - 123.68).
    pixel = np.array([1.0, 0.0, 0.0], np.float32).reshape(1, 1, 1, 3)
    answer = np.ravel(ImageNetNormalization("caffe")(pixel))
    np.testing.assert_allclose(answer, [-103.939, -116.779, 131.32], rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("tf", [1.0] * 3),
        ("none", [1.0] * 3),
        ("torch", [2.2489, 2.4286, 2.64]),
        # The network then divides by 255, subtracts the mean and divides by the root of the deviation: 2.2489 again.
        ("efficientnet", [255 * (0.485 + 2.2489 * 0.229**0.5), 255 * (0.456 + 2.4286 * 0.224**0.5), 422.857]),
    ],
)
def test_other_normalisations_of_white(mode, expected):
    white = np.ones((1, 1, 1, 1), np.float32)
    np.testing.assert_allclose(np.ravel(ImageNetNormalization(mode)(white)) * np.ones(3), expected, rtol=1e-4)


def test_normalisation_comes_back_from_its_configuration():
    assert ImageNetNormalization.from_config(ImageNetNormalization("torch").get_config()).mode == "torch"
