"""What every loss of the table promises, whichever it is."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from losses import LOSSES, build_loss

NAMES = sorted(LOSSES)
REGIONS = [[1, 2], [2]]
KINDS = {"sigmoid": (1, None), "softmax": (3, None), "regions": (2, REGIONS)}


def case(rng, *, channels, space=(24, 20), batch=2, largest=2):
    label = rng.integers(0, largest + 1, (batch, *space, 1)).astype("uint8")
    return label, rng.normal(size=(batch, *space, channels)).astype("float32")


def value(name, label, logits, **options):
    return float(build_loss(name, **options)(label, logits))


def gradient(loss, label, logits):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with TensorFlow here; a JAX process of its own takes them below")
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        result = loss(label, logits)
    return np.asarray(tape.gradient(result, logits))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_scalar_in_float32(name, kind, rng):
    channels, regions = KINDS[kind]
    label, logits = case(rng, channels=channels)
    result = build_loss(name, regions=regions)(label, logits)
    assert tuple(result.shape) == ()
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    assert np.isfinite(float(result))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_ignored_voxels_leak_neither_value_nor_gradient(name, kind, rng):
    channels, regions = KINDS[kind]
    label, logits = case(rng, channels=channels)
    label[:, :6] = 255
    wild = logits.copy()
    wild[:, :6] = 50.0
    wild[:, 2] = np.nan
    loss = build_loss(name, regions=regions)
    assert float(loss(label, wild)) == pytest.approx(float(loss(label, logits)), rel=1e-6)
    slope = gradient(loss, label, wild)
    assert np.isfinite(slope).all()
    assert not slope[:, :6].any()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"ms_ssim", "unet3plus_hybrid"}))
@pytest.mark.parametrize("kind", KINDS)
def test_ignored_voxels_are_as_if_cut_away(name, kind, rng):
    channels, regions = KINDS[kind]
    label, logits = case(rng, channels=channels)
    label[:, :6] = 255
    loss = build_loss(name, regions=regions)
    assert float(loss(label, logits)) == pytest.approx(float(loss(label[:, 6:], logits[:, 6:])), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_ms_ssim_sees_ignored_voxels_as_background_of_both_maps(kind, rng):
    channels, regions = KINDS[kind]
    label, logits = case(rng, channels=channels)
    ignored, certain = label.copy(), logits.copy()
    ignored[:, :6], label[:, :6] = 255, 0
    certain[:, :6] = [60.0, -60.0, -60.0] if channels == 3 else -60.0
    loss = build_loss("ms_ssim", regions=regions)
    assert float(loss(ignored, logits)) == pytest.approx(float(loss(label, certain)), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_another_ignore_label(name, rng):
    label, logits = case(rng, channels=3)
    marked = np.where(label == 2, 9, label)
    assert value(name, marked, logits, ignore_label=9) == pytest.approx(
        value(name, np.where(label == 2, 255, label), logits)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_ignored_is_finite(name, kind, rng):
    channels, regions = KINDS[kind]
    label, logits = case(rng, channels=channels)
    label[:] = 255
    loss = build_loss(name, regions=regions)
    assert np.isfinite(float(loss(label, logits)))
    assert not gradient(loss, label, logits).any()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_computed_in_float32(name, rng):
    # Exactly representable in float16, so the two values may differ by float32 rounding only.
    label, logits = case(rng, channels=3)
    half = logits.astype("float16")
    assert value(name, label, half) == pytest.approx(value(name, label, half.astype("float32")), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [60.0, 3e4])
def test_extreme_half_precision_logits_are_finite(name, size, rng):
    label, logits = case(rng, channels=3)
    extreme = (np.sign(logits) * size).astype("float16")
    loss = build_loss(name)
    assert np.isfinite(float(loss(label, extreme)))
    assert np.isfinite(gradient(loss, label, extreme)).all()


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_policy_changes_nothing(name, rng):
    label, logits = case(rng, channels=3)
    expected = value(name, label, logits)
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert value(name, label, logits) == expected
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("name", NAMES)
def test_another_default_float_changes_nothing(name, rng):
    label, logits = case(rng, channels=3)
    expected = value(name, label, logits)
    keras.config.set_floatx("float16")
    try:
        assert value(name, label, logits) == expected
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("name", NAMES)
def test_three_dimensions(name, rng):
    label, logits = case(rng, channels=3, space=(12, 11, 13), batch=1)
    assert np.isfinite(value(name, label, logits))


@pytest.mark.parametrize("name", NAMES)
def test_swapping_two_axes_of_both_changes_nothing(name, rng):
    # Labels transposed against logits must change the value, both transposed must not.
    label, logits = case(rng, channels=3, space=(22, 22))
    label = np.tril(np.ones((22, 22), int))[None, ..., None] * (1 + label % 2)
    logits = np.where(label == np.arange(3), 3.0, 0.0).astype("float32") + 0.1 * logits
    both = value(name, label.swapaxes(1, 2), logits.swapaxes(1, 2))
    assert both == pytest.approx(value(name, label, logits), rel=1e-5, abs=1e-6)
    assert value(name, label.swapaxes(1, 2), logits) > both + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_right_and_certain_answer_is_the_minimum(name, rng):
    label, _ = case(rng, channels=3)
    perfect = np.where(label == np.arange(3), 30.0, -30.0).astype("float32")
    least = -1.0 if name == "dice_ce" else 0.0
    assert value(name, label, perfect) == pytest.approx(least, abs=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_more_certain_in_the_right_direction_costs_less(name, rng):
    label, logits = case(rng, channels=3)
    better = logits + np.where(label == np.arange(3), 1.0, 0.0).astype("float32")
    assert value(name, label, better) < value(name, label, logits)


SEPARABLE = {
    "soft_dice": {},
    "squared_dice": {},
    "tversky": {},
    "ms_ssim": {},
    "iou": {"empty": "keep"},
    "cross_entropy": {},
    "focal": {},
    "dice_ce": {},
    "squared_dice_ce": {},
    "unet3plus_hybrid": {"empty": "keep"},
    "lovasz_softmax": {"per_image": True},
}


@pytest.mark.parametrize("name", SEPARABLE)
def test_the_mean_over_two_halves_of_a_batch_is_the_value_of_the_batch(name, rng):
    label, logits = case(rng, channels=3, batch=4)
    label[0] = 0
    halves = [value(name, label[i], logits[i], **SEPARABLE[name]) for i in (slice(0, 2), slice(2, 4))]
    assert np.mean(halves) == pytest.approx(value(name, label, logits, **SEPARABLE[name]), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_xla_gives_the_same_value(name, rng):
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA through tf.function needs the TensorFlow backend")
    label, logits = case(rng, channels=3)
    loss = build_loss(name)
    compiled = tf.function(loss, jit_compile=True)
    assert float(compiled(label, tf.constant(logits))) == pytest.approx(float(loss(label, logits)), rel=1e-5)


JAX_PROGRAM = """
import json, sys
import jax, numpy as np
from losses import LOSSES, build_loss
data = np.load(sys.argv[1])
result = {}
for name in sorted(LOSSES):
    loss = build_loss(name)
    value, slope = jax.jit(jax.value_and_grad(lambda z: loss(data["label"], z)))(data["logits"])
    result[name] = [float(value), bool(np.isfinite(slope).all())]
result["tensorflow"] = "tensorflow" in sys.modules
print(json.dumps(result))
"""


def test_jax_gives_the_same_values_without_tensorflow(rng, tmp_path, project):
    pytest.importorskip("jax")
    label, logits = case(rng, channels=3)
    np.savez(tmp_path / "case.npz", label=label, logits=logits)
    done = subprocess.run(
        [sys.executable, "-c", JAX_PROGRAM, str(tmp_path / "case.npz")],
        cwd=project,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert not result.pop("tensorflow")
    for name, (number, finite) in result.items():
        assert number == pytest.approx(value(name, label, logits), rel=1e-5), name
        assert finite, name
