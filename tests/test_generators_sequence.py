"""The Sequence loader: order, workers, resume, shards, last batches, planted faults."""

import time

import numpy as np
import pytest
from generators_helpers import numbered_volume, write_collection

from data_generators.ordering import PatchSampler, SliceSampler, batch_positions
from data_generators.sequence import SequenceLoader, follow_epochs
from data_generators.sources import SliceSource


@pytest.fixture
def source(tmp_path):
    # 11 slices with the values 0..10; slices 2, 3, 7 hold label 1.
    label = np.zeros((11, 6, 8), np.uint8)
    label[[2, 3, 7], 1, 2] = 1
    return SliceSource(write_collection(tmp_path, {"a": (numbered_volume(11), label)}), slices=1)


def values(batch):
    return batch[0][:, 0, 0, 0].tolist()


def epoch_values(loader):
    return [value for index in range(len(loader)) for value in values(loader[index])]


def noisy(image, label, rng):
    time.sleep(rng.random() * 0.003)  # batches finish out of order
    return image + rng.random(), label


def test_batches_are_float32_images_and_uint8_labels(source):
    image, label = SequenceLoader(source, batch_size=4)[0]
    assert image.shape == (4, 6, 8, 1) and image.dtype == np.float32
    assert label.shape == (4, 6, 8, 1) and label.dtype == np.uint8
    assert label[2, 1, 2, 0] == 1 and label.sum() == 2


def test_the_last_partial_batch_is_kept_unless_told_otherwise(source):
    loader = SequenceLoader(source, batch_size=4)
    assert len(loader) == 3 and len(loader[2][0]) == 3 and epoch_values(loader) == list(range(11))
    assert len(SequenceLoader(source, batch_size=4, drop_remainder=True)) == 2
    with pytest.raises(IndexError):
        loader[3]


def test_shuffling_shows_every_sample_once_in_a_new_order_each_epoch(source):
    loader = SequenceLoader(source, batch_size=4, shuffle=True, seed=1)
    first = epoch_values(loader)
    loader.on_epoch_end()  # as Keras calls it
    second = epoch_values(loader)
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second
    assert first == epoch_values(SequenceLoader(source, batch_size=4, shuffle=True, seed=1))
    assert first != epoch_values(SequenceLoader(source, batch_size=4, shuffle=True, seed=2))


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_the_number_of_workers_changes_nothing(source, workers):
    options = {"batch_size": 2, "shuffle": True, "seed": 4, "augment": noisy}
    alone = [batch[0] for batch in (SequenceLoader(source, **options)[index] for index in range(6))]
    together = [image for image, _ in SequenceLoader(source, **options, workers=workers)]
    assert len(together) == 6
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loader_resumed_at_an_epoch_and_batch_gives_what_the_first_would_have_given(source):
    options = {"batch_size": 2, "shuffle": True, "seed": 4, "augment": noisy}
    first = SequenceLoader(source, **options)
    first.resume(2)
    expected = [first[index][0] for index in range(len(first))]
    second = SequenceLoader(source, **options)
    second.resume(2, batch=4)
    assert len(second) == 2
    np.testing.assert_array_equal(second[0][0], expected[4])
    np.testing.assert_array_equal(second[1][0], expected[5])
    second.on_epoch_end()
    assert (second.epoch, len(second)) == (3, 6)


def test_an_end_of_epoch_that_never_was_changes_nothing(source):
    # Keras announces one after it looked at the first batch to build the model.
    loader = SequenceLoader(source, batch_size=4)
    loader.on_epoch_begin()
    loader[0]
    loader.on_epoch_end()
    assert loader.epoch == 0


def test_augmentation_differs_between_samples_and_epochs(source):
    loader = SequenceLoader(source, batch_size=11, augment=lambda image, label, rng: (image * 0 + rng.random(), label))
    first = loader[0][0][:, 0, 0, 0]
    loader.on_epoch_end()
    second = loader[0][0][:, 0, 0, 0]
    assert len(set(first.tolist() + second.tolist())) == 22


def test_names_are_those_of_the_batch(source):
    loader = SequenceLoader(source, batch_size=4, shuffle=True, seed=3)
    for index in range(len(loader)):
        assert [f"a_{int(value)}" for value in values(loader[index])] == loader.names(index)


