"""Overlapping regions: declared by name, a sigmoid each, written back in their order, scored as regions."""

import numpy as np
import pytest
from inference_cases import BrightNetwork, box_label, make_run, overrides, prepare, write_case

import evaluate as script
import train
from commands.data import find_data, scored_names
from configs import compose
from configs.facts import class_count
from data_generators.labels import label_lut
from data_generators.records import Manifest, ManifestError
from data_generators.regions import class_regions
from imaging import Volume
from inference.scoring import Policy, class_counts, score_case
from training.validation import validate_volumes

LABELS = {0: "background", 1: "edema", 2: "core", 4: "enhancing"}


def manifest(**preparation):
    return Manifest("brats", LABELS, ["T1"], {"kind": "unit"}, (), preparation=preparation)


def regions_of(wanted, **preparation):
    table, names = label_lut(LABELS)
    return class_regions(wanted, manifest=manifest(**preparation), table=table, names=names)


def test_regions_become_classes_in_their_order():
    # Stored 4 is class 3; names serve as well as values, and the order is not sorted.
    wanted = {"whole": [1, 2, 4], "core": ["core", "enhancing"], "enh": 4}
    found = regions_of(wanted)
    assert found == {"whole": (1, 2, 3), "core": (2, 3), "enh": (3,)}
    assert list(found) == ["whole", "core", "enh"]


def test_the_collection_declares_them_unless_told_otherwise():
    declared = {"whole": [1, 2, 4], "enh": [4]}
    assert list(regions_of(None, regions=declared)) == ["whole", "enh"]
    assert regions_of({}, regions=declared) == {}
    assert regions_of(None) == {}


@pytest.mark.parametrize("wrong", [{"whole": [1, 3]}, {"whole": ["tumour"]}, {"whole": [0, 1]}, {"whole": 300}])
def test_what_is_no_class_is_named(wrong):
    with pytest.raises(ManifestError, match="DATASET.REGIONS: 'whole' holds .* there are edema, core, enhancing"):
        regions_of(wrong)


def test_as_many_outputs_as_regions():
    cfg = compose(["DATASET.REGIONS={whole: [1, 2], core: [2]}"])
    assert class_count(cfg, ["a", "b"], regions=2) == 2
    with pytest.raises(ValueError, match="OUTPUT.CLASSES=3 contradicts 2 regions"):
        class_count(compose(["OUTPUT.CLASSES=3"]), ["a", "b"], regions=2)


def volume(row):
    return Volume(np.array([[row]], np.uint8), np.eye(4))


def test_regions_are_scored_and_ignored_voxels_are_not():
    policy = Policy(names={0: "background", 1: "a", 2: "b"}, regions={"whole": (1, 2), "core": (2,)})
    prediction, reference = volume([1, 1, 2, 0, 1]), volume([2, 1, 2, 0, 255])
    # Whole: all three found, the fourth is ignored: 1. Core: 2 * 1 / (1 + 2) = 2/3.
    scores = score_case(prediction, reference, policy)
    assert scores["whole"]["dice"] == 1.0
    assert scores["core"]["dice"] == pytest.approx(2 / 3)
    counts = class_counts(prediction, reference, policy)
    assert (counts["whole"].both, counts["whole"].prediction, counts["core"].reference) == (3, 3, 2)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    root = tmp_path_factory.mktemp("regions")
    label = box_label(0)
    label[2, 6:12, 22:28] = 2
    for number in (1, 30, 31):
        write_case(root / "raw", number, label=label)
    prepare(root / "raw", root / "prepared")
    return root


REGIONS = ["DATASET.LABELS={liver: 1, tumor: 2}", "DATASET.REGIONS={organ: [liver, tumor], lesion: tumor}"]


def test_evaluation_is_of_the_regions(collection, tmp_path, monkeypatch):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    make_run(tmp_path, *REGIONS)

    class Sigmoids(BrightNetwork):
        def __call__(self, batch):
            organ = super().__call__(batch)[..., 1]
            return np.stack([organ, np.zeros_like(organ)], axis=-1)

    seen = {}

    def load(*_, **facts):
        seen.update(facts)
        return Sigmoids()

    monkeypatch.setattr("inference.loading.load_network", load)
    evaluation, _ = script.evaluate(compose(overrides(tmp_path, "RUN_NAME=run", "EVALUATION.PICTURES=0")))
    assert (seen["num_classes"], seen["regions"]) == (2, [(1, 2), (2,)])
    scores = evaluation.scores["volume-1"]
    assert list(scores) == ["organ", "lesion"]
    assert scores["organ"]["dice"] > 0.9
    assert scores["lesion"]["dice"] == 0


def test_training_is_told_of_them(collection, tmp_path):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    cfg = compose(overrides(tmp_path, *REGIONS))
    data = find_data(cfg)
    assert scored_names(cfg, data) == (("organ", "lesion"), [[1, 2], [2]])
    plain = compose(overrides(tmp_path, REGIONS[0]))
    assert scored_names(plain, data) == (("liver", "tumor"), None)


@pytest.mark.slow
def test_a_network_of_regions_trains_and_is_evaluated(collection, tmp_path):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    small = ["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "HYPER_PARAMETERS.EPOCHS=1", "HYPER_PARAMETERS.BATCH_SIZE=4"]
    more = [*REGIONS, *small, "LOSS.TYPE=dice_ce", "VALIDATION.WHOLE_VOLUME=True", "DATA_GENERATOR_TYPE=SEQUENCE"]
    typed = [text for text in overrides(tmp_path, "RUN_NAME=run", *more) if not text.startswith("MODEL.FILTERS=[4,4")]
    assert train.main(compose([*typed, "CALLBACKS.TENSORBOARD.VALUE=False"])) == 0
    evaluation, _ = script.evaluate(compose([*typed, "EVALUATION.PICTURES=0"]))
    assert list(evaluation.scores["volume-1"]) == ["organ", "lesion"]
    assert "dice_lesion" in (tmp_path / "outputs" / "run" / "history.csv").read_text()


def test_validation_of_volumes_refuses_pictures():
    with pytest.raises(ValueError, match="prepared volumes"):
        validate_volumes([], None, class_names=["organ"], regions=[[1]])
