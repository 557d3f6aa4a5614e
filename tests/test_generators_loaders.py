"""Which loader a word means."""

import pytest
from generators_helpers import numbered_volume, write_collection

from data_generators import loaders
from data_generators.augmentation import build_augmentation
from data_generators.loaders import LoaderError, choose_loader, dali_installed, open_loader
from data_generators.sequence import SequenceLoader
from data_generators.sources import SliceSource


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


def test_open_loader_opens_what_was_chosen(tmp_path):
    source = SliceSource(write_collection(tmp_path, {"a": (numbered_volume(3), None)}))
    assert isinstance(open_loader(source, batch_size=2), SequenceLoader)
    assert isinstance(open_loader(source, kind="AUTO", batch_size=2), SequenceLoader)


@pytest.mark.dali
def test_auto_does_without_dali_where_dali_has_no_operator(tmp_path):
    if not dali_installed():
        pytest.skip("NVIDIA DALI is not installed")
    from data_generators.dali import DaliError, DaliLoader

    source = SliceSource(write_collection(tmp_path, {"a": (numbered_volume(3), None)}))
    elastic = build_augmentation({"ELASTIC": {}})
    assert isinstance(open_loader(source, kind="DALI", batch_size=2), DaliLoader)
    assert isinstance(open_loader(source, kind="AUTO", gpu=0, batch_size=2, augment=elastic), SequenceLoader)
    with pytest.raises(DaliError, match="ELASTIC"):
        open_loader(source, kind="DALI", batch_size=2, augment=elastic)
