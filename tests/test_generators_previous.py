"""The second stage of a cascade sees what the first one said: as channels, moved like labels, disturbed in training."""

import numpy as np
import pytest
from generators_helpers import write_collection
from scipy import ndimage

from data_generators.augmentation import build_augmentation
from data_generators.patches import PatchSource
from data_generators.previous import Change, PreviousStage, disturb, draw_changes, one_hot
from data_generators.sequence import SequenceLoader
from data_generators.structures import apply_operator, dilated, eroded, without_component

SIZE = (14, 16, 18)


@pytest.fixture
def root(tmp_path, rng):
    """Case a, of which the earlier network said just what its label says."""
    label = rng.integers(0, 3, SIZE).astype(np.uint8)
    write_collection(tmp_path, {"a": (label[..., None].astype(np.float32), label)})
    (tmp_path / "next").mkdir()
    np.save(tmp_path / "next" / "a.npy", label)
    return tmp_path


def source(root, *, disturbed=False):
    previous = PreviousStage(root / "next", 2, disturbed=disturbed)
    return PatchSource(root, ["a"], patch=(8, 8, 8), previous=previous)


def ball(radius):
    grid = np.mgrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    return (grid**2).sum(0) <= radius**2


@pytest.mark.parametrize("recipe", [None, {"FLIP": {}}, {"ROTATION": {"PROBABILITY": 1.0}}])
def test_channels_lie_where_the_label_lies(root, recipe):
    augment = build_augmentation(recipe)
    loader = SequenceLoader(source(root), batch_size=6, augment=augment, steps_per_epoch=1, workers=0)
    image, label = loader[0]
    assert image.shape == (6, 8, 8, 8, 3) and image.dtype == np.float32
    assert label.shape == (6, 8, 8, 8, 1) and label.dtype == np.uint8
    np.testing.assert_array_equal(image[..., 1:], one_hot(label[..., 0], 2))


def test_without_an_earlier_network_nothing_changes(root):
    image, label = SequenceLoader(PatchSource(root, ["a"], patch=(8, 8, 8)), batch_size=2, steps_per_epoch=1)[0]
    assert (image.shape[-1], label.shape[-1]) == (1, 1)


def test_training_disturbs_and_the_same_seed_disturbs_alike(root):
    def batches(disturbed):
        loader = SequenceLoader(source(root, disturbed=disturbed), batch_size=16, steps_per_epoch=1, workers=0)
        return loader[0]

    (first, label), (second, _), (clean, _) = batches(True), batches(True), batches(False)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[..., 0], clean[..., 0])
    changed = (first[..., 1:] != clean[..., 1:]).any(axis=(1, 2, 3, 4))
    assert 0 < changed.sum() < len(changed)
    np.testing.assert_array_equal(clean[..., 1:], one_hot(label[..., 0], 2))


def test_how_often_things_are_drawn():
    rng = np.random.default_rng(0)
    drawn = [draw_changes(rng, 3) for _ in range(4000)]
    operators = [[change for change in changes if change.operator] for changes in drawn]
    removals = [[change for change in changes if change.component is not None] for changes in drawn]
    # 0.4 with at least one of three classes at a half each, likewise 0.2.
    assert np.mean([bool(found) for found in operators]) == pytest.approx(0.4 * 7 / 8, abs=0.03)
    assert np.mean([bool(found) for found in removals]) == pytest.approx(0.2 * 7 / 8, abs=0.03)
    assert {change.radius for found in operators for change in found} == set(range(1, 9))
    assert len({change.operator for found in operators for change in found}) == 4


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_operators_equal_those_of_scipy(rng, radius):
    mask = ndimage.gaussian_filter(rng.normal(size=(13, 15, 17)), 1.5) > 0
    np.testing.assert_array_equal(dilated(mask, radius), ndimage.binary_dilation(mask, ball(radius)))
    np.testing.assert_array_equal(eroded(mask, radius), ndimage.binary_erosion(mask, ball(radius), border_value=1))
    opened = ndimage.binary_dilation(ndimage.binary_erosion(mask, ball(radius), border_value=1), ball(radius))
    np.testing.assert_array_equal(apply_operator(mask, "opening", radius=radius), opened)


def test_a_plane_is_widened_by_a_disc():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    np.testing.assert_array_equal(dilated(mask, 3)[1:8, 1:8], ball(3)[3])


def test_what_a_class_gains_the_others_lose():
    found = np.zeros((1, 1, 9, 2), np.uint8)
    found[0, 0, 2:4, 0] = found[0, 0, 4:6, 1] = 1
    disturb(found, [Change(1, "dilation", 1)])
    assert found[0, 0, :, 0].tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert found[0, 0, :, 1].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_only_small_components_go():
    mask = np.zeros((1, 1, 20), bool)
    mask[0, 0, :8] = mask[0, 0, 10] = mask[0, 0, 15:17] = True
    assert [int(without_component(mask, share=share, most=3).sum()) for share in (0.0, 0.6)] == [10, 9]
    np.testing.assert_array_equal(without_component(mask, share=0.0, most=1), mask)
    assert disturb(mask[..., None].astype(np.uint8), [Change(1, component=0.0)])[..., 0].sum() == 10


def test_a_case_that_was_not_predicted_is_named(root):
    (root / "next" / "a.npy").unlink()
    with pytest.raises(ValueError, match="first stage of the cascade said of a, is not there: start train.py"):
        source(root).read(0)
    np.save(root / "next" / "a.npy", np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"has the shape \(2, 2, 2\), the case \(14, 16, 18\)"):
        source(root).read(0)


@pytest.mark.dali
def test_dali_leaves_a_cascade_to_the_other_loader(root):
    from data_generators.loaders import open_loader

    order = {"batch_size": 2, "steps_per_epoch": 1, "drop_remainder": True}
    with pytest.raises(ValueError, match="set DATA_GENERATOR_TYPE=SEQUENCE"):
        open_loader(source(root), kind="DALI", **order)
    assert isinstance(open_loader(source(root), kind="AUTO", gpu=0, **order), SequenceLoader)
