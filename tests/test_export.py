import json

import keras
import numpy as np
import pytest

import export as script
from configs import compose
from configs.runs import save_config
from models import build_model
from models.export import ExportError, export_network, largest_difference

TINY = {"filters": [4, 6, 8], "recipe": "paper", "deep_supervision": True}
TYPED = ["MODEL.TYPE=unetplusplus", "MODEL.FILTERS=[4,6,8]", "MODEL.RECIPE=paper", "MODEL.DEEP_SUPERVISION=True"]
DATA = ["dataset=image_folder", "INPUT.HEIGHT=16", "INPUT.WIDTH=24", "INPUT.CHANNELS=3", "OUTPUT.CLASSES=1"]


@pytest.fixture
def run(tmp_path):
    """A trained run, as training leaves it."""
    network = build_model("unetplusplus", input_shape=(16, 24, 3), num_classes=1, **TINY)
    folder = tmp_path / "outputs" / "done"
    (folder / "checkpoints").mkdir(parents=True)
    network.save_weights(folder / "checkpoints" / "best.weights.h5")
    save_config(compose([*TYPED, *DATA]), folder)
    return network, [f"WORK_DIR={tmp_path}", "RUN_NAME=done", *DATA]


def test_pruned_file_is_the_head_of_the_whole_network(run, rng):
    network, typed = run
    (written,) = script.export(compose([*typed, "MODEL.TYPE=unetplusplus", "MODEL.PRUNE_AT=L1"]))
    assert written["file"].endswith("unetplusplus_L1.keras")
    small = keras.saving.load_model(written["file"])
    image = rng.random((1, 16, 24, 3), np.float32)
    np.testing.assert_array_equal(small(image), network(image)[1])
    assert written["parameters"] == small.count_params() < network.count_params()


def test_every_format_answers_as_the_network(run, tmp_path):
    pytest.importorskip("tf2onnx")
    _, typed = run
    written = script.export(compose([*typed, "EXPORT.FORMATS=[keras,savedmodel,onnx]", f"EXPORT.PATH={tmp_path}"]))
    assert [entry["format"] for entry in written] == ["keras", "savedmodel", "onnx"]
    assert all(entry["difference"] is None or entry["difference"] < 1e-4 for entry in written)
    said = json.loads((tmp_path / "unetplusplus.json").read_text())
    assert said[0]["classes"] == ["background", "foreground"]
    assert said[0]["outputs"] == "logits; one sigmoid"


def test_onnx_needs_no_other_format_before_it(run, tmp_path):
    pytest.importorskip("tf2onnx")
    (written,) = script.export(compose([*run[1], "EXPORT.FORMATS=[onnx]", f"EXPORT.PATH={tmp_path}"]))
    assert written["difference"] is None or written["difference"] < 1e-4


def test_free_size_takes_other_pictures(run, rng):
    _, typed = run
    (written,) = script.export(compose([*typed, "EXPORT.FREE_SIZE=True", "INFERENCE.HEADS=accurate"]))
    loaded = keras.saving.load_model(written["file"])
    assert loaded(rng.random((1, 8, 12, 3), np.float32)).shape == (1, 8, 12, 1)
    assert written["head"] == "accurate"


def test_a_file_that_answers_otherwise_is_refused(tmp_path, rng):
    first, second = (build_model("unetplusplus", input_shape=(8, 8, 1), num_classes=1, **TINY) for _ in range(2))
    path = export_network(first, tmp_path / "net", "keras")
    with pytest.raises(ExportError, match=r"net\.keras answers otherwise than the network"):
        largest_difference(second, path, "keras", rng.random((1, 8, 8, 1), np.float32))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["EXPORT.FORMATS=[tflite]"], r"EXPORT\.FORMATS=tflite is unknown\. Type a list of keras, savedmodel, onnx"),
        (["MODEL.PRUNE_AT=L7"], r"MODEL\.PRUNE_AT=L7: this UNet\+\+ has the levels L1 to L2"),
    ],
)
def test_mistakes_are_one_line(run, typed, message):
    with pytest.raises(ValueError, match=message):
        script.export(compose([*run[1], *typed]))


def test_a_head_is_chosen_once():
    with pytest.raises(ValueError, match="both choose a head"):
        script.check(compose(["MODEL.PRUNE_AT=L1", "INFERENCE.HEADS=L2"]))


def test_a_head_trained_with_weight_0_is_refused(run, tmp_path):
    folder = tmp_path / "outputs" / "done"
    save_config(compose([*TYPED, *DATA, "LOSS.OUTPUT_WEIGHTS=[1,0]"]), folder)
    with pytest.raises(ValueError, match="Head L1 was trained with weight 0"):
        script.export(compose([*run[1], "MODEL.PRUNE_AT=L1"]))
