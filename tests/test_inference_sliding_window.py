"""Sliding windows against a brute-force reference that keeps every map."""

import itertools

import numpy as np
import pytest

from inference.sliding_window import mirrored, sliding_window
from inference.tiles import Windows, importance_map


def brute_force(volume, predict, windows):
    """One tile at a time, float64 sums of answers and of weights, then one division."""
    shape = volume.shape[:-1]
    missing = [max(0, p - n) for n, p in zip(shape, windows.patch, strict=True)]
    padded = np.pad(volume, [(m // 2, m - m // 2) for m in missing] + [(0, 0)])
    outputs = predict(np.zeros((1, *windows.patch, volume.shape[-1]))).shape[-1]
    total, count = np.zeros((*padded.shape[:-1], outputs)), np.zeros((*padded.shape[:-1], 1))
    weight = importance_map(windows.patch, importance=windows.importance)[..., None].astype(float)
    for corner in itertools.product(*windows.positions(padded.shape[:-1])):
        tile = tuple(slice(c, c + p) for c, p in zip(corner, windows.patch, strict=True))
        total[tile] += predict(padded[tile][None])[0] * weight
        count[tile] += weight
    crop = tuple(slice(m // 2, m // 2 + n) for m, n in zip(missing, shape, strict=True))
    return (total / count)[crop]


def position_dependent(batch):
    """A nonlinear answer that differs with the place inside the window, as a real network's does."""
    ramp = np.linspace(0, 1, batch.shape[1]).reshape(1, -1, *[1] * (batch.ndim - 2))
    first = np.tanh(batch[..., :1] * (1 + ramp))
    return np.concatenate([first, np.cumsum(batch[..., :1], axis=2) * 0.1], axis=-1)


@pytest.mark.parametrize("importance", ["gaussian", "uniform"])
@pytest.mark.parametrize(
    ("shape", "patch"),
    [((13, 21, 17), (6, 8, 8)), ((5, 9, 30), (8, 8, 8)), ((40, 33), (16, 16)), ((3, 4, 5), (8, 8, 8))],
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_equals_brute_force(rng, shape, patch, importance, batch_size):
    volume = rng.normal(size=(*shape, 2)).astype(np.float32)
    windows = Windows(patch=patch, importance=importance)
    found = sliding_window(volume, position_dependent, windows=windows, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, brute_force(volume, position_dependent, windows), atol=1e-5)


def test_fixed_stride_equals_brute_force(rng):
    volume = rng.normal(size=(50, 61, 3)).astype(np.float32)
    windows = Windows(patch=(16, 16), stride=(11, 11), importance="uniform")
    found = sliding_window(volume, position_dependent, windows=windows, batch_size=5)
    np.testing.assert_allclose(found, brute_force(volume, position_dependent, windows), atol=1e-5)


@pytest.mark.parametrize("shape", [(31, 45, 50), (3, 20, 70)])
def test_constant_logits_stay_constant(shape):
    answer = np.array([3.25, -1e4, 2e-6], np.float32)
    found = sliding_window(
        np.zeros((*shape, 1)),
        lambda batch: np.broadcast_to(answer, (*batch.shape[:-1], 3)),
        windows=Windows(patch=(16, 16, 16)),
        batch_size=3,
    )
    np.testing.assert_allclose(found, np.broadcast_to(answer, found.shape), rtol=1e-5)


def test_every_batch_has_the_same_shape():
    seen = []

    def record(batch):
        seen.append(batch.shape)
        return batch

    sliding_window(np.zeros((20, 20, 1)), record, windows=Windows(patch=(8, 8)), batch_size=7)
    assert set(seen) == {(7, 8, 8, 1)}
    assert len(seen) == 3  # 4 x 4 windows in batches of 7


def test_an_accumulator_above_the_bound_lies_in_a_file_and_agrees(rng):
    volume = rng.normal(size=(13, 21, 17, 1)).astype(np.float32)
    windows = Windows(patch=(6, 8, 8))
    inside = sliding_window(volume, position_dependent, windows=windows)
    outside = sliding_window(volume, position_dependent, windows=windows, memory_gb=1e-6)
    assert isinstance(outside.base if isinstance(outside.base, np.memmap) else outside, np.memmap)
    np.testing.assert_array_equal(inside, outside)


def test_infinite_answers_of_one_window_do_not_spread():
    # A hard gate may answer minus infinity; it must not turn its neighbours into NaN.
    found = sliding_window(
        np.zeros((8, 16, 1)),
        lambda batch: np.full((*batch.shape[:-1], 1), -np.inf, np.float32),
        windows=Windows(patch=(8, 8)),
    )
    assert not np.isnan(found).any()


def test_mirroring_is_the_mean_over_all_flips(rng):
    batch = rng.normal(size=(2, 6, 8, 8, 1)).astype(np.float32)
    expected = np.zeros((2, 6, 8, 8, 2))
    for axes in [(), (1,), (3,), (1, 3)]:
        expected += np.flip(position_dependent(np.flip(batch, axes)), axes)
    np.testing.assert_allclose(mirrored(position_dependent, (0, 2))(batch), expected / 4, atol=1e-6)


def test_mirroring_no_axis_changes_nothing():
    assert mirrored(position_dependent, ()) is position_dependent


def test_mirroring_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="2 axes"):
        mirrored(position_dependent, (2,))(np.zeros((1, 8, 8, 1)))


def test_windows_of_the_wrong_rank_are_refused():
    with pytest.raises(ValueError, match="cannot cover"):
        sliding_window(np.zeros((8, 8, 8, 1)), position_dependent, windows=Windows(patch=(4, 4)))