def test_shards_share_the_batches_of_one_process(source):
    whole = SequenceLoader(source, batch_size=4, shuffle=True)
    parts = [SequenceLoader(source, batch_size=2, shuffle=True, shard=(index, 2)) for index in range(2)]
    for index in range(3):
        assert values(whole[index]) == values(parts[0][index]) + values(parts[1][index])
    assert [len(part[2][0]) for part in parts] == [2, 1]


def test_foreground_share_is_met_exactly_and_evenly(source):
    # 3 of 11 slices hold foreground. Half of 22 samples = 11: each of the three comes 3 or 4 times.
    sampler = SliceSampler(11, 0, True, source.foreground, 0.5, samples=22)
    order = sampler.order(0)
    assert order.foreground.sum() == 11
    counts = np.bincount(order.indices, minlength=11)
    assert sorted(counts[[2, 3, 7]]) == [3, 4, 4] and counts.sum() == 22
    assert set(np.delete(counts, [2, 3, 7]).tolist()) == {1, 2}  # 11 samples of 8 slices
    loader = SequenceLoader(source, batch_size=11, shuffle=True, foreground_share=1.0)
    assert set(values(loader[0])) == {2, 3, 7}


def test_impossible_shares_say_what_to_change(source):
    with pytest.raises(ValueError, match="SHUFFLE to True"):
        SequenceLoader(source, batch_size=2, foreground_share=0.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        SequenceLoader(source, batch_size=2, shuffle=True, foreground_share=1.5)
    with pytest.raises(ValueError, match="no sample holds foreground"):
        SliceSampler(3, 0, True, np.zeros(3, bool), 0.5)
    with pytest.raises(ValueError, match="BATCH_SIZE is 0"):
        SequenceLoader(source, batch_size=0)


def test_steps_per_epoch_sets_the_length_of_an_epoch(source):
    assert len(SequenceLoader(source, batch_size=4, shuffle=True, steps_per_epoch=2)) == 2
    long = SequenceLoader(source, batch_size=11, shuffle=True, steps_per_epoch=3)
    assert np.bincount(np.asarray(epoch_values(long), int)).tolist() == [3] * 11


def test_patch_batches_end_with_foreground():
    # round(2 * 0.67) = 1 and round(9 * 0.67) = 6: 1 of 2 and 3 of 9 samples show foreground, the last ones.
    assert PatchSampler(5, 4, 2).order(0).foreground.tolist() == [False, True] * 2
    assert PatchSampler(5, 9, 9).order(0).foreground.tolist() == [False] * 6 + [True] * 3


def test_batch_positions_by_hand():
    # 10 samples, 2 processes of 3: batches 0..5 and 6..9; the last is split 2 and 2.
    places = [batch_positions(b, samples=10, batch_size=3, shard=(p, 2)).tolist() for b in (0, 1) for p in (0, 1)]
    assert places == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]


def test_samples_of_different_shape_are_named(tmp_path):
    volumes = {"a": (numbered_volume(1), None), "b": (numbered_volume(1, 7, 8), None)}
    loader = SequenceLoader(SliceSource(write_collection(tmp_path, volumes)), batch_size=2)
    with pytest.raises(ValueError, match=r"a_0 has the shape \(6, 8, 3\) and b_0 \(7, 8, 3\)"):
        loader[0]


def test_without_labels_a_batch_is_the_images(tmp_path):
    loader = SequenceLoader(SliceSource(write_collection(tmp_path, {"a": (numbered_volume(2), None)})), batch_size=2)
    assert [part.shape for part in loader[0]] == [(2, 6, 8, 3)]


def test_keras_fit_sees_every_batch_of_every_epoch_in_order(source):
    import keras

    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(logs["loss"]))

    class First(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(y_pred, axis=(1, 2, 3))

    inputs = keras.Input((6, 8, 1))
    model = keras.Model(inputs, inputs * 1.0)
    model.compile("sgd", First(reduction="mean"))
    loader = SequenceLoader(source, batch_size=1, shuffle=True, workers=2)
    model.fit(loader, epochs=2, shuffle=False, verbose=0, callbacks=[Watch(), follow_epochs(loader)])
    assert loader.epoch == 2
    running = np.asarray(seen).reshape(2, 11)
    per_batch = np.diff(running * np.arange(1, 12), prepend=0.0, axis=1)  # Keras logs the running mean
    orders = [SequenceLoader(source, batch_size=1, shuffle=True).sampler.order(epoch).indices for epoch in range(2)]
    np.testing.assert_allclose(per_batch, orders, atol=1e-3)
