"""The table of networks: published sizes and costs, what keys of the configuration mean, what a domain adds."""

import sys

import pytest

from benchmarks.measure import in_turn, summary
from benchmarks.model import added_domain, chosen, row, run
from benchmarks.published import PUBLISHED, Network


def test_without_keys_every_model_of_the_project_is_listed():
    from models import MODELS

    assert {network.kind for network in chosen([])} == set(MODELS)


def test_a_type_alone_means_its_published_networks():
    titles = [network.title for network in chosen(["MODEL.TYPE=unetr_plusplus"])]
    assert titles == ["UNETR++ Synapse", "UNETR++ ACDC", "UNETR++ Lung", "UNETR++ BraTS"]


def test_keys_change_what_they_name_and_the_rest_is_published():
    (acdc,) = chosen(["MODEL.TYPE=unetr_plusplus", "MODEL.PRESET=acdc"])
    assert (acdc.shape, acdc.classes, dict(acdc.options)) == ((16, 160, 160, 1), 4, {"preset": "acdc"})
    (small,) = chosen(["MODEL.TYPE=unetplusplus", "INPUT.PATCH=[32,64,64]", "INPUT.CHANNELS=2", "OUTPUT.CLASSES=5"])
    assert (small.shape, small.classes) == ((32, 64, 64, 2), 5)
    (flat,) = chosen(["MODEL.TYPE=unet3plus", "INPUT.HEIGHT=64", "INPUT.WIDTH=96"])
    assert flat.shape == (64, 96, 3)


def test_a_row_worked_by_hand():
    # 4 + 4 channels at 8 x 8, 8 + 8 at 4 x 4, up and 4 + 4 again, one head of 2: kernels, biases, norms.
    found = row(Network("small", "unet", (8, 8, 1), 2, {"filters": [4, 8]}, "1 K"), repeats=1)
    convolutions = [(64, 9, 1, 4), (64, 9, 4, 4), (16, 9, 4, 8), (16, 9, 8, 8), (64, 9, 8, 4), (64, 9, 4, 4)]
    adds = sum(places * taps * before * after for places, taps, before, after in convolutions)
    adds += 16 * 4 * 8 * 4 + 64 * 4 * 2
    assert found["gmac"] == round(adds / 1e9, 2)
    parameters = sum(taps * before * after + 3 * after for _, taps, before, after in convolutions)
    assert found["parameters"] == parameters + (4 * 8 * 4 + 4) + (4 * 2 + 2)
    assert found["seconds"] >= 0
    assert found["published_parameters"] == "1 K"


def test_time_can_be_left_out():
    result = run(["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "INPUT.PATCH=[8,8]", "--repeats", "0"])
    assert "seconds" not in result["table"][0]


def test_an_added_domain_of_one_channel_and_two_classes_adds_what_the_paper_s_network_adds():
    universal = next(network for network in PUBLISHED if network.kind == "universal_unet")
    found = added_domain(universal)
    assert found["parameters"] == 144_590
    assert found["share_of_network"] == pytest.approx(144_590 / 6_722_050, abs=1e-4)


def test_a_wrong_key_is_answered():
    with pytest.raises(ValueError, match="unetr_plusplus"):
        run(["MODEL.TYPE=unetr_plusplu"])


def test_a_summary_by_hand():
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "spread": 1.0, "all": [3.0, 1.0, 2.0]}


def test_sides_take_turns_and_slow_ones_stop_early(tmp_path):
    log = tmp_path / "log"
    code = "import sys; open(sys.argv[1], 'a').write(sys.argv[2]); print('words'); print('{\"seconds\": 1}')"
    sides = {side: [sys.executable, "-c", code, str(log), side] for side in ("a", "b")}
    found = in_turn(sides, 3, fewer={"b": 1})
    assert log.read_text() == "abaa"
    assert [len(entries) for entries in found.values()] == [3, 1]
