"""Volumes resized as the patches were: the network sees its own size, answers come back to the volume's grid."""

import numpy as np

from inference.segmenter import Application
from inference.unified import UnifiedSegmenter


def two_classes(batch):
    return np.concatenate([1 - batch, batch], axis=-1)


def box(shape):
    volume = np.zeros((*shape, 1), np.float32)
    volume[2:6, 4:12, 8:20] = 1
    return volume


def test_answers_lie_where_the_volume_lies():
    volume, seen = box((8, 16, 24)), set()

    def network(batch):
        seen.add(batch.shape[1:])
        return two_classes(batch)

    segmenter = UnifiedSegmenter(network, (16, 16, 16), Application(batch_size=2), patch=(4, 16, 8))
    found = segmenter.probabilities(volume)
    assert seen == {(16, 16, 16, 1)}  # the volume is 32 x 16 x 48 for the network
    assert found.shape == (8, 16, 24, 2)
    np.testing.assert_array_equal(found[..., 1] > 0.5, volume[..., 0] > 0.5)


def test_a_volume_smaller_than_a_patch_is_padded_and_cut_back():
    volume = box((8, 16, 24))[1:7, 2:14]
    segmenter = UnifiedSegmenter(two_classes, (16, 16, 16), patch=(8, 16, 8))
    np.testing.assert_array_equal(segmenter.probabilities(volume)[..., 1] > 0.5, volume[..., 0] > 0.5)


def test_the_patch_size_itself_changes_nothing():
    volume = box((8, 16, 24))
    segmenter = UnifiedSegmenter(two_classes, (8, 8, 8), patch=(8, 8, 8))
    np.testing.assert_allclose(segmenter.probabilities(volume)[..., 1], volume[..., 0], atol=1e-5)


def test_several_networks_are_averaged():
    volume = box((8, 16, 24))
    right = UnifiedSegmenter(two_classes, (16, 16, 16), patch=(4, 16, 8))
    nothing = UnifiedSegmenter(lambda batch: two_classes(0 * batch), (16, 16, 16), patch=(4, 16, 8))
    both = UnifiedSegmenter(two_classes, (16, 16, 16), patch=(4, 16, 8), further=(nothing,)).probabilities(volume)
    np.testing.assert_allclose(both, (right.probabilities(volume) + nothing.probabilities(volume)) / 2, atol=1e-6)
