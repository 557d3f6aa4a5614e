import numpy as np
from generators_helpers import numbered_volume, write_collection

from data_generators.capped import CappedPatchSource
from data_generators.patches import PatchSource


def collection(root):
    """A picture 64 x 64 with a square of 16 x 16 in its corner; the rest is background."""
    label = np.zeros((1, 64, 64), np.uint8)
    label[0, :16, :16] = 1
    return write_collection(root, {"a": (numbered_volume(1, 64, 64), label)})


def shares(source):
    drawn = [source.draw(0, np.random.default_rng(seed), foreground=False)[1] for seed in range(60)]
    return np.array([np.mean(label == 0) for label in drawn])


def test_patches_of_one_class_are_drawn_again(tmp_path):
    root = collection(tmp_path)
    plain = shares(PatchSource(root, patch=(16, 16)))
    capped = shares(CappedPatchSource(root, patch=(16, 16), max_class_share=0.9, attempts=200))
    assert np.mean(plain == 1.0) > 0.5
    assert capped.max() < 0.9


def test_the_last_attempt_is_kept(tmp_path):
    # No patch of 16 x 16 inside a picture without foreground holds two classes.
    root = write_collection(tmp_path, {"a": (numbered_volume(1, 64, 64), np.zeros((1, 64, 64), np.uint8))})
    source = CappedPatchSource(root, patch=(16, 16), max_class_share=0.75, attempts=3)
    image, label = source.draw(0, np.random.default_rng(0), foreground=False)
    assert image.shape == (16, 16, 1)
    assert not label.any()


def test_the_same_generator_draws_the_same_patch(tmp_path):
    source = CappedPatchSource(collection(tmp_path), patch=(16, 16), max_class_share=0.9)
    first, second = (source.draw(0, np.random.default_rng(3), foreground=False)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)
