"""Augmentation: what is drawn, what is done, and that image and label stay together."""

from dataclasses import replace

import numpy as np
import pytest

from data_generators.augmentation import Augmentation, Parameters, apply, build_augmentation, check_recipe, draw
from data_generators.augmentation.intensity import (
    add_noise,
    blur,
    change_colour,
    gamma,
    gamma_inverted,
    lower_resolution,
    stretch,
)
from data_generators.augmentation.parameters import Field, rotation_matrix, rotation_range
from data_generators.augmentation.recipe import TRANSFORMS, AugmentationError, names_sides
from data_generators.augmentation.spatial import fit_centre, sampling_offsets

EVERYTHING = {name: {} for name in TRANSFORMS if name not in ("CROP", "SATURATION", "HUE")}


def always(name, **options):
    return check_recipe({name: {"PROBABILITY": 1.0, **options}})


def blob(shape, rng):
    """A smooth object whose label is where it is bright: after any transform the two still agree."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    centre = rng.uniform(-0.3, 0.3, len(shape))
    breadths = [0.1, 0.2, 0.3]
    distance = sum((axis - place) ** 2 / breadth for axis, place, breadth in zip(axes, centre, breadths, strict=False))
    image = np.exp(-distance).astype(np.float32)[..., None]
    return image, (image > 0.5).astype(np.uint8)


def disagreement(image, label):
    """Share of the object's voxels that are clearly on the wrong side of the threshold."""
    wrong = ((image > 0.65) & (label == 0)) | ((image < 0.35) & (label == 1))
    return float(wrong.sum() / max(label.sum(), 1))


# ---- drawing


def test_the_same_generator_draws_the_same_parameters():
    recipe = check_recipe(EVERYTHING)
    one, other = (draw(np.random.default_rng([1, 2, 3]), recipe, (16, 16, 16)) for _ in range(2))
    assert str(one) == str(other)


def test_frequencies_and_ranges_are_the_recipes():
    recipe = check_recipe({**EVERYTHING, "ELASTIC": {"PROBABILITY": 0.0}})
    rng = np.random.default_rng(0)
    drawn = [draw(rng, recipe, (64, 64), modalities=2) for _ in range(4000)]

    def share(happened):
        return np.mean([bool(happened(parameters)) for parameters in drawn])

    # Rotation or scaling: 1 - 0.8 * 0.8 = 0.36. Four standard errors of a share near 1/3: 4 * sqrt(0.22 / 4000) = 0.03.
    assert share(lambda p: p.matrix is not None) == pytest.approx(0.36, abs=0.03)
    assert share(lambda p: p.noise) == pytest.approx(0.1, abs=0.02)
    assert share(lambda p: p.blur) == pytest.approx(0.2, abs=0.03)
    assert share(lambda p: p.blur and p.blur[1]) == pytest.approx(0.1, abs=0.02)  # 0.2, then half per channel
    assert share(lambda p: p.brightness) == pytest.approx(0.15, abs=0.03)
    assert share(lambda p: p.contrast) == pytest.approx(0.15, abs=0.03)
    assert share(lambda p: p.zoom) == pytest.approx(0.25, abs=0.03)
    assert share(lambda p: p.gamma_inverted) == pytest.approx(0.1, abs=0.02)
    assert share(lambda p: p.gamma) == pytest.approx(0.3, abs=0.03)
    assert share(lambda p: p.flips[0]) == pytest.approx(0.5, abs=0.04)
    exponents = np.asarray([value for p in drawn if p.gamma for value in p.gamma])
    assert 0.7 <= exponents.min() < 0.72 and 1.48 < exponents.max() <= 1.5
    assert (exponents < 1).mean() == pytest.approx(0.5, abs=0.05)  # not 0.3 / 0.8
    assert max(p.noise.strength for p in drawn if p.noise) <= 0.1


