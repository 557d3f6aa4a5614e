"""Official checkpoints of UNETR++: written as PyTorch writes them, imported, checked against recorded answers."""

import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
from tiny_networks import TYPED_UNETR, UNETR
from torch_writing import Name, Reference, write_checkpoint

import import_weights as script
from configs import compose
from inference.loading import load_network
from models import build_model
from models.state_dicts import KEY_MAPS, load_state_dict, to_state_dict
from models.torch_files import read_tensors

TINY = [*TYPED_UNETR, "INPUT.PATCH=[8,16,16]", "INPUT.CHANNELS=1", "DATASET.LABELS={a:1,b:2}", "RUN_NAME=imported"]


def typed(tmp_path, source, *more):
    words = ["MODEL.TYPE=unetr_plusplus", "dataset=image_folder", f"WORK_DIR={tmp_path}", f"SOURCE={source}"]
    return compose([*words, *more])


def original(classes=3):
    """A network with weights that make every part count, and its state dict, where F is E as in the original."""
    network = build_model("unetr_plusplus", input_shape=(8, 16, 16, 1), num_classes=classes, **UNETR)
    rng, tensors = np.random.default_rng(3), {}
    for key, value in to_state_dict(network).items():
        twin = tensors.get(key.replace("epa_block.F", "epa_block.E"))
        drawn = np.asarray(rng.uniform(0.5, 1.5, value.shape) * value.size**-0.3, np.float32)
        tensors[key] = drawn if twin is None else twin
    load_state_dict(network, tensors)
    return network, tensors


@pytest.mark.parametrize("form", ["model", "pth", "safetensors", "npz"])
def test_every_form_of_the_file_imports_to_the_same_answers(tmp_path, form):
    network, tensors = original()
    counters = {"decoder5.decoder_block.0.0.conv51.norm1.num_batches_tracked": np.zeros((), np.int64)}
    path = tmp_path / f"w.{form}"
    if form == "npz":
        np.savez(path, **tensors)
    elif form == "safetensors":
        pytest.importorskip("safetensors.numpy").save_file({k: v.copy() for k, v in tensors.items()}, path)
    else:
        write_checkpoint(path, tensors | counters, prefix="module." if form == "model" else "", nested=form == "model")
    run, report = script.import_weights(typed(tmp_path, path, *TINY))
    assert report.complete()
    loaded = load_network(
        ("unetr_plusplus", UNETR),
        input_shape=(8, 16, 16, 1),
        num_classes=3,
        weights=run / "checkpoints" / "best.weights.h5",
        batch_size=1,
    )
    image = np.random.default_rng(0).random((1, 8, 16, 16, 1), np.float32)
    logits = np.asarray(network(image)[0])
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(loaded(image), odds / odds.sum(-1, keepdims=True), atol=1e-5)


SMALL = {"input_shape": (16, 16, 1), "num_classes": 2, "filters": [2, 4]}
DOMAINS = [{"name": "brain", "channels": 1, "classes": 2}, {"name": "liver", "channels": 2, "classes": 3}]
EVERY_MODEL = {
    "unet3plus": SMALL | {"filters": [2, 3, 4]},
    "unet3plus_deepsup": SMALL | {"filters": [2, 3, 4]},
    "unet3plus_deepsup_cgm": SMALL | {"filters": [2, 3, 4]},
    "unetplusplus": SMALL,
    "unet": SMALL,
    "resenc_unet": SMALL,
    "unetr_plusplus": {"input_shape": (8, 16, 16, 1), "num_classes": 2, **UNETR},
    "universal_unet": {"input_shape": (8, 8, 8), "domains": DOMAINS, "base_filters": 2, "strides": [[1] * 3, [2] * 3]},
}


def test_every_model_with_an_original_is_in_the_list():
    assert set(EVERY_MODEL) == set(KEY_MAPS)


@pytest.mark.parametrize("kind", EVERY_MODEL)
def test_every_model_goes_through_a_checkpoint_and_back_exactly(tmp_path, kind, rng):
    model, other = (build_model(kind, **EVERY_MODEL[kind]) for _ in range(2))
    for variable in model.weights:
        if "seed" not in variable.path:
            variable.assign(rng.random(variable.shape).astype(np.float32))
    path = write_checkpoint(tmp_path / "w.pth", to_state_dict(model), prefix="module.")
    load_state_dict(other, read_tensors(path))
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        if "seed" not in ours.path:
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=ours.path)


def attacks(witness):
    """What hides in a checkpoint: name to entries beside the weights, or to the bytes of a whole pickle."""
    command = f"touch {witness}"
    return {
        "call": {"x": Name("os", "system", (command,))},
        "posix": {"x": Name("posix", "system", (command,))},
        "eval": {"x": Name("builtins", "eval", (f"__import__('os').system('{command}')",))},
        "nested": {"x": [{"y": ({"z": Name("subprocess", "check_output", (["touch", str(witness)],))},)}]},
        "in a reference": {"x": Reference(("storage", Name("os", "system", (command,)), "0", "cpu", 1))},
        "a reference of another kind": {"x": Reference(("module", Name("os", "system"), "0", "cpu", 1))},
        "as an argument": {"x": Name("collections", "OrderedDict", ([("a", Name("os", "system", (command,)))],))},
        "import by torch": {"x": Name("torch", "load", (str(witness),))},
        "apply": {"x": Name("functools", "reduce", (Name("os", "system"), [command]))},
        "protocol 0": b"cos\nsystem\n(S'" + command.encode() + b"'\ntR.",
        "instance": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "new object": pickle.dumps(_Trap(command), 2),
        "extension": b"\x82\x01.",
    }


