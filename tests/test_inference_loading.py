"""Opening a trained run: the right file, strict loading, the network of inference only."""

import keras
import numpy as np
import pytest

from configs import compose
from configs.facts import plain
from inference.ledger import Ledger
from inference.loading import WeightsError, averaged, checkpoint_path, load_network, open_segmenters
from inference.segmenter import Application, Segmenter, safe_mirror_axes
from models import build_model

TINY = {"filters": [4, 4, 4, 4, 4]}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a guided, deeply supervised network, as training saves them."""
    path = tmp_path_factory.mktemp("run") / "best.weights.h5"
    network = build_model("unet3plus_deepsup_cgm", input_shape=(32, 32, 3), num_classes=2, **TINY)
    network.save_weights(path)
    reference = network(np.ones((1, 32, 32, 3), np.float32), training=False)[0]
    return path, np.asarray(keras.ops.softmax(reference))


def test_the_finest_output_of_a_guided_network_is_answered(weights):
    path, expected = weights
    network = load_network(
        ("unet3plus_deepsup_cgm", TINY), input_shape=(32, 32, 3), num_classes=2, weights=path, batch_size=2
    )
    found = network(np.ones((1, 32, 32, 3), np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "classes"),
    [
        ("unet3plus_deepsup_cgm", TINY, 3),
        ("unet3plus_deepsup_cgm", {"filters": [8, 4, 4, 4, 4]}, 2),
        ("unet3plus", TINY, 2),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(weights, kind, options, classes):
    with pytest.raises(WeightsError, match=r"best\.weights\.h5") as error:
        load_network((kind, options), input_shape=(32, 32, 3), num_classes=classes, weights=weights[0])
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "best.weights.h5").write_bytes(b"not hdf5")
    with pytest.raises(WeightsError, match="does not fit"):
        load_network(("unet3plus", TINY), input_shape=(32, 32, 3), num_classes=2, weights=tmp_path / "best.weights.h5")


def test_the_checkpoint_that_is_asked_for(tmp_path):
    (tmp_path / "best.weights.h5").write_bytes(b"")
    (tmp_path / "mine.h5").write_bytes(b"")
    assert checkpoint_path(tmp_path, "best").name == "best.weights.h5"
    assert checkpoint_path(tmp_path, str(tmp_path / "mine.h5")).name == "mine.h5"
    with pytest.raises(WeightsError, match=r"holds best\.weights\.h5"):
        checkpoint_path(tmp_path, "last")


def test_the_configuration_becomes_an_application(weights):
    options = plain(compose(["INFERENCE.GAUSSIAN=False", "INFERENCE.LARGEST_COMPONENT=True"]).INFERENCE)
    how = Application.from_options(options, rank=2, classes=[1], slices=3, mirror=True)
    (segmenter,) = open_segmenters(
        ("unet3plus_deepsup_cgm", TINY),
        weights=[weights[0]],
        input_shape=(32, 32, 3),
        num_classes=2,
        application=how,
    )
    assert how.importance == "uniform"
    assert how.postprocessing.largest_component == (1,)
    # Rows may be mirrored, columns are left and right.
    assert how.mirror_axes == (0,)
    assert segmenter.probabilities(np.zeros((2, 32, 32, 1), np.float16)).shape == (2, 32, 32, 2)


def test_left_and_right_are_never_mirrored_unasked():
    assert safe_mirror_axes(2) == (0,)
    assert safe_mirror_axes(3) == (0, 1)


def test_a_volume_network_is_applied_by_windows(rng):
    volume = rng.normal(size=(9, 20, 17, 1)).astype(np.float32)
    seen = set()

    def network(batch):
        seen.add(batch.shape)
        return batch

    found = Segmenter(network, (8, 8, 8), Application(batch_size=3)).probabilities(volume)
    assert seen == {(3, 8, 8, 8, 1)}
    np.testing.assert_allclose(found, volume, atol=1e-5)


def test_a_killed_ledger_keeps_what_was_finished(tmp_path):
    source = tmp_path / "in.nii"
    source.write_bytes(b"1")
    (tmp_path / "out.nii").write_bytes(b"")
    Ledger(tmp_path / "p.json", {"a": 1}).add("case", source, [tmp_path / "out.nii"])
    assert Ledger(tmp_path / "p.json", {"a": 1}).finished("case", source)
    assert not Ledger(tmp_path / "p.json", {"a": 2}).finished("case", source)
    (tmp_path / "p.json").write_text('{"settings": {"a"')
    assert not Ledger(tmp_path / "p.json", {"a": 1}).finished("case", source)


def test_members_share_one_network_and_answer_with_their_own_weights(tmp_path, rng):
    files = []
    for fold in range(2):
        network = build_model("unet", input_shape=(16, 16, 1), num_classes=2, filters=[4, 4])
        files.append(tmp_path / f"fold{fold}.weights.h5")
        network.save_weights(files[-1])
    facts = {"input_shape": (16, 16, 1), "num_classes": 2}
    how = Application(batch_size=2)
    members = open_segmenters(("unet", {"filters": [4, 4]}), weights=files, application=how, **facts)
    image = rng.normal(size=(3, 16, 16, 1)).astype(np.float32)
    alone = [load_network(("unet", {"filters": [4, 4]}), weights=file, batch_size=2, **facts)(image) for file in files]
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    for _ in range(2):
        for member, expected in zip(members, alone, strict=True):
            np.testing.assert_allclose(member.probabilities(image), expected, atol=1e-6)
    np.testing.assert_allclose(averaged(members).probabilities(image), (alone[0] + alone[1]) / 2, atol=1e-6)


def test_regions_and_classes_are_not_averaged():
    first = Segmenter(lambda batch: batch, (8, 8), regions=[[1, 2], [2]])
    with pytest.raises(WeightsError, match="different DATASET.REGIONS"):
        averaged([first, Segmenter(lambda batch: batch, (8, 8))])


def test_one_domain_of_a_network_for_many_answers(tmp_path, rng):
    domains = [{"name": "heart", "channels": 1, "classes": 2}, {"name": "brain", "channels": 2, "classes": 3}]
    options = {"domains": domains, "base_filters": 4, "strides": [[1, 1, 1], [2, 2, 2]]}
    network = build_model("universal_unet", input_shape=(8, 8, 8), **options)
    path = tmp_path / "best.weights.h5"
    network.save_weights(path)
    image = rng.normal(size=(1, 8, 8, 8, 2)).astype(np.float32)
    brain = keras.Model(network.inputs[1], network.outputs[1])
    facts = {"input_shape": (8, 8, 8, 2), "num_classes": 3, "weights": path, "batch_size": 1}
    found = load_network(("universal_unet", {**options, "domain": "brain"}), **facts)(image)
    np.testing.assert_allclose(found, np.asarray(keras.ops.softmax(brain(image))), atol=1e-5)
    with pytest.raises(ValueError, match=r"no domain 'liver'.*heart, brain"):
        load_network(("universal_unet", {**options, "domain": "liver"}), **facts)


def test_a_checkpoint_without_adapters_is_named_so(tmp_path):
    path = tmp_path / "best.weights.h5"
    build_model("unet", input_shape=(8, 8, 8, 1), num_classes=2, filters=[4, 4]).save_weights(path)
    domains = [{"name": "heart", "channels": 1, "classes": 2}]
    model = ("universal_unet", {"domains": domains, "strides": [[1, 1, 1], [2, 2, 2]], "domain": "heart"})
    with pytest.raises(WeightsError, match="holds no adapters of domains"):
        load_network(model, input_shape=(8, 8, 8, 1), num_classes=2, weights=path)
