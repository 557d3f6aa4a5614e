"""Widening float16 by its bits."""

import numpy as np

from data_generators.halves import stack_planes, widen


def test_every_finite_half_is_widened_exactly():
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    out = np.empty(halves.shape, np.float32)
    widen(halves, out)
    np.testing.assert_array_equal(out.view(np.int32), halves.astype(np.float32).view(np.int32))


def test_planes_become_channels_in_order(rng):
    for dtype in (np.float16, np.float32, np.uint8):
        for channels in (1, 2):
            planes = [(rng.random((3, 4, channels)) * 9).astype(dtype) for _ in range(3)]
            out = np.empty((3, 4, 3 * channels), np.float32)
            stack_planes(planes, out)
            np.testing.assert_array_equal(out, np.concatenate(planes, -1).astype(np.float32))
