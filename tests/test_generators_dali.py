"""DALI's batches against the Sequence loader's, on the CPU."""

import numpy as np
import pytest
from generators_helpers import write_collection, write_picture

from data_generators.augmentation import build_augmentation
from data_generators.dali_feed import Feeder, Layout, decoding_of, pack
from data_generators.folders import FolderSource
from data_generators.patches import PatchSource
from data_generators.pictures import PictureOptions
from data_generators.sequence import SequenceLoader, make_sampler
from data_generators.sources import SliceSource

pytestmark = pytest.mark.dali
pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed: make setup")

from data_generators.dali import DaliError, DaliLoader  # noqa: E402

FULL = {
    name: {}
    for name in (
        *("ROTATION", "SCALING", "NOISE", "BLUR", "BRIGHTNESS", "BRIGHTNESS_SHIFT", "CONTRAST", "LOW_RESOLUTION"),
        *("GAMMA_INVERTED", "GAMMA", "FLIP"),
    )
}


def smooth(shape, rng, channels=1):
    """A random image without sharp edges, at which interpolations would differ most."""
    axes = np.meshgrid(*[np.linspace(0, 3, size) for size in shape], indexing="ij")
    waves = [np.sin(sum(rng.uniform(-1.5, 1.5) * axis for axis in axes) + place) for place in range(channels)]
    return (np.stack(waves, -1) * 0.4 + 0.5).astype(np.float16)


@pytest.fixture
def root(tmp_path, rng):
    cases = {}
    for case_id in ("a", "b"):
        image = smooth((6, 24, 28), rng)
        cases[case_id] = (image, (image[..., 0] > 0.6).astype(np.uint8) + (image[..., 0] > 0.8))
    return write_collection(tmp_path / "prepared", cases)


