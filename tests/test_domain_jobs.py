"""From the configuration of a network for many domains to what is trained, validated and kept."""

import pathlib

import numpy as np
import pytest
from domain_cases import WORDS, write_domain, write_domains

from commands.domain_plans import with_domains
from commands.domain_training import make_domains_job
from commands.training import record_job
from configs import ConfigError, compose
from data_generators.manifest import load_facts
from training.runtime import Runtime

RUNTIME = Runtime("tensorflow", "cpu", ("cpu",), "float32", False, True, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    return write_domains(tmp_path_factory.mktemp("work"))


def planned(folder, *words):
    return with_domains(compose([*WORDS, f"WORK_DIR={folder}", *words]))


def job_of(folder, *words):
    return make_domains_job(planned(folder, *words), RUNTIME)


@pytest.fixture(scope="module")
def own_sizes(folder):
    said = ["DOMAIN_SETTINGS.heart.INPUT.PATCH=[6,12,16]", "VALIDATION.WHOLE_VOLUME=True"]
    return job_of(folder, *said)


def test_patches_have_the_size_of_their_domain(own_sizes):
    assert [own_sizes.loader[place][0].shape for place in (0, 1)] == [(2, 8, 16, 16, 1), (2, 6, 12, 16, 2)]
    assert own_sizes.model.network.inputs[0].shape == (None, None, None, None, 1)


def test_whole_volumes_validate_every_domain(own_sizes):
    found = own_sizes.validate(own_sizes.model)
    assert set(found) == {"dice", "dice_liver", "dice_liver_liver", "dice_liver_tumor", "dice_heart"}
    known = [found[name] for name in ("dice_liver", "dice_heart")]
    assert found["dice"] == pytest.approx(np.mean(known), nan_ok=True)


def test_a_run_remembers_every_collection(own_sizes, folder, tmp_path):
    record_job(own_sizes, tmp_path, runtime=RUNTIME, project=folder)
    facts = load_facts(tmp_path / "domains" / "heart")
    assert facts is not None and list(facts.channels) == ["channel0", "channel1"]
    assert own_sizes.facts["parameters"] == own_sizes.facts["trained_parameters"]
    assert set(own_sizes.facts["domains"]) == {"liver", "heart"}


def test_resized_patches_share_one_size(folder):
    said = ["DOMAIN_SETTINGS.liver.INPUT.PATCH=[5,9,9]", "DOMAIN_SETTINGS.heart.INPUT.PATCH=[4,8,8]"]
    job = job_of(folder, "INPUT.UNIFY=resize", *said)
    assert [job.loader[place][0].shape for place in (0, 1)] == [(2, 8, 16, 16, 1), (2, 8, 16, 16, 2)]
    assert {"loss_heart", "dice_liver"} <= set(job.validate(job.model))
    assert set(job.pictures()) == {"liver/liver3", "heart/heart3"}


def test_an_epoch_is_every_case_once_unless_it_is_said(folder):
    # Three training cases in batches of 2: two batches of each domain.
    assert len(job_of(folder, "HYPER_PARAMETERS.STEPS_PER_EPOCH=null").loader) == 4


def test_a_collection_with_other_channels_than_the_run_is_refused(folder, tmp_path):
    cfg = planned(folder)
    write_domain(tmp_path, "liver", channels=2, classes=3, size=(12, 24, 24))
    cfg.DOMAIN_SETTINGS.liver.PREPARED_PATH = str(tmp_path / "data" / "prepared" / "liver")
    with pytest.raises(ConfigError, match="Domain liver has 1 channels in this run.*has 2"):
        make_domains_job(cfg, RUNTIME)
