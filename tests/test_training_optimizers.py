"""Updates worked by hand, and against what PyTorch's rules give."""

import keras
import numpy as np
import pytest

from training.optimizers import OptimizerChoice, build_optimizer


def steps(choice: OptimizerChoice, gradients: list[float], *, start: float = 1.0, rate: float = 0.1) -> list[float]:
    """Values of one weight after each gradient."""
    weight = keras.Variable([start])
    optimizer = build_optimizer(choice, learning_rate=rate)
    optimizer.build([weight])
    values = []
    for gradient in gradients:
        optimizer.apply_gradients([(keras.ops.convert_to_tensor([gradient]), weight)])
        values.append(float(weight.numpy()[0]))
    return values


def test_plain_sgd():
    assert steps(OptimizerChoice("sgd", momentum=0.0), [1.0, 2.0]) == pytest.approx([0.9, 0.7])


def test_coupled_decay_goes_through_the_momentum():
    # Gradient 0, momentum 0.5, rate 0.1, decay 1: v1 = 1, w = 0.9; v2 = 0.5 + 0.9 = 1.4, w = 0.76.
    choice = OptimizerChoice("sgd", momentum=0.5, nesterov=False, weight_decay=1.0, coupled=True)
    assert steps(choice, [0.0, 0.0]) == pytest.approx([0.9, 0.76])


def test_decoupled_decay_does_not():
    # w <- w - 0.1 * 1 * w, twice.
    choice = OptimizerChoice("sgd", momentum=0.5, nesterov=False, weight_decay=1.0)
    assert steps(choice, [0.0, 0.0]) == pytest.approx([0.9, 0.81])


def test_nnunet_decay_shrinks_a_weight_as_pytorch_does():
    # 1000 steps without gradient: PyTorch's rule takes 2.68 %, the decoupled one 0.030 %.
    choice = OptimizerChoice("sgd", momentum=0.99, weight_decay=3e-5, coupled=True)
    assert 1.0 - steps(choice, [0.0] * 1000, rate=0.01)[-1] == pytest.approx(0.0268, abs=5e-4)


def test_decay_is_added_after_clipping():
    # The gradient 10 is clipped to 1, then 0.5 * w is added: w = 1 - 0.1 * 1.5.
    choice = OptimizerChoice("sgd", momentum=0.0, weight_decay=0.5, coupled=True, clip_norm=1.0)
    assert steps(choice, [10.0]) == pytest.approx([0.85])


def test_clipping_is_by_the_norm_of_all_gradients():
    first, second = keras.Variable([0.0]), keras.Variable([0.0])
    optimizer = build_optimizer(OptimizerChoice("sgd", momentum=0.0, clip_norm=5.0), learning_rate=1.0)
    optimizer.build([first, second])
    gradients = [keras.ops.convert_to_tensor([value]) for value in (6.0, 8.0)]
    optimizer.apply_gradients(zip(gradients, [first, second], strict=True))
    # The norm is 10: both are halved.
    assert [float(first.numpy()[0]), float(second.numpy()[0])] == pytest.approx([-3.0, -4.0])


def test_accumulated_gradients_are_averaged():
    choice = OptimizerChoice("sgd", momentum=0.0, accumulation_steps=2)
    assert steps(choice, [1.0, 3.0, 0.0, 4.0]) == pytest.approx([1.0, 0.8, 0.8, 0.6])


def test_adamw_decays_apart_from_the_gradient():
    # Adam's first step is rate * sign(gradient): w = 1 - 0.1 * 0.5 * 1 - 0.1.
    assert steps(OptimizerChoice("adamw", weight_decay=0.5), [3.0]) == pytest.approx([0.85], abs=1e-5)


def test_adam_with_coupled_decay_rescales_it():
    # The decay alone is the gradient: the first step is the rate whatever the decay.
    assert steps(OptimizerChoice("adam", weight_decay=0.5, coupled=True), [0.0]) == pytest.approx([0.9], abs=1e-5)


def test_the_end_of_training_leaves_the_weights_alone():
    weight = keras.Variable([1.0])
    optimizer = build_optimizer(OptimizerChoice("sgd", momentum=0.0, ema=0.9), learning_rate=0.1)
    optimizer.build([weight])
    for _ in range(3):
        optimizer.apply_gradients([(keras.ops.convert_to_tensor([1.0]), weight)])
    optimizer.finalize_variable_values([weight])
    np.testing.assert_allclose(weight.numpy(), [0.7], rtol=1e-6)


def test_mistakes_are_answered():
    with pytest.raises(ValueError, match="sgd, adam or adamw"):
        build_optimizer(OptimizerChoice("lion"), learning_rate=0.1)
    with pytest.raises(ValueError, match="decoupled"):
        build_optimizer(OptimizerChoice("adamw", coupled=True), learning_rate=0.1)