def test_scaling_of_the_grid_shrinks_and_scaling_of_objects_enlarges():
    grid = draw(np.random.default_rng(0), always("SCALING", FACTOR=[2, 2]), (8, 8))
    objects = draw(np.random.default_rng(0), always("SCALING", FACTOR=[2, 2], OF="objects"), (8, 8))
    np.testing.assert_allclose(grid.matrix, 2 * np.eye(2))
    np.testing.assert_allclose(objects.matrix, 0.5 * np.eye(2))


@pytest.mark.parametrize(
    ("shape", "limit"), [((96, 96, 96), 30), ((20, 320, 256), 180), ((320, 320), 180), ((320, 160), 15)]
)
def test_rotation_follows_the_shape(shape, limit):
    assert rotation_range(check_recipe({"ROTATION": {}}), shape) == (-limit, limit)


def test_flat_patches_turn_within_slices():
    parameters = draw(np.random.default_rng(0), always("ROTATION"), (4, 16, 16))
    assert parameters.planar and parameters.matrix[0].tolist() == [1, 0, 0]
    cube = draw(np.random.default_rng(0), always("ROTATION"), (16, 16, 16))
    assert not cube.planar and abs(cube.matrix[0, 1]) > 0


def test_the_region_to_read_is_what_the_result_reaches():
    quarter = Parameters(shape=(10, 20), matrix=rotation_matrix([np.pi / 2]))
    assert quarter.read_shape == (20, 10)
    # Half sides 4.5 and 9.5, doubled: 9 and 19, so 4.5 and 9.5 voxels more on each side, rounded up to 5 and 10.
    assert Parameters(shape=(10, 20), matrix=2 * np.eye(2)).read_shape == (20, 40)
    assert Parameters(shape=(10, 20)).read_shape == (10, 20)
    assert Parameters(shape=(10, 20), elastic=Field(1.0, 0)).read_shape == (18, 28)


# ---- where voxels go


def test_a_quarter_turn_moves_every_voxel_where_it_belongs(rng):
    image = rng.random((7, 7, 2)).astype(np.float32)
    label = rng.integers(0, 3, (7, 7, 1)).astype(np.uint8)
    turned, turned_label = apply(image.copy(), label, Parameters((7, 7), rotation_matrix([np.pi / 2])))
    np.testing.assert_allclose(turned, np.rot90(image, -1), atol=1e-4)
    np.testing.assert_array_equal(turned_label, np.rot90(label, -1))


@pytest.mark.parametrize("axes", [(1, 2), (0, 2), (0, 1)])
def test_quarter_turns_of_volumes_about_each_axis(rng, axes):
    image = rng.random((6, 6, 6, 1)).astype(np.float32)
    label = rng.integers(0, 3, (6, 6, 6, 1)).astype(np.uint8)
    angles = [0.0, 0.0, 0.0]
    angles[({0, 1, 2} - set(axes)).pop()] = np.pi / 2
    turned, turned_label = apply(image.copy(), label, Parameters((6, 6, 6), rotation_matrix(angles)))
    np.testing.assert_allclose(turned, np.rot90(image, -1, axes), atol=1e-4)
    np.testing.assert_array_equal(turned_label, np.rot90(label, -1, axes))


@pytest.mark.parametrize("channels", [1, 2])
def test_volumes_are_interpolated_as_scipy_does(rng, channels):
    from scipy.ndimage import affine_transform

    image = rng.random((18, 20, 22, channels)).astype(np.float32)
    matrix = rotation_matrix([0.3, -0.2, 0.4]) * 0.9
    moved, _ = apply(image.copy(), None, Parameters((12, 12, 12), matrix))
    start = (np.array(image.shape[:3]) - 1) / 2 - matrix @ np.full(3, 5.5)
    for channel in range(channels):
        expected = affine_transform(image[..., channel], matrix, start, output_shape=(12, 12, 12), order=1)
        np.testing.assert_allclose(moved[..., channel], expected, atol=2e-2)  # OpenCV may round shares to 1/32
        assert np.abs(moved[..., channel] - expected).mean() < 4e-3


