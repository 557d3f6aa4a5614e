"""Several collections in one stream of batches: which domain comes when, and exactly the same again after a stop."""

import numpy as np
import pytest
from domain_cases import write_domains

from data_generators.domains import DomainLoader, DomainOrder
from data_generators.patches import PatchSource
from data_generators.resized import ResizedSource, resize_sample
from data_generators.sequence import SequenceLoader
from training.domain_feeds import DomainFeed


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("work")) / "data" / "prepared"


def loader(root, *, shard=(0, 1), kind="round_robin"):
    loaders = {
        name: SequenceLoader(
            PatchSource(root / name, patch=patch),
            batch_size=2,
            seed=3,
            workers=0,
            steps_per_epoch=5,
            foreground_share=1.0,
            shard=shard,
        )
        for name, patch in (("liver", (4, 8, 8)), ("heart", (2, 8, 12)))
    }
    return DomainLoader(loaders, DomainOrder([30, 10], 5, kind=kind, seed=3))


def test_round_robin_goes_on_over_the_ends_of_epochs():
    order = DomainOrder([100, 1, 7], 4)
    assert [order.epoch(epoch).tolist() for epoch in range(3)] == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]


@pytest.mark.parametrize(
    ("kind", "temperature", "expected"),
    [
        ("round_robin", 2.0, [1 / 2, 1 / 2]),
        ("proportional", 2.0, [0.8, 0.2]),  # 16 and 4 of 20
        ("temperature", 2.0, [2 / 3, 1 / 3]),  # roots: 4 and 2 of 6
        ("temperature", 1.0, [0.8, 0.2]),
        ("temperature", 1e9, [0.5, 0.5]),
    ],
)
def test_shares_worked_by_hand(kind, temperature, expected):
    order = DomainOrder([16, 4], 4000, kind=kind, temperature=temperature, seed=1)
    assert order.shares() == pytest.approx(expected)
    assert np.bincount(order.epoch(2)) / 4000 == pytest.approx(expected, abs=0.03)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match=r"SAMPLING\.DOMAINS=weighted .* round_robin, proportional, temperature"):
        DomainOrder([1], 1, kind="weighted")


def test_a_batch_holds_one_domain(root):
    batches = loader(root)
    assert [batches[place][0].shape[1:] for place in range(4)] == [(4, 8, 8, 1), (2, 8, 12, 2)] * 2
    assert all(name.startswith("heart heart") for name in batches.names(1))


def test_no_batch_of_a_domain_comes_twice(root):
    batches = loader(root)
    images = [batches[place][0] for place in (0, 2, 4)]
    assert not any(np.array_equal(images[a], images[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_foreground_is_as_often_as_wanted_in_every_domain(root):
    batches = loader(root)
    assert all((batches[place][1] > 0).any(axis=(1, 2, 3, 4)).all() for place in range(5))


def test_a_stream_starts_anywhere(root):
    whole = DomainFeed(loader(root), threads=2)
    later = DomainFeed(loader(root), start=6, threads=0)
    for place in range(6, 12):
        (ours, label), (theirs, other) = whole[place], later[place - 6]
        assert list(ours) == list(theirs)
        np.testing.assert_array_equal(next(iter(ours.values())), next(iter(theirs.values())))
        np.testing.assert_array_equal(label, other)
    whole.close()


def test_processes_see_the_same_domain_and_other_samples(root):
    first, second = (loader(root, shard=(place, 2), kind="proportional") for place in (0, 1))
    assert [first.domain(place) for place in range(5)] == [second.domain(place) for place in range(5)]
    assert not np.array_equal(first[0][0], second[0][0])


def test_patches_are_resized_to_one_size(root):
    source = ResizedSource(PatchSource(root / "liver", patch=(4, 8, 8)), (8, 8, 16))
    batches = SequenceLoader(source, batch_size=2, workers=0)
    image, label = batches[0]
    assert image.shape == (2, 8, 8, 16, 1)
    assert label.shape == (2, 8, 8, 16, 1)
    assert set(np.unique(label)) <= {0, 1, 2}
    assert source.read(0)[0].shape == (8, 8, 16, 1)


def test_labels_take_the_nearest_voxel():
    # From 2 to 3 voxels the centres 1/6, 3/6, 5/6 lie in the first, second and second half.
    label = np.array([1, 2], np.uint8).reshape(2, 1, 1, 1)
    _, resized = resize_sample(np.zeros((2, 1, 1, 1), np.float32), label, (3, 1, 1))
    assert resized is not None and resized.ravel().tolist() == [1, 2, 2]
