"""Which loader a word means."""

import pytest

from data_generators import loaders
from data_generators.loaders import LoaderError, choose_loader


def test_words_and_their_aliases(monkeypatch):
    monkeypatch.setattr(loaders, "dali_installed", lambda: True)
    words = ["SEQUENCE", "TF_GENERATOR", "DALI", "DALI_GENERATOR", "sequence"]
    assert [choose_loader(word, gpu=False) for word in words] == ["sequence", "sequence", "dali", "dali", "sequence"]


@pytest.mark.parametrize(
    ("gpu", "installed", "chosen"), [(True, True, "dali"), (False, True, "sequence"), (True, False, "sequence")]
)
def test_auto_takes_dali_on_a_gpu_where_it_is_installed(monkeypatch, gpu, installed, chosen):
    monkeypatch.setattr(loaders, "dali_installed", lambda: installed)
    assert choose_loader("AUTO", gpu=gpu) == chosen


def test_missing_dali_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(loaders, "dali_installed", lambda: False)
    with pytest.raises(LoaderError, match="make setup") as error:
        choose_loader("DALI", gpu=True)
    assert "\n" not in str(error.value)


def test_a_misspelt_loader_is_answered_with_the_nearest():
    with pytest.raises(LoaderError, match="Did you mean SEQUENCE"):
        choose_loader("SEQUENZ", gpu=False)