@pytest.mark.parametrize(
    ("shape", "planar"), [((24, 24), False), ((24, 24, 24), False), ((3, 24, 24), True)], ids=["2D", "3D", "in slices"]
)
def test_cubic_splines_come_nearer_to_a_smooth_image_than_lines(shape, planar):
    def wave(offsets):
        return sum(np.sin(0.6 * offset) for offset in offsets[-2:]).astype(np.float32)

    whole = [np.arange(size) - (size - 1) / 2 for size in shape]
    image = wave(np.meshgrid(*whole, indexing="ij"))[..., None]
    turn = np.eye(len(shape))
    turn[-2:, -2:] = rotation_matrix([0.4])
    wanted = Parameters(tuple([*shape[:-2], 12, 12]), turn, planar=planar)
    truth = wave(sampling_offsets(wanted))[..., None]
    errors = {
        cubic: np.abs(apply(image.copy(), None, replace(wanted, cubic=cubic))[0] - truth).max()
        for cubic in (False, True)
    }
    assert errors[False] > 0.05 and errors[True] < errors[False] / 5


def test_what_lies_outside_is_zero_for_splines_too():
    image = np.ones((4, 4, 1), np.float32)
    moved, _ = apply(image, None, Parameters((12, 12), np.eye(2) * 1.0001, cubic=True))
    assert moved[0, 0] == pytest.approx(0, abs=1e-6) and moved[6, 6] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(20, 24), (8, 20, 24)], ids=["2D", "3D"])
def test_low_resolution_by_splines_loses_less_of_a_smooth_image(shape):
    column = np.sin(0.3 * np.arange(24))
    image = np.broadcast_to(column, shape).astype(np.float32)[..., None]
    lost = [np.abs(lower_resolution(image, 1 / 3, cubic=cubic) - image)[..., 3:-3, :].mean() for cubic in (False, True)]
    assert lost[1] < lost[0] / 2


def test_long_volumes_are_laid_out_side_by_side(rng, monkeypatch):
    from data_generators.augmentation import volumes

    image = rng.random((9, 8, 7, 1)).astype(np.float32)
    label = rng.integers(0, 3, (9, 8, 7, 1)).astype(np.uint8)
    parameters = Parameters((7, 6, 5), rotation_matrix([0.2, 0.1, -0.3]) * 0.8)
    expected = apply(image.copy(), label, parameters)
    monkeypatch.setattr(volumes, "_LONGEST_SIDE", 24)
    found = apply(image.copy(), label, parameters)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("shape", [(64, 64), (32, 32, 32), (8, 48, 48)])
def test_image_and_label_move_together(rng, shape):
    recipe = check_recipe({name: {"PROBABILITY": 1.0} for name in ("ROTATION", "SCALING", "ELASTIC", "FLIP")})
    wrong = []
    for _ in range(8):
        image, label = apply(*blob(shape, rng), draw(rng, recipe, shape))
        wrong.append(disagreement(image, label))
    assert max(wrong) < 0.01, wrong


