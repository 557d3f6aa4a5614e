import json

import numpy as np
import pytest

import import_weights as script
from configs import compose
from inference.loading import load_model
from models import build_model
from models.state_dicts import to_state_dict

TYPED = ["MODEL.TYPE=unetplusplus", "MODEL.FILTERS=[4,6]", "dataset=image_folder", "RUN_NAME=imported"]
SIZE = ["INPUT.HEIGHT=8", "INPUT.WIDTH=8", "INPUT.CHANNELS=1"]


@pytest.fixture
def network():
    return build_model("unetplusplus", input_shape=(8, 8, 1), num_classes=2, filters=[4, 6])


def typed(tmp_path, source, *more):
    return compose([*TYPED, *SIZE, f"WORK_DIR={tmp_path}", f"SOURCE={source}", *more])


def test_imported_weights_are_a_run_that_answers_as_the_original(tmp_path, network, rng):
    source = tmp_path / "original.npz"
    np.savez(source, **{f"module.{key}": value for key, value in to_state_dict(network).items()})
    run, report = script.import_weights(typed(tmp_path, source))
    assert not report.unused
    assert not report.missing
    options = {"filters": [4, 6]}
    loaded = load_model(
        ("unetplusplus", options),
        input_shape=(8, 8, 1),
        num_classes=2,
        weights=run / "checkpoints" / "best.weights.h5",
    )
    image = rng.random((1, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(loaded(image), network(image))
    assert json.loads((run / "run.json").read_text())["loaded"] == len(to_state_dict(network))


def test_strict_refuses_and_writes_nothing(tmp_path, network):
    tensors = to_state_dict(network)
    tensors["strange.weight"] = np.zeros(3)
    np.savez(tmp_path / "w.npz", **tensors)
    with pytest.raises(ValueError, match=r"unused: strange\.weight"):
        script.import_weights(typed(tmp_path, tmp_path / "w.npz"))
    assert not (tmp_path / "outputs").exists()
    _, report = script.import_weights(typed(tmp_path, tmp_path / "w.npz", "IMPORT.STRICT=False"))
    assert report.unused == ["strange.weight"]


def test_weights_of_another_network_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"No tensor of .*w\.npz fits unetplusplus"):
        script.import_weights(typed(tmp_path, tmp_path / "w.npz", "IMPORT.STRICT=False"))


def test_a_source_must_be_given():
    with pytest.raises(ValueError, match=r"SOURCE is not set: type SOURCE=<weights file"):
        script.check(compose(TYPED))
