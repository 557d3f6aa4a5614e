"""Streaming Dice: a confusion sum over everything seen, exact, foreground only."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from metrics.streaming import StreamingDice


def one_hot(labels, classes):
    return np.where(np.asarray(labels)[..., None] == np.arange(classes), 5.0, 0.0).astype("float32")


def row(values):
    return np.asarray(values)[None, None, :, None]


def test_worked_by_hand():
    # Class 1: both 1, predicted 2, reference 1: 2/3. Class 2: 1, 1, 2: 2/3.
    metric = StreamingDice(3)
    metric.update_state(row([0, 1, 2, 2]), one_hot([[[0, 1, 1, 2]]], 3))
    assert np.asarray(metric.per_class()) == pytest.approx([2 / 3, 2 / 3])
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_background_does_not_count():
    metric = StreamingDice(2)
    metric.update_state(row([0] * 99 + [1]), one_hot([[[0] * 100]], 2))
    assert float(metric.result()) == 0.0


def test_sums_over_batches_and_not_means_of_batches():
    # Batch 1: both 1, 1 + 1. Batch 2: both 1, 3 + 1. Sum 4/6; the mean of batches would be (1 + 2/4) / 2.
    metric = StreamingDice(1)
    metric.update_state(row([1, 0, 0]), np.array([5, -5, -5.0]).reshape(1, 1, 3, 1))
    metric.update_state(row([1, 0, 0]), np.array([5, 5, 5.0]).reshape(1, 1, 3, 1))
    assert float(metric.result()) == pytest.approx(4 / 6)
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_ignored_voxels_do_not_count():
    metric = StreamingDice(2)
    metric.update_state(row([1, 255, 255, 0]), one_hot([[[1, 1, 0, 0]]], 2))
    assert float(metric.result()) == 1.0


def test_one_sigmoid_takes_any_label_as_foreground():
    metric = StreamingDice(1, class_names=["liver"])
    metric.update_state(row([1, 2, 0]), np.array([0.1, 0.1, -0.1]).reshape(1, 1, 3, 1))
    assert metric.per_class_by_name() == {"liver": 1.0}


def test_regions_overlap():
    # Whole = {1, 2}, core = {2}: predicted whole everywhere, core nowhere.
    metric = StreamingDice(2, regions=[[1, 2], [2]], class_names=["whole", "core"])
    metric.update_state(row([1, 2, 0]), np.array([[1, -1], [1, -1], [1, -1.0]]).reshape(1, 1, 3, 2))
    assert metric.per_class_by_name() == pytest.approx({"whole": 4 / 5, "core": 0.0})


def test_a_class_never_seen_is_nan_and_left_out_of_the_mean():
    metric = StreamingDice(3)
    metric.update_state(row([0, 1]), one_hot([[[0, 1]]], 3))
    assert np.isnan(np.asarray(metric.per_class())[1])
    assert float(metric.result()) == 1.0


def test_of_several_outputs_the_first_counts():
    metric = StreamingDice(2)
    metric.update_state(row([0, 1]), [one_hot([[[0, 1]]], 2), one_hot([[[1]]], 2)])
    assert float(metric.result()) == 1.0


def test_counts_stay_exact_beyond_float32():
    # 17 times 1024^2 voxels is 17,825,792 > 2^24; one false voxel in each batch must not vanish.
    metric = StreamingDice(1)
    label = np.ones((1, 1024, 1024, 1), "uint8")
    logits = np.ones((1, 1024, 1024, 1), "float32")
    logits[0, 0, 0] = -1
    for _ in range(17):
        metric.update_state(label, logits)
    limbs = np.asarray(metric.counts, "float64")[:, 0]
    n = 1024 * 1024
    assert (limbs[:, 0] + 4096 * limbs[:, 1]).tolist() == [17 * (n - 1), 17 * (n - 1), 17 * n]


def test_one_large_batch_is_counted_exactly():
    # 3 * 2365^2 = 16,779,675 > 2^24, an odd number: a float32 sum would be even.
    label = np.ones((1, 3, 2365, 2365, 1), "bool")
    label[0, 0, 0, 0] = False
    metric = StreamingDice(1)
    metric.update_state(label, np.ones(label.shape, "float16"))
    limbs = np.asarray(metric.counts, "float64")[:, 0]
    assert (limbs[:, 0] + 4096 * limbs[:, 1]).tolist() == [label.size - 1, label.size, label.size - 1]


def test_half_precision_policy_keeps_float32_counts():
    keras.mixed_precision.set_global_policy("mixed_float16")
    keras.config.set_floatx("float16")
    try:
        metric = StreamingDice(2)
        assert keras.backend.standardize_dtype(metric.counts.dtype) == "float32"
    finally:
        keras.config.set_floatx("float32")
        keras.mixed_precision.set_global_policy("float32")


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="1 class names \\['liver'\\] are given, but 2 classes are scored"):
        StreamingDice(3, class_names=["liver"])
    with pytest.raises(ValueError, match="1 regions are declared for 2 channels"):
        StreamingDice(2, regions=[[1]])
    with pytest.raises(ValueError, match="no sample_weight"):
        StreamingDice(1).update_state(row([1]), np.ones((1, 1, 1, 1)), sample_weight=1.0)


def test_it_can_be_rebuilt_from_its_config():
    metric = StreamingDice(2, regions=[[1, 2], [2]], class_names=["whole", "core"], ignore_label=9)
    again = StreamingDice.from_config(metric.get_config())
    assert again.get_config() == metric.get_config()


MIRRORED = """
import json
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from metrics.streaming import StreamingDice
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
label = rng.integers(0, 3, (4, 8, 8, 1)).astype("uint8")
logits = rng.normal(size=(4, 8, 8, 3)).astype("float32")
with strategy.scope():
    metric = StreamingDice(3)