def test_a_label_moved_otherwise_would_be_noticed(rng):
    # The test above is only worth something if it fails for a label that is one flip, or two voxels, off.
    for shape in ((64, 64), (32, 32, 32)):
        image, label = blob(shape, np.random.default_rng(3))
        assert disagreement(image, label) == 0
        assert disagreement(image, label[::-1]) > 0.05
        assert disagreement(image, np.roll(label, shape[0] // 16, axis=1)) > 0.02
        assert disagreement(np.swapaxes(image, 0, 1), label) > 0.05


@pytest.mark.parametrize("shape", [(33, 40), (12, 20, 24), (4, 24, 24)])
def test_labels_are_never_interpolated(rng, shape):
    # Values 0, 1 and 200: anything between the neighbours would be a value that was never there.
    label = rng.choice([0, 1, 200], (*shape, 1)).astype(np.uint8)
    recipe = check_recipe({name: {"PROBABILITY": 1.0} for name in ("ROTATION", "SCALING", "ELASTIC", "LOW_RESOLUTION")})
    for _ in range(5):
        image = rng.random((*shape, 1)).astype(np.float32)
        _, moved = apply(image, label.copy(), draw(rng, recipe, shape))
        assert set(np.unique(moved)) <= {0, 1, 200} and moved.dtype == np.uint8


def test_what_lies_outside_is_zero_and_background_or_ignored():
    image, label = np.ones((8, 8, 1), np.float32), np.ones((8, 8, 1), np.uint8)
    shrunk = Parameters((8, 8), 2.0 * np.eye(2))
    moved, moved_label = apply(image.copy(), label, shrunk)
    assert moved[0, 0, 0] == 0 and moved_label[0, 0, 0] == 0 and moved[4, 4, 0] == 1
    assert apply(image.copy(), label, shrunk, outside_label=255)[1][0, 0, 0] == 255
    volume = Parameters((8, 8, 8), 2.0 * np.eye(3))
    cube, cube_label = np.ones((8, 8, 8, 1), np.float32), np.ones((8, 8, 8, 1), np.uint8)
    moved, moved_label = apply(cube, cube_label, volume, outside_label=255)
    assert moved[0, 0, 0, 0] == 0 and moved_label[0, 0, 0, 0] == 255 and moved_label[4, 4, 4, 0] == 1


def test_flips_mirror_just_the_axes_that_are_configured():
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
    mirrored, label = apply(image.copy(), image.astype(np.uint8), Parameters((2, 3, 4), flips=(True, False, True)))
    np.testing.assert_array_equal(mirrored, image[::-1, :, ::-1])
    np.testing.assert_array_equal(label, image[::-1, :, ::-1].astype(np.uint8))
    for _ in range(20):
        assert not draw(np.random.default_rng(_), check_recipe({"FLIP": {"AXES": ["height"]}}), (4, 4)).flips[1]


def test_left_and_right_are_not_swapped_unasked():
    assert names_sides(["left kidney"]) and names_sides(["lung_R"]) and not names_sides(["liver", "prostate", "rectum"])
    recipe = {"FLIP": {"PROBABILITY": 1.0}}
    guarded = build_augmentation(recipe, class_names=["kidney_left", "kidney_right"])
    assert guarded.draw(np.random.default_rng(0), (4, 4, 4)).flips == (True, True, False)
    asked = build_augmentation({"FLIP": {"PROBABILITY": 1.0, "LEFT_RIGHT": True}}, class_names=["kidney_left"])
    assert asked.draw(np.random.default_rng(0), (4, 4, 4)).flips == (True, True, True)


def test_centre_cuts_and_pads():
    line = np.arange(5.0)
    assert fit_centre(line, [3]).tolist() == [1, 2, 3]
    assert fit_centre(line, [8], fill=9).tolist() == [9, 9, 0, 1, 2, 3, 4, 9]
    assert fit_centre(np.ones((2, 6)), [4, 2]).sum() == 4


# ---- intensities


def test_noise_has_the_drawn_strength():
    noisy = add_noise(np.full((64, 64, 3), 5, np.float32), Field(0.1, 7))
    assert noisy.mean() == pytest.approx(5, abs=0.005) and noisy.std() == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(noisy, add_noise(np.full((64, 64, 3), 5, np.float32), Field(0.1, 7)))


@pytest.mark.parametrize("shape", [(33, 33), (17, 17, 17)])
def test_blur_spreads_a_point_by_the_given_deviations(shape):
    image = np.zeros((*shape, 1), np.float32)
    centre = tuple(size // 2 for size in shape)
    image[centre] = 1.0
    sigma = [0.6, 1.0, 0.8][: len(shape)]
    blurred = blur(image, sigma)[..., 0]
    assert blurred.sum() == pytest.approx(1.0, abs=1e-4)
    for axis, expected in enumerate(sigma):
        profile = blurred.sum(tuple(other for other in range(len(shape)) if other != axis))
        found = np.sqrt((profile * (np.arange(shape[axis]) - centre[axis]) ** 2).sum())
        assert found == pytest.approx(expected, rel=0.03)


def test_contrast_by_hand():
    image = np.array([0, 2, 4], np.float32).reshape(1, 3, 1)
    # Mean 2; distances -2, 0, 2 halved: 1, 2, 3. Times 1.5: -1, 2, 5, clamped to 0, 2, 4.
    assert stretch(image.copy(), 0.5).ravel().tolist() == [1, 2, 3]
    assert stretch(image.copy(), 1.5).ravel().tolist() == [0, 2, 4]
    assert stretch(image.copy(), 1.5, clamp=False).ravel().tolist() == [-1, 2, 5]


@pytest.mark.parametrize("change", [gamma, gamma_inverted])
def test_gamma_keeps_mean_and_deviation(rng, change):
    image = rng.random((40, 40, 2)).astype(np.float32) * 7 - 3
    changed = change(image.copy(), 1.5)
    assert changed.mean() == pytest.approx(image.mean(), abs=1e-3)
    assert changed.std() == pytest.approx(image.std(), rel=1e-3)
    assert np.array_equal(np.argsort(changed.ravel()), np.argsort(image.ravel()))  # order of grey values is kept
    assert np.abs(changed - image).max() > 0.1
    np.testing.assert_array_equal(change(np.full((4, 4, 1), 3, np.float32), 1.5), 3)


def test_gamma_by_hand():
    image = np.array([0, 0.5, 1], np.float32).reshape(3, 1, 1)
    # Squared: 0, 0.25, 1, mean 5/12; deviations 0.40825 before, 0.42492 after: y = (x - 5/12) * 0.96077 + 0.5.
    np.testing.assert_allclose(gamma(image.copy(), 2.0).ravel(), [0.09968, 0.33987, 1.06045], atol=1e-4)
    np.testing.assert_allclose(gamma_inverted(image.copy(), 2.0).ravel(), [-0.06045, 0.66013, 0.90032], atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 12), (8, 8, 12)])
def test_low_resolution_keeps_a_constant_and_loses_detail(rng, shape):
    flat = np.full((*shape, 2), 3, np.float32)
    np.testing.assert_allclose(lower_resolution(flat, 0.5), 3)
    noise = rng.random((*shape, 2)).astype(np.float32)
    lowered = lower_resolution(noise, 0.5)
    assert lowered.shape == noise.shape and lowered.std() < 0.95 * noise.std()


def test_low_resolution_of_a_line_by_hand():
    # 4 voxels, half kept: numbers 1 and 3 (nearest exact), then linear: 1, 1.5, 2.5, 3.
    line = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    np.testing.assert_allclose(lower_resolution(line, 0.5).ravel(), [1, 1.5, 2.5, 3], atol=1e-5)


def test_low_resolution_within_slices_keeps_the_slices_apart():
    steps = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None, None], (4, 16, 16, 1)).copy()
    np.testing.assert_allclose(lower_resolution(steps, 0.5, planar=True), steps)
    assert np.abs(lower_resolution(steps, 0.5) - steps).max() > 0.4


