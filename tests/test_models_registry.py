import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from models import MODELS, build_model, check_options, inference_model, model_options

TINY = {"input_shape": (16, 16, 1), "num_classes": 2, "filters": [2, 3, 4]}


@pytest.mark.parametrize("type", MODELS)
def test_options_of_every_model_are_read_from_its_signature(type):
    options = model_options(type)
    assert options
    assert "input_shape" not in options
    assert "num_classes" not in options


def test_names_and_options_are_answered_without_keras(project):
    code = (
        "import sys, models; models.model_options('unet3plus'); "
        "models.check_options('unet3plus', {'filters': [1, 2]}); sys.exit('keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=project, check=False).returncode == 0


def test_options_are_read_in_milliseconds():
    start = time.perf_counter()
    model_options("unet3plus")
    assert time.perf_counter() - start < 0.05


def test_presets_are_the_defaults_of_their_names():
    assert not model_options("unet3plus")["deep_supervision"]
    assert model_options("unet3plus_deepsup")["deep_supervision"]
    assert model_options("unet3plus_deepsup_cgm")["classification_guided"]


def test_misspelt_type_is_answered_with_the_near_one():
    with pytest.raises(ValueError, match=r"MODEL\.TYPE=unet3pluss\. Did you mean unet3plus\?.* universal_unet"):
        build_model("unet3pluss", input_shape=(16, 16, 1), num_classes=2)


def test_misspelt_option_is_answered_with_the_near_one():
    with pytest.raises(ValueError, match=r"no option MODEL\.DEEP_SUPERVISON\. Did you mean deep_supervision\?"):
        check_options("unet3plus", {"deep_supervison": True})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("deep_supervision", "yes", "bool"),
        ("gate_training", "sofd", "'soft'"),
        ("filters", 32, "list"),
        ("norm_epsilon", "small", "float"),
        ("norm_epsilon", True, "float"),
    ],
)
def test_wrong_type_of_an_option_is_refused_with_what_holds(name, value, rule):
    with pytest.raises(ValueError, match=rf"MODEL\.{name.upper()}={value} .* must be .*{rule}"):
        check_options("unet3plus", {name: value})


@pytest.mark.parametrize("value", ["soft", "hard", "none"])
def test_allowed_choices_pass(value):
    check_options("unet3plus", {"gate_training": value})


def test_missing_required_option_is_named():
    with pytest.raises(ValueError, match=r"universal_unet needs MODEL\.DOMAINS"):
        check_options("universal_unet", {})


@pytest.mark.parametrize("classes", [None, 0])
def test_number_of_classes_is_needed(classes):
    with pytest.raises(ValueError, match=r"Set OUTPUT\.CLASSES"):
        build_model("unet3plus", input_shape=(16, 16, 1), num_classes=classes)


def test_network_of_domains_takes_no_number_of_classes():
    domains = [{"name": "a", "channels": 1, "classes": 2}]
    with pytest.raises(ValueError, match="from its domains"):
        build_model("universal_unet", input_shape=(16, 16, 16), num_classes=2, domains=domains)


@pytest.mark.parametrize("type", ["unet3plus", "unet3plus_deepsup", "unet3plus_deepsup_cgm"])
def test_model_is_named_after_its_type(type):
    assert build_model(type, **TINY).name == type


def test_a_preset_can_be_overridden():
    assert len(build_model("unet3plus_deepsup", deep_supervision=False, **TINY).outputs) == 1


def test_inference_keeps_the_finest_output_and_its_values():
    model = build_model("unet3plus_deepsup", **TINY)
    image = np.ones((1, 16, 16, 1), np.float32)
    answer = inference_model(model)
    assert answer.name == "unet3plus_deepsup"
    np.testing.assert_array_equal(answer(image), model(image)[0])
    assert answer.count_params() < model.count_params()


def test_inference_keeps_the_class_logits_of_a_guided_network():
    model = inference_model(build_model("unet3plus_deepsup_cgm", **TINY))
    assert [output.shape for output in model.outputs] == [(None, 16, 16, 2), (None, 2)]


def test_inference_of_a_single_output_is_the_model_itself():
    model = build_model("unet3plus", **TINY)
    assert inference_model(model) is model


def test_inference_of_several_domains_is_the_model_itself():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    model = keras.Model(inputs, [keras.layers.Dense(1)(x) for x in inputs])
    assert inference_model(model) is model
