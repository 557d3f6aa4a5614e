"""The memory bound: what does not fit lies in a file, few slices are decided at a time, the answer is the same."""

import tracemalloc

import numpy as np
import pytest

from imaging import CaseGeometry
from imaging.volume import Grid
from inference.memory import probability_array, rows_within
from inference.restore import restore_labels
from inference.segmenter import Application, Segmenter

CLASSES = 6


def network(batch):
    """A softmax-like answer that depends on the voxel."""
    scores = np.stack([np.cos(batch[..., 0] * (k + 1)) for k in range(CLASSES)], axis=-1)
    return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)


def geometry(shape, prepared):
    return CaseGeometry.of(Grid(shape, np.diag([2.0, -1.0, -1.0, 1.0])[[2, 1, 0, 3]]), prepared_shape=prepared)


@pytest.mark.parametrize("spatial", [(8, 16, 16), (16, 16)])
def test_a_small_bound_changes_nothing_but_the_place(rng, spatial):
    image = rng.normal(size=(20, 40, 44, 1)).astype(np.float32)
    labels = []
    for memory_gb in (None, 1e-4):
        segmenter = Segmenter(network, spatial, Application(memory_gb=memory_gb, batch_size=2))
        found = segmenter.probabilities(image)
        # 20 * 40 * 44 * 6 * 4 bytes are 0.8 MB, the bound is 0.1 MB.
        assert isinstance(found, np.memmap) == (memory_gb is not None)
        labels.append(segmenter.label(image, geometry((30, 60, 44), (20, 40, 44))).array)
    np.testing.assert_array_equal(*labels)


def test_the_peak_above_the_inputs_keeps_to_the_bound(rng):
    shape, prepared, memory_gb = (64, 96, 96), (48, 80, 80), 0.005
    image = rng.normal(size=(*prepared, 1)).astype(np.float32)
    segmenter = Segmenter(network, (8, 32, 32), Application(memory_gb=memory_gb, batch_size=1))
    segmenter.label(image[:8], geometry((8, 96, 96), (8, 80, 80)))
    tracemalloc.start()
    segmenter.label(image, geometry(shape, prepared))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All classes on the source grid would be 64 * 96 * 96 * 6 * 4 = 14.2 MB, the accumulator 7.4 MB. The file is no
    # memory; allowed are the bound, three labels (0.6 MB each) and some windows (0.2 MB each).
    assert peak < memory_gb * 1e9 + 3e6


@pytest.mark.parametrize("shape", [(20, 24, 24), (11, 24, 30), (40, 30, 16)])
@pytest.mark.parametrize("classes", [2, 4])
def test_slabs_equal_the_whole(rng, shape, classes):
    probabilities = rng.dirichlet(np.ones(classes), (20, 24, 24)).astype(np.float32)
    where = geometry(shape, (20, 24, 24))
    whole = restore_labels(probabilities, where).array
    for memory_gb in (1e-6, 1e-3):
        np.testing.assert_array_equal(restore_labels(probabilities, where, memory_gb=memory_gb).array, whole)


def test_rows_take_a_tenth_of_the_bound():
    assert rows_within(1_000_000, memory_gb=0.05) == 5
    assert rows_within(10**9, memory_gb=0.05) == 1
    assert rows_within(1, memory_gb=None) == 32


def test_a_file_starts_at_zero():
    assert not probability_array((100, 100), memory_gb=1e-6).any()