def test_hue_turns_red_to_green_and_saturation_zero_is_grey():
    red = np.zeros((2, 2, 3), np.float32)
    red[..., 0] = 1
    np.testing.assert_allclose(change_colour(red, saturation=1.0, hue_degrees=120.0)[0, 0], [0, 1, 0], atol=1e-5)
    grey = change_colour(red, saturation=0.0, hue_degrees=0.0)[0, 0]
    assert grey[0] == grey[1] == grey[2]
    with pytest.raises(ValueError, match="colour pictures"):
        change_colour(np.zeros((4, 4, 1), np.float32), saturation=1.0, hue_degrees=0.0)


def test_neighbouring_slices_stay_equal_and_modalities_change_apart(rng):
    # Three equal slices of two modalities: channels 0, 2, 4 are the first. The first stay equal, and so do the others.
    names = ("ROTATION", "BLUR", "BRIGHTNESS", "CONTRAST", "LOW_RESOLUTION", "GAMMA", "GAMMA_INVERTED", "FLIP")
    recipe = check_recipe({name: {"PROBABILITY": 1.0} for name in names})
    slices = np.repeat(rng.random((24, 24, 1)), 6, axis=-1).astype(np.float32)
    changed, _ = apply(slices, None, draw(rng, recipe, (24, 24), modalities=2))
    np.testing.assert_allclose(changed[..., 0::2], np.repeat(changed[..., :1], 3, -1), atol=1e-5)
    np.testing.assert_allclose(changed[..., 1::2], np.repeat(changed[..., 1:2], 3, -1), atol=1e-5)
    assert np.abs(changed[..., 0] - changed[..., 1]).max() > 0.01