@pytest.fixture
def pictures(tmp_path, rng):
    for number in range(5):
        mask = (rng.random((20, 30)) > 0.7).astype(np.uint8)
        write_picture(tmp_path / "i" / f"{number}.png", rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
        write_picture(tmp_path / "m" / f"{number}.png", mask * 255)
    return FolderSource(tmp_path / "i", tmp_path / "m", options=PictureOptions(mask_divisor=255))


def both(source, **options):
    threads = {"batch_size": 4, "seed": 3, "shuffle": True, **options}
    return SequenceLoader(source, workers=0, **threads), DaliLoader(source, **threads)


def assert_equal_epochs(sequence, dali, epochs=2):
    for epoch in range(epochs):
        sequence.resume(epoch)
        dali.resume(epoch)
        assert len(sequence) == len(dali)
        for index in range(len(sequence)):
            assert sequence.names(index) == dali.names(index)
            for one, other in zip(sequence[index], dali[index], strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)


def test_slices_without_augmentation_are_equal_in_the_same_order(root):
    sequence, dali = both(SliceSource(root))
    assert_equal_epochs(sequence, dali)
    assert len(dali[len(dali) - 1][0]) == 12 - 4 * (len(dali) - 1)


def test_a_partial_last_batch_is_kept(root):
    sequence, dali = both(SliceSource(root), batch_size=5)
    assert [len(dali[index][0]) for index in range(3)] == [5, 5, 2]
    assert_equal_epochs(sequence, dali)


def test_pictures_decoded_by_dali_are_equal(pictures):
    assert decoding_of(pictures) is not None
    assert_equal_epochs(*both(pictures, batch_size=2))


def test_pictures_dali_would_decode_otherwise_are_read_as_before(tmp_path, rng):
    grey = rng.integers(0, 65536, (8, 8)).astype(np.uint16)
    write_picture(tmp_path / "i" / "a.png", grey)
    write_picture(tmp_path / "m" / "a.png", (grey > 9000).astype(np.uint8))
    source = FolderSource(tmp_path / "i", tmp_path / "m")
    assert decoding_of(source) is None
    assert_equal_epochs(*both(source, batch_size=1))


def test_foreground_share_and_shards_are_those_of_the_sequence_loader(root):
    assert_equal_epochs(*both(SliceSource(root), foreground_share=1.0, steps_per_epoch=2))
    assert_equal_epochs(*both(SliceSource(root), batch_size=2, shard=(1, 2)))


def test_volumes_without_augmentation_are_equal(root):
    assert_equal_epochs(*both(PatchSource(root, patch=(4, 12, 12)), batch_size=2, steps_per_epoch=3))


@pytest.mark.parametrize("name", [*FULL])
def test_each_transform_is_the_sequence_loaders(root, name):
    recipe = {name: {"PROBABILITY": 1.0, **({"PER_CHANNEL": 1.0} if name in ("BLUR", "LOW_RESOLUTION") else {})}}
    source = SliceSource(root)
    plain = SequenceLoader(source, batch_size=12, seed=3, shuffle=True)[0][0]
    sequence, dali = both(source, batch_size=12, augment=build_augmentation(recipe))
    (one, one_label), (other, other_label) = sequence[0], dali[0]
    change = np.abs(one - plain).mean()
    assert change > 1e-3  # it does something
    assert np.abs(one - other).mean() < 0.02 * change + 1e-4
    assert (one_label != other_label).mean() < 0.01


@pytest.mark.parametrize("patch", [(12, 16, 16), (4, 20, 20)])
def test_volumes_are_transformed_alike(tmp_path, rng, patch):
    image = smooth((24, 30, 30), rng, channels=2)
    root = write_collection(tmp_path, {"a": (image, (image[..., 0] > 0.6).astype(np.uint8))})
    recipe = {name: {"PROBABILITY": 1.0} for name in FULL}
    augment = build_augmentation(recipe, modalities=2)
    sequence, dali = both(PatchSource(root, patch=patch), augment=augment, steps_per_epoch=2)
    for index in range(2):
        (one, one_label), (other, other_label) = sequence[index], dali[index]
        assert one.shape == other.shape == (4, *patch, 2)
        assert np.abs(one - other).mean() < 0.02
        assert (one_label != other_label).mean() < 0.02


def test_both_loaders_have_the_same_moments_with_the_full_recipe(root):
    sequence, dali = both(SliceSource(root), batch_size=12, augment=build_augmentation(FULL), steps_per_epoch=10)
    ours, theirs = (np.concatenate([batch[0] for batch in loader]).astype(np.float64) for loader in (sequence, dali))
    for moment in (np.mean, np.std):
        per_sample = [moment(images, axis=(1, 2, 3)) for images in (ours, theirs)]
        np.testing.assert_allclose(per_sample[0], per_sample[1], atol=0.02)
    labels = [np.concatenate([batch[1] for batch in loader]).mean() for loader in both(SliceSource(root))]
    assert labels[0] == labels[1]


def test_labels_are_never_interpolated(tmp_path, rng):
    label = rng.choice([0, 1, 200], (6, 24, 24)).astype(np.uint8)
    root = write_collection(tmp_path, {"a": (smooth((6, 24, 24), rng), label)})
    recipe = {"ROTATION": {"PROBABILITY": 1.0}, "SCALING": {"PROBABILITY": 1.0}}
    for augment, allowed in (
        (build_augmentation(recipe), {0, 1, 200}),
        (build_augmentation(recipe, outside_label=255), {0, 1, 200, 255}),
    ):
        _, label = DaliLoader(SliceSource(root), batch_size=6, augment=augment)[0]
        assert set(np.unique(label)) == allowed


def test_batches_asked_for_out_of_order_are_those_of_the_order(root):
    _, dali = both(SliceSource(root), augment=build_augmentation(FULL))
    first = [image.copy() for image, _ in dali]
    np.testing.assert_array_equal(dali[2][0], first[2])
    np.testing.assert_array_equal(dali[0][0], first[0])
    resumed = DaliLoader(SliceSource(root), batch_size=4, seed=3, shuffle=True, augment=build_augmentation(FULL))
    resumed.resume(0, batch=1)
    np.testing.assert_array_equal(resumed[0][0], first[1])


def test_what_dali_cannot_do_is_said_in_one_line(root, tmp_path):
    for name in ("ELASTIC", "HUE", "CUBIC"):
        with pytest.raises(DaliError, match=f"AUGMENTATION.{name}.*DATA_GENERATOR_TYPE=SEQUENCE"):
            DaliLoader(SliceSource(root), batch_size=2, augment=build_augmentation({name: {}}))
    with pytest.raises(DaliError, match="INPUT.SLICES=1"):
        DaliLoader(SliceSource(root), batch_size=2, augment=build_augmentation({"GAMMA": {}}, modalities=2))
    with pytest.raises(DaliError, match="BATCH_SIZE is 0"):
        DaliLoader(SliceSource(root), batch_size=0)


def test_pictures_of_different_size_are_refused_in_words(tmp_path):
    for name, side in (("a", 8), ("b", 9)):
        write_picture(tmp_path / "i" / f"{name}.png", np.ones((side, 8), np.uint8))
        write_picture(tmp_path / "m" / f"{name}.png", np.ones((side, 8), np.uint8))
    with pytest.raises(DaliError, match="differ in size"):
        DaliLoader(FolderSource(tmp_path / "i", tmp_path / "m"), batch_size=2)[0]


def test_numbers_stand_where_the_layout_says(root):
    augment = build_augmentation({"GAMMA": {"PROBABILITY": 1.0, "GAMMA": [1.25, 1.25]}, "FLIP": {"PROBABILITY": 1.0}})
    parameters = augment.draw(np.random.default_rng(0), (8, 10))
    layout = Layout(rank=2, modalities=1)
    numbers = pack(parameters, layout, (8, 10))
    assert numbers.shape == (layout.size,) == (22,)
    assert numbers[0] == 0 and numbers[7:10].tolist() == [0, 1, 1] and numbers[-1] == 1.25 and numbers[-2] == 1.0
    source = SliceSource(root)
    feeder = Feeder(
        source,
        make_sampler(source, batch_size=2, seed=0, shuffle=True, foreground_share=None, samples=None),
        seed=0,
        augment=augment,
    )
    assert feeder.sample(0, 1).numbers.tolist() == feeder.sample(0, 1).numbers.tolist()


# ---- TensorFlow


def test_the_dataset_gives_the_loaders_batches_epoch_after_epoch(root):
    pytest.importorskip("nvidia.dali.plugin.tf")
    from data_generators.dali_dataset import as_dataset

    _, dali = both(SliceSource(root), augment=build_augmentation(FULL))
    batches = iter(as_dataset(dali))
    for epoch in range(2):
        dali.resume(epoch)
        for index in range(3):
            image, label = next(batches)
            assert image.dtype == "float32" and label.dtype == "uint8"
            np.testing.assert_allclose(image.numpy(), dali[index][0], atol=1e-6)
            np.testing.assert_array_equal(label.numpy(), dali[index][1])
    last = dali[2][0]
    dali.resume(0)
    started = next(iter(as_dataset(dali, 3 + 2)))
    np.testing.assert_allclose(started[0].numpy(), last, atol=1e-6)
    with pytest.raises(DaliError, match="no multiple of 5"):
        as_dataset(DaliLoader(SliceSource(root), batch_size=5))


def test_pictures_reach_tensorflow_through_dalis_decoder(pictures):
    pytest.importorskip("nvidia.dali.plugin.tf")
    from data_generators.dali_dataset import as_dataset

    loader = DaliLoader(pictures, batch_size=2, drop_remainder=True)
    image, label = next(iter(as_dataset(loader)))
    np.testing.assert_array_equal(image.numpy(), SequenceLoader(pictures, batch_size=2)[0][0])
    np.testing.assert_array_equal(label.numpy(), SequenceLoader(pictures, batch_size=2)[0][1])


TWO_REPLICAS = """
import sys

import numpy as np
import tensorflow as tf

device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)

from data_generators.dali import DaliLoader
from data_generators.dali_dataset import as_dataset, distributed_batches
from data_generators.sequence import SequenceLoader
from data_generators.sources import SliceSource

options = {"batch_size": 4, "seed": 3, "shuffle": True, "drop_remainder": True}
source = SliceSource(sys.argv[1], ["a"])
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
loader, whole = DaliLoader(source, **options), SequenceLoader(source, **options)
batches = iter(distributed_batches(loader, 1, strategy=strategy))
halves = [iter(as_dataset(loader, 1, replicas=2, replica=replica)) for replica in (0, 1)]
for epoch in (1, 2, 3):  # an epoch is one batch of 4 of the 6 slices
    whole.resume(epoch)
    image, label = whole[0]
    for got in (next(batches)[0], None):
        parts = [next(half)[0] for half in halves] if got is None else strategy.experimental_local_results(got)
        assert [len(part) for part in parts] == [2, 2]
        np.testing.assert_array_equal(np.concatenate([part.numpy() for part in parts]), image)
"""


def test_two_replicas_see_together_what_one_device_sees(root, project):
    pytest.importorskip("nvidia.dali.plugin.tf")
    import subprocess
    import sys

    command = [sys.executable, "-c", TWO_REPLICAS, str(root)]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