class _Trap:
    """Pickles as a call of os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("attack", list(attacks("x")))
@pytest.mark.parametrize("suffix", [".model", ".pth"])
def test_a_malicious_pickle_is_refused_by_name_and_nothing_runs(tmp_path, attack, suffix, capsys):
    witness, path = tmp_path / "ran", tmp_path / f"evil{suffix}"
    content = attacks(witness)[attack]
    if isinstance(content, bytes):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        write_checkpoint(path, {"w": np.zeros(2, np.float32)}, beside=content)
    with pytest.raises(ValueError, match=r"evil\.\w+ [^\n]*refused, nothing of it was run") as caught:
        script.import_weights(typed(tmp_path, path, *TINY))
    assert "\n" not in str(caught.value)
    assert not witness.exists()
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        ({"MODEL.PRESET": "acdc"}, "MODEL.PRESET=synapse"),
        ({"DATASET.LABELS": "{a:1}"}, "OUTPUT.CLASSES=3"),
        ({"INPUT.CHANNELS": "2"}, "INPUT.CHANNELS=1"),
        ({"INPUT.PATCH": "[8,16,32]"}, "512 blocks of 1x2x2 voxels: set INPUT.PATCH"),
    ],
)
def test_a_wrong_setting_is_answered_with_the_right_one(tmp_path, wrong, cure):
    _, tensors = original()
    np.savez(tmp_path / "w.npz", **tensors)
    kept = [word for word in TINY if word.split("=")[0] not in wrong]
    with pytest.raises(ValueError) as caught:
        script.import_weights(typed(tmp_path, tmp_path / "w.npz", *kept, *(f"{k}={v}" for k, v in wrong.items())))
    assert cure in str(caught.value)
    assert not (tmp_path / "outputs").exists()


def test_a_published_patch_is_named_and_resizing_offered(tmp_path):
    # 16 x 160 x 160 in blocks of 1 x 4 x 4 are 25,600 tokens: the patch of the ACDC network.
    narrow = {**UNETR, "stem": None, "preset": "acdc", "filters": [4, 4, 4, 4], "heads": 1}
    source = build_model("unetr_plusplus", input_shape=(16, 160, 160, 1), num_classes=4, **narrow)
    np.savez(tmp_path / "w.npz", **to_state_dict(source))
    words = ["MODEL.PRESET=acdc", "MODEL.FILTERS=[4,4,4,4]", "MODEL.HEADS=1", "DATASET.LABELS={a:1,b:2,c:3}"]
    kept = [
        word for word in TINY if not word.startswith(("MODEL.STEM", "MODEL.FILT", "MODEL.HEADS", "INPUT.P", "DATA"))
    ]
    typed_here = [*kept, *words, "INPUT.PATCH=[8,32,32]"]
    with pytest.raises(ValueError, match=r"type INPUT\.PATCH=\[16,160,160\].*IMPORT\.RESIZE_FROM=\[16,160,160\]"):
        script.import_weights(typed(tmp_path, tmp_path / "w.npz", *typed_here))
    _, report = script.import_weights(
        typed(tmp_path, tmp_path / "w.npz", *typed_here, "IMPORT.RESIZE_FROM=[16,160,160]")
    )
    assert report.complete()


def test_without_strict_a_head_of_other_classes_is_listed(tmp_path):
    _, tensors = original(classes=5)
    np.savez(tmp_path / "w.npz", **tensors)
    _, report = script.import_weights(typed(tmp_path, tmp_path / "w.npz", *TINY, "IMPORT.STRICT=False"))
    heads = {f"out{number}.conv.conv.{kind}" for number in (1, 2, 3) for kind in ("weight", "bias")}
    assert {text.split(" ")[0] for text in report.differing} == heads
    assert not report.missing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synapse", "acdc", "lung", "tumor"])
def test_the_official_layout_gives_the_recorded_answers(tmp_path, shared, monkeypatch, name):
    """The whole way: golden weights, a `.model` file, import_weights.py, the recorded logits of the original."""
    monkeypatch.syspath_prepend(str(shared / "fixtures"))
    check, golden = __import__("check"), __import__("golden")
    with np.load(shared / f"fixtures/unetr_plusplus_{name}.npz") as archive:
        fixture = dict(archive)
    salt, size = str(fixture["salt"]), tuple(int(n) for n in fixture["input_shape"])
    path = write_checkpoint(
        tmp_path / "model_final_checkpoint.model", check.state_dict(fixture, salt), prefix="module."
    )
    classes = {"synapse": 14, "acdc": 4, "lung": 2, "tumor": 4}[name]
    preset = "brats" if name == "tumor" else name
    words = [f"MODEL.PRESET={preset}", f"INPUT.PATCH={list(size[2:])}".replace(" ", ""), f"INPUT.CHANNELS={size[1]}"]
    labels = ",".join(f"c{value}:{value}" for value in range(1, classes))
    run, report = script.import_weights(typed(tmp_path, path, *words, f"DATASET.LABELS={{{labels}}}", "RUN_NAME=whole"))
    assert report.complete()
    network = build_model("unetr_plusplus", input_shape=(*size[2:], size[1]), num_classes=classes, preset=preset)
    network.load_weights(run / "checkpoints" / "best.weights.h5")
    answers = network.predict_on_batch(np.moveaxis(golden.golden_input(salt, size), 1, -1))
    for output, answer in zip([str(n) for n in fixture["outputs"]], answers, strict=True):
        found = np.moveaxis(np.asarray(answer), -1, 1).reshape(-1)[fixture[f"{output}/index"]]
        worst = np.abs(found - fixture[f"{output}/value"]).max() / fixture[f"{output}/mean_std"][1]
        assert worst < 1e-3, (output, worst)
    sys.modules.pop("check", None)