def test_the_same_tissue_keeps_the_same_grey_across_slices(rng):
    # 2.5D: one slice brighter than the others must not be normalised by itself. Tissue 0.5 is in all three.
    stack = np.full((16, 16, 3), 0.5, np.float32)
    stack[:4, :, 1] = 1.0
    stack[:4, :, 2] = 0.1
    recipe = check_recipe(
        {name: {"PROBABILITY": 1.0} for name in ("BRIGHTNESS", "CONTRAST", "GAMMA", "GAMMA_INVERTED")}
    )
    changed, _ = apply(stack, None, draw(rng, recipe, (16, 16)))
    assert np.ptp(changed[10, 10]) < 1e-5


# ---- recipes


def test_an_empty_recipe_is_no_augmentation():
    assert build_augmentation(None) is None and build_augmentation({}) is None
    image = np.ones((4, 4, 1), np.float32)
    assert apply(image, None, draw(np.random.default_rng(0), check_recipe({}), (4, 4)))[0].base is image


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"GAMA": {}}, "AUGMENTATION.GAMA is no transform. Did you mean GAMMA"),
        ({"GAMMA": {"GAMA": 1}}, "AUGMENTATION.GAMMA.GAMA is no option. Did you mean GAMMA"),
        ({"GAMMA": {"PROBABILITY": 1.5}}, "number from 0 to 1"),
        ({"GAMMA": {"GAMMA": [1.5, 0.7]}}, r"give \[lowest, highest\]"),
        ({"GAMMA": {"GAMMA": 2}}, r"give \[lowest, highest\]"),
        ({"SCALING": {"FACTOR": [0, 1]}}, "number from 0.001"),
        ({"SCALING": {"OF": "image"}}, "use grid, objects"),
        ({"NOISE": {"SIGMA": [-1, 1]}}, "from 0 on"),
        ({"FLIP": {"AXES": ["left"]}}, "use depth, height, width"),
        ({"FLIP": {"AXES": "width"}}, "give a list"),
        ({"NOISE": 0.1}, "give its options"),
    ],
)
def test_mistakes_in_a_recipe_are_answered_in_one_line(recipe, says):
    with pytest.raises(AugmentationError, match=says) as error:
        check_recipe(recipe)
    assert "\n" not in str(error.value)


def test_checking_needs_no_keras(project):
    import subprocess
    import sys

    code = "import sys; from data_generators.augmentation import check_recipe; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=project, check=False).returncode == 0


def test_the_hook_changes_samples_by_their_own_generator(rng):
    augment = Augmentation(check_recipe(EVERYTHING), shape=(12, 12))
    image, label = rng.random((16, 16, 3)).astype(np.float32), np.ones((16, 16, 1), np.uint8)
    one = augment(image.copy(), label, np.random.default_rng(5))
    other = augment(image.copy(), label, np.random.default_rng(5))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[0].shape == (12, 12, 3) and one[1].shape == (12, 12, 1) and one[0].dtype == np.float32
