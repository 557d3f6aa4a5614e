"""export.py writes a domain as a file of its own, import_weights.py puts it on the network it was added to."""

import json

import keras
import numpy as np
import pytest
from domain_layout import DOMAINS, PATCH, make_collection, make_network, make_run, typed
from omegaconf import OmegaConf

import export as export_script
import import_weights as import_script
import predict as prediction_script
from commands.domain_exchange import is_domain_file
from configs import compose
from imaging import read_label
from models.domain_files import load_domain
from models.universal_unet import domain_model, domain_names, inherit

SPLEEN = {"name": "spleen", "channels": 1, "classes": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A base run of two domains, and a run of the same network with a spleen on top."""
    work = make_collection(tmp_path_factory.mktemp("exchange"))
    base = make_network()
    make_run(work, name="base", network=base)
    grown = make_network([*DOMAINS, SPLEEN])
    inherit(grown, base)
    make_run(work, name="grown", domains=[*DOMAINS, SPLEEN], network=grown)
    export(work, "RUN_NAME=grown", "DOMAIN=spleen", "EXPORT.FORMATS=[domain,keras]")
    return work


@pytest.fixture(scope="module")
def file(root):
    return root / "outputs/grown/export/universal_unet_spleen.domain.npz"


def export(work, *more):
    return export_script.export(compose(typed(work, *more)))


def merge(work, *more):
    return import_script.main(compose([f"WORK_DIR={work}", *more]))


def network_of(work, run):
    """The network of a run, as its own configuration builds it."""
    stored = OmegaConf.to_container(OmegaConf.load(work / "outputs" / run / "config.yaml").MODEL.DOMAINS)
    network = make_network(stored)
    network.load_weights(work / "outputs" / run / "checkpoints/best.weights.h5")
    return network


def answer(network, name):
    image = np.random.default_rng(1).standard_normal((1, *PATCH, 1)).astype(np.float32)
    return np.asarray(domain_model(network, name)(image))


def test_the_file_tells_of_its_domain_and_of_no_machine(root, file):
    part = load_domain(file)
    assert part.entry == SPLEEN
    assert part.facts["run"] == "grown"
    assert part.facts["settings"] == {"INPUT": {"PATCH": list(PATCH)}, "LABELS": {"liver": [1, 2]}}
    assert part.facts["collection"]["intensity"]["kind"] == "window"
    assert part.facts["collection"]["cases"] == []
    assert str(root) not in json.dumps(part.facts["settings"])
    (said, whole) = json.loads((root / "outputs/grown/export/universal_unet_spleen.json").read_text())
    assert said["parameters"] == part.parameters < whole["parameters"]
    assert (said["difference"], said["classes"]) == (0.0, ["background", "liver"])


def test_a_domain_alone_is_a_network_like_any(root):
    loaded = keras.saving.load_model(root / "outputs/grown/export/universal_unet_spleen.keras")
    image = np.random.default_rng(1).standard_normal((1, *PATCH, 1)).astype(np.float32)
    np.testing.assert_array_equal(loaded(image), answer(network_of(root, "grown"), "spleen"))


def test_a_merged_domain_predicts_and_the_others_are_as_before(root, file, capsys):
    assert merge(root, f"SOURCE={file}", "ADD_TO=base", "RUN_NAME=merged") == 0
    assert "python predict.py RUN_NAME=merged DOMAIN=spleen" in capsys.readouterr().out
    merged, base = network_of(root, "merged"), network_of(root, "base")
    assert domain_names(merged) == ["liver", "both", "spleen"]
    for name in ("liver", "both"):
        np.testing.assert_array_equal(answer(merged, name), answer(base, name))
    image = root / "raw/volume-1.nii.gz"
    found = prediction_script.predict(
        compose(typed(root, "RUN_NAME=merged", "DOMAIN=spleen", f"INPUT_PATH={image}", "INFERENCE.OVERLAP=0"))
    )
    assert set(read_label(found.folder / "volume-1.nii.gz").array.ravel()) == {1}
    record = json.loads((root / "outputs/merged/run.json").read_text())
    assert record["domains"]["spleen"]["sha256"] and record["parameters"] == merged.count_params()


def test_a_domain_can_be_renamed_and_kept_alone(root, file):
    merge(root, f"SOURCE={{milt: {file}}}", "ADD_TO=base", "DOMAINS=[milt]", "RUN_NAME=alone")
    alone = network_of(root, "alone")
    assert domain_names(alone) == ["milt"]
    np.testing.assert_array_equal(answer(alone, "milt"), answer(network_of(root, "grown"), "spleen"))
    assert (root / "outputs/alone/domains/milt/collection.json").is_file()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["SOURCE={file}"], r"needs the network it was added to: type ADD_TO=<run>"),
        (["SOURCE={file}", "ADD_TO=grown"], r"Two domains are called spleen.*SOURCE=\{spleen_2: <file>\}"),
        (["SOURCE=[{file},{file}]", "ADD_TO=base"], "Two domains are called spleen"),
        (["SOURCE={file}", "ADD_TO=other"], r"spleen was trained on other shared tensors"),
        (["SOURCE=nothing.domain.npz", "ADD_TO=base"], r"no domain file .*nothing\.domain\.npz"),
        (
            ["SOURCE={file}", "ADD_TO=base", "DOMAINS=[kidney]"],
            "DOMAINS names kidney, but there are liver, both, spleen",
        ),
    ],
)
def test_a_merge_that_does_not_fit_writes_nothing(root, file, more, words):
    if not (root / "outputs/other").exists():
        make_run(root, name="other", network=make_network())
    with pytest.raises(ValueError, match=words):
        merge(root, *[word.replace("{file}", str(file)) for word in more], "RUN_NAME=wrong")
    assert not (root / "outputs/wrong/config.yaml").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["RUN_NAME=base", "EXPORT.FORMATS=[domain]"], "DOMAIN is not set: base knows liver, both"),
        (["RUN_NAME=base"], "DOMAIN is not set: base knows liver, both"),
        (["RUN_NAME=base", "DOMAIN=spleen"], "DOMAIN=spleen was not trained: base knows liver, both"),
        (["RUN_NAME=plain", "EXPORT.FORMATS=[domain]"], "plain is a unet without domains"),
    ],
)
def test_an_export_that_is_not_there_is_answered(root, more, words):
    plain = root / "outputs/plain"
    if not plain.exists():
        plain.mkdir()
        OmegaConf.save(compose(["MODEL.TYPE=unet"]), plain / "config.yaml")
    with pytest.raises(ValueError, match=words):
        export(root, *more)


def test_domain_files_are_told_by_their_name():
    assert is_domain_file("spleen.domain.npz")
    assert is_domain_file({"milt": "spleen.domain.npz"})
    assert is_domain_file(["a.domain.npz", "b.domain.npz"])
    assert not is_domain_file("weights.npz")
