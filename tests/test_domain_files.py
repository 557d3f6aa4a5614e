"""A domain as a file of its own: small, self-describing, merged without touching the others, refused elsewhere."""

import dataclasses
import json

import numpy as np
import pytest

from models import build_model
from models.domain_files import (
    DomainFileError,
    domain_part,
    load_domain,
    save_domain,
    shared_fingerprint,
    with_domains,
)
from models.universal_unet import domain_layers, domain_model, domain_names, inherit

HEART = {"name": "heart", "channels": 1, "classes": 2}
BRAIN = {"name": "brain", "channels": 2, "classes": 3}
SPLEEN = {"name": "spleen", "channels": 1, "classes": 2}
SHAPE = (8, 8, 8)


def options(domains, **more):
    return {"domains": domains, "base_filters": 4, "strides": [[1, 1, 1], [2, 2, 2]], **more}


def build(domains, **more):
    return build_model("universal_unet", input_shape=SHAPE, **options(domains, **more))


def answer(network, name, seed=0):
    model = domain_model(network, name)
    image = np.random.default_rng(seed).standard_normal((1, *SHAPE, model.input_shape[-1])).astype(np.float32)
    return np.asarray(model(image))


@pytest.fixture(scope="module")
def base():
    return build([HEART, BRAIN])


@pytest.fixture(scope="module")
def grown(base):
    """The base with a spleen on top, as training leaves it: the shared part as it was."""
    network = build([HEART, BRAIN, SPLEEN])
    inherit(network, base)
    return network


@pytest.fixture
def file(grown, tmp_path):
    part = domain_part(grown, "spleen", options=options([]), facts={"labels": ["background", "spleen"]})
    return save_domain(tmp_path / "spleen.domain.npz", part)


def test_the_file_says_what_it_is_and_holds_the_domain_alone(file, grown):
    part = load_domain(file)
    assert part.entry == SPLEEN
    assert part.network == {"mode": "separable", "base_filters": 4, "strides": [[1, 1, 1], [2, 2, 2]]}
    assert part.facts == {"labels": ["background", "spleen"]}
    assert part.shared == shared_fingerprint(grown)
    own = sum(weight.size for layer in domain_layers(grown, "spleen") for weight in layer.get_weights())
    assert part.parameters == own < grown.count_params() / 2
    with np.load(file, allow_pickle=False) as archive:
        assert json.loads(archive["domain.json"].tobytes())["kind"] == "domain of a universal_unet"


@pytest.mark.parametrize("mode", ["separable", "series", "parallel", "shared"])
def test_a_merged_domain_answers_as_where_it_was_trained_and_the_others_as_before(mode, tmp_path):
    base, grown = build([HEART, BRAIN], mode=mode), build([HEART, BRAIN, SPLEEN], mode=mode)
    inherit(grown, base)
    before = {name: answer(base, name) for name in ("heart", "brain")}
    saved = save_domain(tmp_path / "spleen", domain_part(grown, "spleen", options=options([], mode=mode)))
    whole = with_domains(base, [load_domain(saved)], options=options([HEART, BRAIN], mode=mode))
    assert domain_names(whole) == ["heart", "brain", "spleen"]
    np.testing.assert_array_equal(answer(whole, "spleen"), answer(grown, "spleen"))
    for name, value in before.items():
        np.testing.assert_array_equal(answer(whole, name), value)


def test_several_domains_join_at_once_under_names_of_their_own(base, grown, file):
    first = load_domain(file)
    second = dataclasses.replace(first, name="spleen_2")
    whole = with_domains(base, [first, second], options=options([HEART, BRAIN]))
    assert domain_names(whole) == ["heart", "brain", "spleen", "spleen_2"]
    np.testing.assert_array_equal(answer(whole, "spleen_2"), answer(grown, "spleen"))


def test_a_domain_alone_leaves_the_others_behind(base, grown, file):
    alone = with_domains(base, [load_domain(file)], options=options([HEART, BRAIN]), keep=["spleen"])
    assert domain_names(alone) == ["spleen"]
    np.testing.assert_array_equal(answer(alone, "spleen"), answer(grown, "spleen"))
    with pytest.raises(DomainFileError, match="DOMAINS names liver, but there are heart, brain, spleen"):
        with_domains(base, [load_domain(file)], options=options([HEART, BRAIN]), keep=["liver"])


def test_the_fingerprint_is_of_the_shared_tensors_alone(base, grown):
    assert shared_fingerprint(base) == shared_fingerprint(grown)
    other = build([HEART, BRAIN])
    inherit(other, base)
    shared = next(layer for layer in other.layers if layer.name == "down_sample0_conv")
    shared.bias.assign(np.asarray(shared.bias) + np.float32(1e-7))
    assert shared_fingerprint(other) != shared_fingerprint(base)


@pytest.mark.parametrize(
    ("domains", "more", "words"),
    [
        ([HEART, SPLEEN], {}, r"Two domains are called spleen.*SOURCE=\{spleen_2: <file>\}"),
        ([HEART, BRAIN], {}, r"spleen was trained on other shared tensors \([0-9a-f]{12}\)"),
        ([HEART, BRAIN], {"mode": "series"}, r"of MODEL\.MODE=separable, this one has series"),
        ([HEART, BRAIN], {"base_filters": 8}, r"of MODEL\.BASE_FILTERS=4, this one has 8"),
    ],
)
def test_a_domain_does_not_join_a_network_it_was_not_trained_in(file, domains, more, words):
    with pytest.raises(DomainFileError, match=words):
        with_domains(build(domains, **more), [load_domain(file)], options=options(domains, **more))


def test_a_domain_of_other_layers_is_refused_by_name(file, base):
    part = load_domain(file)
    cut = {key: value for key, value in part.tensors.items() if key != "output/bias"}
    wide = {**part.tensors, "output/bias": np.zeros(3, np.float32)}
    for tensors in (cut, wide):
        with pytest.raises(DomainFileError, match="output/bias"):
            with_domains(base, [dataclasses.replace(part, tensors=tensors)], options=options([HEART, BRAIN]))


def test_an_independent_network_has_no_part_to_share():
    network = build([HEART], mode="independent")
    with pytest.raises(DomainFileError, match="independent shares nothing"):
        domain_part(network, "heart", options=options([HEART], mode="independent"))


def test_an_unknown_domain_lists_those_there_are(base):
    with pytest.raises(ValueError, match="heart, brain"):
        domain_part(base, "kidney", options=options([HEART, BRAIN]))


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "foreign", "version"])
def test_a_damaged_file_is_named(file, damage):
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "text":
        file.write_text("no archive")
    elif damage == "foreign":
        np.savez(file, weights=np.zeros(3))
    else:
        with np.load(file) as archive:
            held = dict(archive)
        said = json.loads(held["domain.json"].tobytes()) | {"version": 9}
        np.savez(file, **held | {"domain.json": np.frombuffer(json.dumps(said).encode(), np.uint8)})
    with pytest.raises(DomainFileError, match=r"spleen\.domain\.npz"):
        load_domain(file)
