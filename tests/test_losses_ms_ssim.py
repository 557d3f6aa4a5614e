"""MS-SSIM: equal to TensorFlow's where that is finite, finite where it is not."""

import numpy as np
import pytest

from losses import build_loss

tf = pytest.importorskip("tensorflow")
SURE = 12.0


def disk(height, width, *, row, column, radius):
    y, x = np.mgrid[:height, :width]
    return (((y - row) ** 2 + (x - column) ** 2) < radius**2)[None, ..., None]


def smooth_case(rng, height, width):
    reference = disk(height, width, row=height // 2, column=width // 2, radius=height // 4)
    shifted = disk(height, width, row=height // 2 + 6, column=width // 2 - 5, radius=height // 4)
    logits = np.where(shifted, 2.0, -3.0) + 0.5 * rng.normal(size=shifted.shape)
    return reference.astype(int), logits.astype("float32")


def tensorflow_value(reference, logits, weights):
    p = tf.sigmoid(tf.constant(logits))
    return 1 - float(tf.image.ssim_multiscale(p, tf.constant(reference, tf.float32), 1.0, power_factors=weights)[0])


@pytest.mark.parametrize(("height", "width"), [(176, 192), (161, 175), (200, 161)])
def test_five_scales_equal_tensorflow(rng, height, width):
    reference, logits = smooth_case(rng, height, width)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    assert float(build_loss("ms_ssim")(reference, logits)) == pytest.approx(
        tensorflow_value(reference, logits, weights), abs=2e-5
    )


@pytest.mark.parametrize(("size", "scales"), [(160, 4), (81, 4), (80, 3), (64, 3), (21, 2), (20, 1), (11, 1)])
def test_smaller_images_use_fewer_scales_with_weights_of_sum_one(rng, size, scales):
    reference, logits = smooth_case(rng, size, 170)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    assert float(build_loss("ms_ssim")(reference, logits)) == pytest.approx(
        tensorflow_value(reference, logits, weights / weights.sum()), abs=2e-5
    )


def test_too_few_scales_can_be_an_error(rng):
    reference, logits = smooth_case(rng, 64, 170)
    with pytest.raises(ValueError, match="allow 3 of 5 scales"):
        build_loss("ms_ssim", small="error")(reference, logits)
    build_loss("ms_ssim", small="error", scales=3)(reference, logits)


def test_an_image_smaller_than_the_window_is_refused(rng):
    with pytest.raises(ValueError, match="smaller than the 11-wide window"):
        build_loss("ms_ssim")(*smooth_case(rng, 10, 40))


def test_number_of_scales_is_checked(rng):
    with pytest.raises(ValueError, match="1 to 5 scales, not scales=6"):
        build_loss("ms_ssim", scales=6)(*smooth_case(rng, 40, 40))


def test_unknown_sizes_are_refused():
    loss = build_loss("ms_ssim")
    step = tf.function(loss)
    spec = tf.TensorSpec((1, None, None, 1), tf.float32)
    with pytest.raises(ValueError, match="known spatial shape"):
        step.get_concrete_function(spec, spec)


ORGAN = disk(176, 176, row=50, column=50, radius=25)
HARD = {
    "inverted mask": np.where(ORGAN, -SURE, SURE),
    "blob far from the organ": np.where(disk(176, 176, row=130, column=130, radius=25), SURE, -SURE),
    "constant": np.zeros((1, 176, 176, 1)),
    "nothing": np.full((1, 176, 176, 1), -SURE),
}


@pytest.mark.parametrize("kind", HARD)
def test_gradients_are_finite_and_not_all_zero(kind):
    logits = tf.constant(HARD[kind], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = build_loss("ms_ssim")(ORGAN.astype(int), logits)
    slope = np.asarray(tape.gradient(loss, logits))
    assert 0 < float(loss) <= 1
    assert np.isfinite(slope).all()
    assert slope.any()


def test_only_the_foreground_is_compared():
    # Two classes: the background's similarity does not enter, so a sigmoid of the difference gives the same value.
    logits = np.concatenate([np.zeros_like(HARD["nothing"]), np.where(ORGAN, 1.0, -2.0)], axis=-1).astype("float32")
    reference = ORGAN.astype(int)
    assert float(build_loss("ms_ssim")(reference, logits)) == pytest.approx(
        float(build_loss("ms_ssim")(reference, logits[..., 1:])), rel=1e-5
    )


def test_a_volume_constant_along_one_axis_is_its_slice(rng):
    # Filter and pooling leave what is constant along an axis as it is.
    reference, logits = smooth_case(rng, 48, 44)
    stack = [np.repeat(x[:, None], 42, axis=1) for x in (reference, logits)]
    loss = build_loss("ms_ssim")
    assert float(loss(*stack)) == pytest.approx(float(loss(reference, logits)), abs=1e-5)
