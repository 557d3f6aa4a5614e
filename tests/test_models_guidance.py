import keras
import numpy as np
import pytest
from keras import ops

from models import build_model, inference_model
from models.guidance import ClassificationGate


def probabilities(logits):
    return np.asarray(ops.sigmoid(logits) if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1))


def decision(g):
    """Class logits whose softmax gives g to "something"."""
    return np.array([[0.0, np.log(g) - np.log1p(-g)]], np.float32)


def test_soft_gate_of_one_class_multiplies_the_probability():
    # g = 1/4, p = sigmoid(0) = 1/2: 1/8.
    gated = ClassificationGate()(np.zeros((1, 2, 2, 1), np.float32), decision(0.25), training=True)
    np.testing.assert_allclose(probabilities(gated), 1 / 8, rtol=1e-5)


def test_soft_gate_of_several_classes_gives_the_rest_to_the_background():
    # g = 1/4, softmax = (1/2, 1/4, 1/4): foreground 1/16 each, background 1/8 + 3/4.
    logits = np.log([[[[2.0, 1.0, 1.0]]]]).astype(np.float32)
    gated = ClassificationGate()(logits, decision(0.25), training=True)
    np.testing.assert_allclose(probabilities(gated).ravel(), [7 / 8, 1 / 16, 1 / 16], rtol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_closed_gate_gives_an_empty_mask(rng, classes):
    logits = rng.normal(0, 20, (1, 4, 4, classes)).astype(np.float32)
    gated = ClassificationGate()(logits, decision(0.499), training=False)
    assert np.isfinite(np.asarray(gated)).all()
    foreground = probabilities(gated) if classes == 1 else probabilities(gated)[..., 1:]
    assert foreground.max() == 0.0


@pytest.mark.parametrize("classes", [1, 3])
def test_open_gate_changes_nothing(rng, classes):
    logits = rng.normal(0, 20, (1, 4, 4, classes)).astype(np.float32)
    gated = ClassificationGate()(logits, decision(0.501), training=False)
    np.testing.assert_allclose(probabilities(gated), probabilities(logits), atol=1e-6)


def test_every_image_has_its_own_gate():
    gated = ClassificationGate()(np.zeros((2, 2, 2, 1), np.float32), np.array([[5, 0], [0, 5.0]]), training=False)
    assert probabilities(gated)[:, 0, 0, 0].tolist() == [0.0, 0.5]


def test_threshold_moves_the_decision():
    gated = ClassificationGate(threshold=0.2)(np.zeros((1, 1, 1, 1), np.float32), decision(0.25), training=False)
    assert probabilities(gated).item() == pytest.approx(0.5)


def test_training_gates():
    logits = np.zeros((1, 1, 1, 1), np.float32)
    hard = ClassificationGate(training_gate="hard")(logits, decision(0.25), training=True)
    none = ClassificationGate(training_gate="none")(logits, decision(0.25), training=True)
    assert probabilities(hard).item() == 0.0
    assert probabilities(none).item() == 0.5


def test_gate_keeps_float32_logits_under_mixed_precision():
    # 1.001 is no bfloat16: an open gate that gives it back never left float32.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        gate = ClassificationGate()
    finally:
        keras.config.set_dtype_policy(policy)
    answer = gate(np.full((1, 1, 1, 1), 1.001, np.float32), decision(0.9), training=False)
    assert keras.backend.standardize_dtype(answer.dtype) == "float32"
    assert np.asarray(answer).item() == pytest.approx(1.001, abs=1e-5)


def test_gate_takes_half_precision():
    gate = ClassificationGate()
    answer = gate(ops.zeros((1, 2, 2, 2), "bfloat16"), ops.cast(decision(0.25), "float16"), training=True)
    assert keras.backend.standardize_dtype(answer.dtype) == "float32"


def test_gate_comes_back_from_its_configuration():
    gate = ClassificationGate.from_config(ClassificationGate(threshold=0.3, detached=False).get_config())
    assert (gate.threshold, gate.training_gate, gate.detached) == (0.3, "soft", False)


def tiny(**options):
    size = {"input_shape": (None, None, 1), "num_classes": 1, "filters": [2, 3, 4]}
    return build_model("unet3plus_deepsup_cgm", **(size | options))


def class_kernel_gradient(model, loss):
    """Gradient of the class convolution's kernel, flat; None where no path leads to it."""
    variable = model.get_layer("class_conv").kernel
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype(np.float32)
    if keras.backend.backend() == "jax":
        import jax

        position = next(i for i, v in enumerate(model.trainable_variables) if v is variable)

        def scalar(values):
            frozen = [v.value for v in model.non_trainable_variables]
            return loss(model.stateless_call(values, frozen, image, training=True)[0])

        gradient = jax.grad(scalar)([v.value for v in model.trainable_variables])[position]
        return None if not np.any(gradient) else np.ravel(gradient)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss(model(image, training=True))
    gradient = tape.gradient(value, variable)
    return None if gradient is None else np.ravel(gradient)


def test_gradient_reaches_the_class_convolution_through_its_own_loss():
    gradient = class_kernel_gradient(tiny(), lambda y: ops.sum(ops.softplus(y[-1])))
    assert gradient is not None
    assert np.abs(gradient).max() > 0


def test_segmentation_loss_leaves_the_classifier_alone_unless_asked():
    def segmentation(outputs):
        return ops.sum(ops.sigmoid(outputs[0]))

    assert class_kernel_gradient(tiny(), segmentation) is None
    attached = class_kernel_gradient(tiny(gate_detached=False), segmentation)
    assert attached is not None
    assert np.abs(attached).max() > 0


def test_all_side_outputs_are_gated_and_class_logits_come_last():
    model = tiny(num_classes=2)
    model.get_layer("class_conv").kernel.assign(np.zeros((1, 1, 4, 2)))
    model.get_layer("class_conv").bias.assign([9.0, -9.0])
    *masks, decided = model(np.ones((2, 8, 12, 1), np.float32), training=False)
    assert decided.shape == (2, 2)
    assert len(masks) == 3
    assert all(probabilities(mask)[..., 1].max() == 0 for mask in masks)


def test_guided_network_takes_any_size_in_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = inference_model(tiny(num_classes=3))
    finally:
        keras.config.set_dtype_policy(policy)
    for size in ((8, 8), (4, 20)):
        mask, decided = model(np.ones((1, *size, 1), np.float32))
        assert mask.shape == (1, *size, 3)
        assert {keras.backend.standardize_dtype(a.dtype) for a in (mask, decided)} == {"float32"}