data = tf.data.Dataset.from_tensor_slices((label, logits)).batch(4)
step = tf.function(lambda x, y: strategy.run(metric.update_state, (x, y)))
for x, y in strategy.experimental_distribute_dataset(data):
    step(x, y)
single = StreamingDice(3)
single.update_state(label, logits)
print(json.dumps([np.asarray(m.per_class()).tolist() for m in (metric, single)]))
"""

STATELESS = """
import json
import jax, numpy as np
from metrics.streaming import StreamingDice
rng = np.random.default_rng(0)
label = rng.integers(0, 3, (4, 8, 8, 1)).astype("uint8")
logits = rng.normal(size=(4, 8, 8, 3)).astype("float32")
metric, single = StreamingDice(3), StreamingDice(3)
state = metric.stateless_reset_state()
update = jax.jit(metric.stateless_update_state)
for i in range(4):
    state = update(state, label[i : i + 1], logits[i : i + 1])
single.update_state(label, logits)
print(json.dumps([[float(metric.stateless_result(state))], [float(single.result())]]))
"""


@pytest.mark.parametrize(("backend", "program"), [("tensorflow", MIRRORED), ("jax", STATELESS)])
def test_it_adds_up_over_devices_and_without_state(backend, program, project):
    pytest.importorskip(backend)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env=os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    several, single = json.loads(done.stdout.splitlines()[-1])
    assert several == pytest.approx(single)


def test_it_compiles_with_xla(rng):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA through tf.function needs the TensorFlow backend")
    label, logits = rng.integers(0, 3, (2, 8, 8, 1)), rng.normal(size=(2, 8, 8, 3)).astype("float32")
    compiled, eager = StreamingDice(3), StreamingDice(3)
    tf.function(compiled.update_state, jit_compile=True)(tf.constant(label), tf.constant(logits))
    eager.update_state(label, logits)
    assert float(compiled.result()) == pytest.approx(float(eager.result()))
