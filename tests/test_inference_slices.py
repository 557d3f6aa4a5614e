"""A slice network over a volume: neighbours, padding, batches, order."""

import numpy as np
import pytest

from data_generators.sources import write_slice_stack
from inference.slices import neighbour_stack, predict_slices
from inference.tiles import Windows


def centre(batch):
    """Answers the centre slice's value: the output must be the input volume again."""
    return batch[..., batch.shape[-1] // 2][..., None]


@pytest.mark.parametrize(("depth", "slices"), [(7, 3), (7, 5), (1, 3), (2, 5)])
def test_channels_are_the_loaders(rng, depth, slices):
    volume = rng.normal(size=(depth, 6, 5, 2)).astype(np.float16)
    found = neighbour_stack(volume, range(depth), slices=slices)
    for index in range(depth):
        expected = np.empty((6, 5, 2 * slices), np.float32)
        write_slice_stack(volume, index, expected)
        np.testing.assert_array_equal(found[index], expected)


@pytest.mark.parametrize("shape", [(5, 16, 32), (9, 17, 30), (1, 3, 3)])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_slice_comes_back_to_its_place(rng, shape, batch_size):
    volume = rng.normal(size=(*shape, 1)).astype(np.float32)
    found = predict_slices(volume, centre, slices=3, batch_size=batch_size)
    np.testing.assert_array_equal(found, volume)


def test_inputs_are_multiples_of_sixteen_and_batches_full():
    seen = set()
    predict_slices(np.zeros((9, 17, 30, 1)), lambda b: seen.add(b.shape) or centre(b), slices=3, batch_size=4)
    assert seen == {(4, 32, 32, 3)}


def test_a_fixed_input_larger_than_the_slice_is_padded(rng):
    volume = rng.normal(size=(3, 20, 20, 1)).astype(np.float32)
    seen = set()
    found = predict_slices(volume, lambda b: seen.add(b.shape) or centre(b), slices=1, spatial_shape=(24, 32))
    assert seen == {(8, 24, 32, 1)}
    np.testing.assert_array_equal(found, volume)


def test_a_slice_larger_than_the_fixed_input_is_covered_by_windows(rng):
    volume = rng.normal(size=(3, 40, 20, 1)).astype(np.float32)
    seen = set()
    found = predict_slices(volume, lambda b: seen.add(b.shape) or centre(b), slices=3, spatial_shape=(16, 16))
    assert seen == {(8, 16, 16, 3)}
    np.testing.assert_allclose(found, volume, atol=1e-5)


def test_windows_in_the_plane(rng):
    volume = rng.normal(size=(2, 40, 50, 3)).astype(np.float32)
    found = predict_slices(volume, lambda b: b[..., :2], slices=1, windows=Windows(patch=(16, 16), stride=(11, 11)))
    np.testing.assert_allclose(found, volume[..., :2], atol=1e-5)


def test_an_even_number_of_slices_is_refused():
    with pytest.raises(ValueError, match=r"INPUT\.SLICES"):
        neighbour_stack(np.zeros((3, 4, 4, 1)), [0], slices=2)
