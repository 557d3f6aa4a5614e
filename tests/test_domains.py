"""Configurations of networks for many domains: what each domain is trained with, and mistakes answered in words."""

import pytest
from domain_cases import WORDS, write_domain, write_domains

from commands.base_runs import find_base
from commands.domain_plans import check_domains, with_domains
from commands.domains import domain_configuration, domains_of
from commands.task_names import named_by_task
from configs import ConfigError, compose
from configs.facts import plain
from configs.runs import new_run, save_config
from data_generators.manifest import save_splits
from data_generators.records import Splits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_domains(tmp_path_factory.mktemp("work"))


def composed(folder, *words):
    return compose([*WORDS, f"WORK_DIR={folder}", *words])


def test_channels_and_classes_come_from_the_collections(folder):
    cfg = with_domains(composed(folder))
    assert plain(cfg.MODEL.DOMAINS) == [
        {"name": "liver", "channels": 1, "classes": 3},
        {"name": "heart", "channels": 2, "classes": 2},
    ]


def test_a_domain_has_its_own_configuration(folder):
    said = ["DOMAIN_SETTINGS.liver.LABELS={organ:[1,2]}", "DOMAIN_SETTINGS.heart.HYPER_PARAMETERS.BATCH_SIZE=3"]
    cfg = with_domains(composed(folder, *said, "DOMAIN_SETTINGS.heart.INPUT.PATCH=[5,16,30]"))
    liver, heart = (domain_configuration(cfg, name) for name in ("liver", "heart"))
    assert (liver.DATASET.NAME, liver.DATASET.PREPARED_PATH) == ("liver", "data/prepared/liver")
    assert plain(liver.DATASET.LABELS) == {"organ": [1, 2]}
    assert heart.DATASET.LABELS is None
    assert (liver.HYPER_PARAMETERS.BATCH_SIZE, heart.HYPER_PARAMETERS.BATCH_SIZE) == (2, 3)
    assert plain(cfg.MODEL.DOMAINS)[0]["classes"] == 2
    # Strides of 2 in all: 5 x 16 x 30 becomes 6 x 16 x 30.
    assert plain(heart.INPUT.PATCH) == [6, 16, 30]
    assert plain(liver.INPUT.PATCH) == [8, 16, 16]


def test_the_same_images_with_other_labels_are_another_domain(folder):
    said = ["DOMAINS=[liver,organ]", "DOMAIN_SETTINGS.organ.PREPARED_PATH=data/prepared/liver"]
    cfg = with_domains(composed(folder, *said, "DOMAIN_SETTINGS.organ.LABELS={organ:[1,2]}"))
    assert [entry["classes"] for entry in plain(cfg.MODEL.DOMAINS)] == [3, 2]


def test_resizing_keeps_the_patch_of_each_domain(folder):
    said = [
        "INPUT.UNIFY=resize",
        "DOMAIN_SETTINGS.liver.INPUT.PATCH=[5,9,9]",
        "DOMAIN_SETTINGS.heart.INPUT.PATCH=[4,8,8]",
    ]
    cfg = with_domains(composed(folder, *said))
    assert plain(cfg.INPUT.PATCH) == [8, 16, 16]
    assert plain(domain_configuration(cfg, "liver").INPUT.PATCH) == [5, 9, 9]


def test_what_was_typed_of_the_collection_outweighs_what_a_run_remembers(folder):
    cfg = with_domains(composed(folder))
    cfg.OVERRIDES = [*cfg.OVERRIDES, "DATASET.PREPARED_PATH=elsewhere"]
    cfg.DATASET.PREPARED_PATH = "elsewhere"
    assert domain_configuration(cfg, "liver").DATASET.PREPARED_PATH == "elsewhere"


MISTAKES = [
    (["DOMAINS=[liver,haert]"], "Prepared there: heart, liver, spleen. Did you mean heart"),
    (["DOMAINS=[liver,liver]"], "liver twice"),
    (["DOMAINS=[3d-liver]"], "no name of a domain"),
    (["DOMAIN_SETTINGS.haert.LABELS={a:1}"], "DOMAIN_SETTINGS.haert is of no domain. Did you mean heart"),
    (["DOMAIN_SETTINGS.heart.LABLES={a:1}"], "DOMAIN_SETTINGS.heart.LABLES is not a key. Did you mean LABELS"),
    (["DATA_GENERATOR_TYPE=DALI"], "DATA_GENERATOR_TYPE=SEQUENCE"),
    (["MODEL.TYPE=unet"], "experiment=universal_unet"),
    (["INPUT.UNIFY=resize", "VALIDATION.WHOLE_VOLUME=True"], "VALIDATION.WHOLE_VOLUME=False"),
]


