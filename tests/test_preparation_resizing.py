"""The fast way gives what the plain way gives."""

import numpy as np
import pytest

from data_preparation.resizing import coloured, labelled, windowed
from imaging import resize_slices, window_to_unit

WINDOW = (-200.0, 250.0)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.int32, np.uint16])
@pytest.mark.parametrize("size", [(40, 40), (17, 31), (8, 40), (50, 60), (20, 60)])
@pytest.mark.parametrize("window", [WINDOW, (-160.5, 240.0), (-1000.0, 3000.0)])
def test_windowed_equals_window_then_resize(rng, dtype, size, window):
    hu = rng.integers(0 if dtype == np.uint16 else -1024, 3000, (3, 40, 48)).astype(dtype)
    plain = resize_slices(window_to_unit(hu, window_hu=window), *size, label=False)
    fast = windowed(hu, *size, window_hu=window)
    assert fast.dtype == np.float16
    assert fast.shape == (3, *size, 1)
    assert np.abs(fast[..., 0].astype(np.float32) - plain).max() < 5e-4  # float16 below 1: half of 2**-11


def test_views_of_any_strides_are_read_rightly(rng):
    hu = rng.integers(-300, 300, (16, 12, 3)).astype(np.int16)
    view = hu.transpose(2, 1, 0)[::-1, :, ::-1]
    assert np.array_equal(windowed(view, 6, 8, window_hu=WINDOW), windowed(view.copy(), 6, 8, window_hu=WINDOW))


def test_channels_are_kept_apart(rng):
    image = rng.integers(0, 255, (1, 10, 10, 3)).astype(np.uint8)
    assert np.abs(coloured(image, 10, 10) * 255 - image).max() < 0.1
    assert coloured(image, 5, 5).shape == (1, 5, 5, 3)
    assert coloured(image[..., 0], 5, 5).shape == (1, 5, 5, 1)


def test_sixteen_bit_colours_end_at_one():
    assert coloured(np.full((1, 2, 2), 65535, np.uint16), 2, 2).max() == 1


def test_labels_keep_their_values(rng):
    label = rng.integers(0, 3, (40, 9, 9)).astype(np.int16) * 100
    small = labelled(label, 4, 5)
    assert small.dtype == np.uint8
    assert set(np.unique(small)) <= {0, 100, 200}
    assert np.array_equal(small, resize_slices(label, 4, 5, label=True))
