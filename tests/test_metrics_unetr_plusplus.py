"""UNETR++'s published scores: MedPy's HD95 in voxels, eight organs, empty classes, before and after post-processing."""

import itertools
import math

import numpy as np
import pytest
from inference_cases import BrightNetwork, make_run, overrides, prepare, stand_in, write_case

import evaluate as script
from configs import compose
from metrics.unetr_plusplus import SYNAPSE_ORGANS, hd95_voxels, published_case, published_classes, published_means


def border(mask):
    """Voxels of the mask with a face neighbour outside it; beyond the array is outside. Voxel by voxel."""
    found = []
    for place in itertools.product(*map(range, mask.shape)):
        if not mask[place]:
            continue
        beside = []
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            other = list(place)
            other[axis] += step
            inside = 0 <= other[axis] < mask.shape[axis]
            beside.append(bool(mask[tuple(other)]) if inside else False)
        if not all(beside):
            found.append(place)
    return found


def brute_force_hd95(reference, prediction):
    a, b = border(reference), border(prediction)
    apart = [min(math.dist(p, q) for q in there) for here, there in ((a, b), (b, a)) for p in here]
    apart.sort()
    place = 0.95 * (len(apart) - 1)  # linear between neighbours, as numpy.percentile
    low = math.floor(place)
    return apart[low] + (place - low) * (apart[min(low + 1, len(apart) - 1)] - apart[low])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(6, 7, 5), (9, 8)])
def test_hd95_is_medpy_s(seed, shape):
    rng = np.random.default_rng(seed)
    masks = [rng.random(shape) < share for share in (0.1 + 0.1 * seed, 0.3)]
    assert hd95_voxels(*masks) == pytest.approx(brute_force_hd95(*masks), abs=1e-9)


def test_hd95_of_two_bars_by_hand():
    # Columns 0-1 against columns 0-3 of one row: borders are all their voxels; distances 0, 0 | 0, 0, 1, 2.
    # Sorted 0 0 0 0 1 2; the 95th percentile lies at 4.75: 1 + 0.75 * (2 - 1).
    row = np.zeros((1, 8), bool)
    short, long = row.copy(), row.copy()
    short[0, :2], long[0, :4] = True, True
    assert hd95_voxels(short, long) == pytest.approx(1.75)


@pytest.mark.parametrize(
    ("there", "said", "dice", "hd95"), [(0, 0, 1.0, 0.0), (1, 0, 0.0, 0.0), (0, 1, 0.0, 0.0), (1, 1, 1.0, 0.0)]
)
def test_empty_classes_count_as_published(there, said, dice, hd95):
    arrays = [np.full((2, 2, 2), value) for value in (there, said)]
    assert published_case(*arrays, {"a": [1]})["a"] == {"dice": dice, "hd95_voxels": hd95}


def test_spacing_plays_no_part_and_ignored_voxels_none():
    reference = np.zeros((1, 1, 8), np.uint8)
    reference[..., :2] = 1
    prediction = np.zeros_like(reference)
    prediction[..., :4] = 1
    reference[..., 2:4] = 255
    assert published_case(reference, prediction, {"a": [1]})["a"] == {"dice": 1.0, "hd95_voxels": 0.0}


def test_synapse_averages_eight_organs_and_others_everything():
    names = [*SYNAPSE_ORGANS, "esophagus"]
    classes = {name: (value,) for value, name in enumerate(names, 1)}
    assert list(published_classes("synapse", classes)) == list(SYNAPSE_ORGANS)
    assert list(published_classes("btcv", classes)) == names
    with pytest.raises(ValueError, match=r"averages 8 organs of Synapse, and spleen.*configs/dataset/synapse\.yaml"):
        published_classes("synapse", {"liver": (1,)})


def test_the_mean_is_over_cases_then_over_classes():
    cases = {
        case: {name: {"dice": dice, "hd95_voxels": 10 * dice} for name, dice in values.items()}
        for case, values in {"1": {"a": 0.5, "b": 1.0}, "2": {"a": 0.7, "b": 0.8}}.items()
    }
    means = published_means(cases)
    assert means["a"]["dice"] == pytest.approx(0.6)
    assert means["mean"] == {"dice": pytest.approx(0.75), "hd95_voxels": pytest.approx(7.5)}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A run whose network is right but for a far speck."""
    for number in (1, 2, 30, 31):
        write_case(tmp_path / "raw", number)
    prepare(tmp_path / "raw", tmp_path / "prepared")
    make_run(tmp_path)

    def speck(probabilities):
        wrong = np.array(probabilities)
        wrong[:, :2, :2] = 1
        return wrong

    stand_in(monkeypatch, BrightNetwork(wrong=speck))
    return tmp_path


def test_evaluation_reports_both_sides_of_post_processing_and_says_what_differs(work):
    typed = overrides(work, "RUN_NAME=run", "EVALUATION.PICTURES=0", "EVALUATION.PROTOCOL=unetr_plusplus")
    evaluation, folder = script.evaluate(compose(typed))
    published = evaluation.facts["published"]
    before, after = (published[when]["means"]["mean"] for when in ("before", "after"))
    assert before["dice"] < after["dice"]
    assert before["hd95_voxels"] >= after["hd95_voxels"]
    (case, scores), *_ = published["before"]["cases"].items()
    assert scores["liver"]["dice"] == pytest.approx(evaluation.scores[case]["liver"]["dice"])
    page = (folder / "report.html").read_text("utf-8")
    assert "HD95 in voxels whatever their size" in page
    assert "definition after post-processing" in page


def test_without_the_protocol_only_unetr_plusplus_says_how_it_differs(work):
    evaluation, _ = script.evaluate(compose(overrides(work, "RUN_NAME=run", "EVALUATION.PICTURES=0")))
    assert "published" not in evaluation.facts
    assert not any("UNETR++" in note for note in evaluation.notes)