@pytest.mark.parametrize(("words", "answer"), MISTAKES, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_a_mistake_is_answered_in_words(folder, words, answer):
    with pytest.raises(ConfigError, match="^[^\n]*$") as caught:
        check_domains(composed(folder, *words))
    assert answer in str(caught.value)


def test_a_collection_without_a_patch_says_what_to_type(folder):
    with pytest.raises(ConfigError, match=r"DOMAIN_SETTINGS\.liver\.INPUT\.PATCH=\[depth,height,width\]"):
        with_domains(composed(folder, "INPUT.PATCH=null"))


def test_other_channels_than_those_trained_are_named(folder):
    cfg = with_domains(composed(folder))
    write_domain(folder / "new", "liver", channels=2, classes=3, size=(12, 24, 24))
    cfg.DOMAIN_SETTINGS.liver.PREPARED_PATH = "new/data/prepared/liver"
    with pytest.raises(ConfigError, match=r"'channels': 1.*'channels': 2"):
        with_domains(cfg)


def written_run(folder, name, cfg, *, weights=True):
    cfg = cfg.copy()
    cfg.RUN_NAME = name
    run = new_run(cfg)
    save_config(cfg, run)
    if weights:
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "best.weights.h5").write_bytes(b"")
    return run


@pytest.fixture(scope="module")
def base(folder):
    written_run(folder, "slices", compose([f"WORK_DIR={folder}", "MODEL.TYPE=unet"]))
    written_run(folder, "alone", with_domains(composed(folder, "DOMAINS=[liver]", "MODEL.MODE=independent")))
    written_run(folder, "unfinished", with_domains(composed(folder)), weights=False)
    return written_run(folder, "base", with_domains(composed(folder)))


ADDED = ["experiment=universal_unet_add_domain", "DOMAINS=[spleen]", "INPUT.PATCH=[8,16,16]"]


def adding(folder, *words):
    return compose([*ADDED, f"WORK_DIR={folder}", *words])


@pytest.mark.parametrize("said", ["base", "outputs/base", "outputs/base/checkpoints/best.weights.h5"])
def test_a_run_is_named_by_its_name_its_folder_or_its_weights(folder, base, said):
    found = find_base(adding(folder, f"CHECKPOINT={said}"))
    assert found.folder == base
    assert found.weights == base / "checkpoints" / "best.weights.h5"


def test_a_new_domain_comes_after_those_of_the_run(folder, base):
    cfg = with_domains(adding(folder, "CHECKPOINT=base"))
    assert [entry["name"] for entry in plain(cfg.MODEL.DOMAINS)] == ["liver", "heart", "spleen"]
    assert domains_of(cfg) == ["spleen"]
    assert cfg.MODEL.BASE_FILTERS == 4
    assert plain(domain_configuration(cfg, "liver").INPUT.PATCH) == [8, 16, 16]
    assert (cfg.CHECKPOINT, cfg.ADD_TO) == ("best", "base")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([], "type CHECKPOINT=<run>. There are alone, unfinished, base."),
        (["CHECKPOINT=bsae"], "CHECKPOINT=bsae does not exist"),
        (["CHECKPOINT=slices"], "slices is a unet without adapters of domains"),
        (["CHECKPOINT=alone"], "shares nothing"),
        (["CHECKPOINT=unfinished"], "has no best.weights.h5 yet"),
        (["CHECKPOINT=base", "DOMAINS=[heart]"], "base has a domain heart already (it knows liver, heart)"),
        (["CHECKPOINT=base", "MODEL.BASE_FILTERS=8"], "Leave MODEL.BASE_FILTERS=8 out"),
        (["CHECKPOINT=base", "DOMAINS=[lung]"], "Prepared there: heart, liver, spleen"),
    ],
)
def test_mistakes_of_adding_are_answered_in_words(folder, base, words, answer):
    with pytest.raises(ConfigError, match="^[^\n]*$") as caught:
        check_domains(adding(folder, *words))
    assert answer in str(caught.value)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["DATA_PREPARATION.SOURCE=/data/Task02_Heart"], "heart"),
        (["DATA_PREPARATION.SOURCE=/data/Task02_Heart", "DATASET.NAME=mine"], "mine"),
        (["DATA_PREPARATION.SOURCE=/data/hearts"], "msd"),
        ([], "msd"),
    ],
)
def test_a_decathlon_task_is_called_by_its_name(words, name):
    cfg = named_by_task(compose(["dataset=msd", *words]))
    assert (name, f"data/prepared/{name}") == (cfg.DATASET.NAME, cfg.DATASET.PREPARED_PATH)


def test_a_collection_too_small_for_folds_trains_on_its_official_split(folder):
    root = write_domain(folder, "one_case", channels=1, classes=2, size=(8, 16, 16))
    save_splits(root, Splits({"train": ("one_case0",), "validation": (), "test": ()}))
    cfg = with_domains(composed(folder, "DOMAINS=[liver,one_case]"))
    assert domain_configuration(cfg, "one_case").DATASET.SPLIT == "official"
    assert domain_configuration(cfg, "liver").DATASET.SPLIT == "folds"
