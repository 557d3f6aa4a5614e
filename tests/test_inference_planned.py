"""New files through a plan: voxel for voxel what preparation made of the training cases, and back to their own grid."""

import numpy as np
import pytest

from data_preparation.collections.base import CaseSource, read_channels
from imaging import Volume, reorient, write_volume
from imaging.planned import PlannedInput, prepare_planned
from imaging.volume import picture_affine
from inference.prepare import InputRecipe, prepare_volume
from inference.reading import read_image
from inference.restore import restore_labels

AFFINE = np.array([[0, 0, -1.0, 20], [0, -1.0, 0, 30], [4.0, 0, 0, -50], [0, 0, 0, 1]])
FACTS = {"mean": 40.0, "std": 80.0, "percentile_00_5": -150.0, "percentile_99_5": 210.0}


def plan_of(rules, masks, spacing_mm):
    return PlannedInput(spacing_mm, rules, masks, (FACTS,) * len(rules))


def write_channels(folder, rng, channels, *, codes="LPS"):
    """Noise with a margin of zeros, one file per channel."""
    files = []
    for number in range(channels):
        array = np.zeros((8, 24, 20), np.int16)
        array[1:7, 4:20, 3:18] = rng.integers(1, 250, (6, 16, 15))
        path = folder / f"case_000{number}.nii.gz"
        write_volume(path, reorient(Volume(array, AFFINE), codes))
        files.append(path)
    return files


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize(
    ("rules", "masks"),
    [
        (("ct",), (False,)),
        (("zscore",), (False,)),
        (("zscore",), (True,)),
        (("none", "unit"), (False, False)),
        (("ct", "rgb", "zscore"), (False, False, True)),
    ],
)
@pytest.mark.parametrize("spacing_mm", [(4.0, 1.0, 1.0), (2.0, 1.5, 1.5), (None, 0.8, 0.8)])
def test_a_new_file_equals_the_prepared_case_bit_for_bit(tmp_path, rng, codes, rules, masks, spacing_mm):
    files = write_channels(tmp_path, rng, len(rules), codes=codes)
    plan = plan_of(rules, masks, spacing_mm)
    prepared, _, geometry = prepare_planned(read_channels(CaseSource("case", "case", tuple(files), None)), plan)
    recipe = InputRecipe(intensity={"kind": "planned", **plan.to_dict()}, channels=len(rules))
    found, same = prepare_volume(read_image(files), recipe)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.ascontiguousarray(prepared, np.float32))
    assert same.to_dict() == geometry.to_dict()


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
def test_the_label_returns_to_the_grid_of_the_file(tmp_path, rng, codes):
    volume = read_image(write_channels(tmp_path, rng, 1, codes=codes))
    plan = plan_of(("none",), (False,), (2.0, 0.5, 0.5))
    image, geometry = prepare_volume(volume, InputRecipe(intensity={"kind": "planned", **plan.to_dict()}))
    # Refined by whole factors, every voxel of the file keeps its middle: content above half becomes 1.
    foreground = np.clip(image * 1000, 0, 1)
    label = restore_labels(np.concatenate([1 - foreground, foreground], axis=-1), geometry)
    assert label.shape == volume.shape
    np.testing.assert_allclose(label.affine, volume.affine)
    inside = volume.array > 0
    # Cubic interpolation undershoots at a few voxels next to others that are hundreds brighter.
    assert (label.array[inside] == 1).mean() > 0.95
    assert label.array[~inside].sum() == 0


def test_channels_that_are_not_those_of_training_are_refused(tmp_path, rng):
    volume = read_image(write_channels(tmp_path, rng, 1))
    recipe = InputRecipe(
        intensity={"kind": "planned", **plan_of(("ct", "ct"), (False,) * 2, (4, 1, 1)).to_dict()}, channels=2
    )
    with pytest.raises(ValueError, match="has 1 channels, the network was trained on 2.*CASE_0000"):
        prepare_volume(volume, recipe)


def test_files_without_spacing_take_the_one_that_is_typed(rng):
    volume = Volume(rng.random((4, 8, 8)).astype(np.float32) + 1, picture_affine(), has_geometry=False)
    intensity = {"kind": "planned", **plan_of(("none",), (False,), (5.0, 1.0, 1.0)).to_dict()}
    image, _ = prepare_volume(volume, InputRecipe(intensity=intensity, spacing_mm=(10.0, 1.0, 1.0)))
    assert image.shape == (8, 8, 8, 1)
