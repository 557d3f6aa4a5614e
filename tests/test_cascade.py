"""A cascade: low resolution out of fold, full resolution on top of it, both in one command; killed and continued."""

import json

import numpy as np
import pytest
from inference_cases import overrides

import evaluate as evaluation_script
import export as export_script
import predict as prediction_script
import train as training_script
from commands.data import find_data
from configs import compose
from configs.runs import save_config
from data_generators.manifest import Splits, load_manifest
from data_preparation.collections import SourceOptions, open_collection
from data_preparation.planned import prepare_by_plan
from data_preparation.planning.document import Wishes
from imaging import Volume, read_label, write_volume
from inference.segmenter import Segmenter

AFFINE = np.array([[0, 0, -1.0, 20], [0, -1.0, 0, 30], [1.0, 0, 0, -50], [0, 0, 0, 1]])
CASES = ("case0", "case1", "case2", "case3")
FOLDS = (CASES[:2], CASES[2:])
SAID = ["DATASET.NAME=tiny", "DATASET.LABELS=null", "MODEL.TYPE=unet", "INPUT.PATCH=[8,16,16]", "EVALUATION.PICTURES=0"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Four volumes of two classes in two folds, prepared at both resolutions."""
    root, rng = tmp_path_factory.mktemp("cascade"), np.random.default_rng(3)
    for number, name in enumerate(CASES):
        label = np.zeros((20, 40, 40), np.uint8)
        label[4:14, 8:24, 6 : 20 + number] = 1
        label[6:10, 10:18, 8:14] = 2
        image = (60 * label + rng.integers(20, 40, label.shape)).astype(np.int16)
        write_volume(root / "raw" / "imagesTr" / f"{name}_0000.nii.gz", Volume(image, AFFINE))
        write_volume(root / "raw" / "labelsTr" / f"{name}.nii.gz", Volume(label, AFFINE))
    labels = {"background": 0, "organ": 1, "lesion": 2}
    said = {"channel_names": {"0": "MR"}, "labels": labels, "numTraining": 4, "file_ending": ".nii.gz"}
    (root / "raw" / "dataset.json").write_text(json.dumps(said))
    opened = open_collection("nnunet_raw", SourceOptions(source=root / "raw"))
    parts = [{"train": other, "validation": mine} for mine, other in (FOLDS, FOLDS[::-1])]
    splits = Splits({"train": CASES, "validation": (), "test": ()}, tuple(parts), 0)
    wishes = Wishes(configuration="3d_cascade_fullres", memory_gb=0.01)
    outcome = prepare_by_plan(opened, root / "prepared", wishes=wishes, splits=splits, workers=1, progress=False)
    assert not outcome.failures
    return root


@pytest.fixture
def work(collection, tmp_path):
    (tmp_path / "prepared").symlink_to(collection / "prepared")
    return tmp_path


def said(work, configuration, *more):
    return compose(overrides(work, *SAID, f"DATA_PREPARATION.CONFIGURATION={configuration}", *more))


def shapes(root):
    return {case.id: case.shape for case in load_manifest(root).cases}


class Constant:
    """A low-resolution network of a fold that says one class everywhere."""

    spatial_shape, regions, steps = (8, 16, 16), None, ()

    def __init__(self, value):
        self.value = value

    def __call__(self, batch):
        assert batch.shape[-1] == 1
        return np.broadcast_to(np.eye(3, dtype=np.float32)[self.value], (*batch.shape[:-1], 3))


class Believing(Constant):
    """A full-resolution network that repeats what the first stage said."""

    def __init__(self):
        super().__init__(0)

    def __call__(self, batch):
        assert batch.shape[-1] == 3
        return np.concatenate([1 - batch[..., 1:].sum(-1, keepdims=True), batch[..., 1:]], -1).astype(np.float32)


def stand_ins(work, monkeypatch):
    """Runs of both stages with networks that need no training; fold 0 says organ, fold 1 says lesion."""
    for configuration, name, cascade in (("3d_lowres", "low", "null"), ("3d_cascade_fullres", "full", "low")):
        for fold in range(2):
            run = work / "outputs" / f"{name}_fold{fold}"
            (run / "checkpoints").mkdir(parents=True)
            save_config(said(work, configuration, f"FOLD={fold}", f"CASCADE={cascade}"), run)
            (run / "checkpoints" / "best.weights.h5").write_bytes(b"stand-in")

    def opened(_model, *, weights, input_shape, **_facts):
        low = input_shape[-1] == 1
        networks = [Constant(1 + ("_fold1" in str(path))) if low else Believing() for path in weights]
        return [Segmenter(network, network.spatial_shape, _facts["application"]) for network in networks]

    monkeypatch.setattr("inference.loading.open_segmenters", opened)


def test_each_case_is_answered_by_the_fold_that_did_not_see_it(work, monkeypatch):
    stand_ins(work, monkeypatch)
    cfg = said(work, "3d_cascade_fullres", "RUN_NAME=full", "FOLD=all")
    evaluation, folder = evaluation_script.evaluate(cfg)
    assert not evaluation.failed
    assert list(evaluation.scores) == list(CASES)
    (kept,) = work.glob("outputs/*/next_stage")
    for fold, cases in enumerate(FOLDS):
        for case in cases:
            found = np.load(kept / f"{case}.npy")
            assert found.shape == shapes(work / "prepared")[case]
            assert found.dtype == np.uint8 and (found == 1 + fold).all()
            assert (read_label(folder / "predictions" / f"{case}.nii.gz").array == 1 + fold).all()


def test_the_first_stage_is_evaluated_on_its_own_arrays(work, monkeypatch):
    stand_ins(work, monkeypatch)
    seen, probabilities = set(), Segmenter.probabilities

    def recorded(self, image):
        seen.add(image.shape[:3])
        return probabilities(self, image)

    monkeypatch.setattr(Segmenter, "probabilities", recorded)
    evaluation, _ = evaluation_script.evaluate(compose(overrides(work, *SAID, "RUN_NAME=low", "FOLD=all")))
    assert not evaluation.failed and len(evaluation.scores) == len(CASES)
    assert seen == set(shapes(work / "prepared" / "3d_lowres").values())


def test_new_files_go_through_both_stages(work, monkeypatch, collection):
    stand_ins(work, monkeypatch)
    image = f"INPUT_PATH={collection}/raw/imagesTr/case2_0000.nii.gz"
    more = ["RUN_NAME=full", "FOLD=all", "TTA=True", image]
    predictions = prediction_script.predict(said(work, "3d_cascade_fullres", *more))
    assert not predictions.result.failed
    found = read_label(predictions.folder / "case2.nii.gz")
    truth = read_label(collection / "raw" / "labelsTr" / "case2.nii.gz")
    # Both folds of the first stage together: organ and lesion are as probable, the lower class is taken.
    assert found.shape == truth.shape and (found.array == 1).all()
    assert prediction_script.predict(said(work, "3d_cascade_fullres", *more)).result.skipped == ["case2"]
    (work / "outputs" / "low_fold0" / "checkpoints" / "best.weights.h5").write_bytes(b"trained again")
    assert prediction_script.predict(said(work, "3d_cascade_fullres", *more)).result.finished == ["case2"]


def test_a_first_stage_that_is_not_trained_says_what_to_type(work):
    with pytest.raises(ValueError, match=r"first stage of the cascade is not there .*CONFIGURATION=3d_lowres FOLD=all"):
        training_script.main(said(work, "3d_cascade_fullres", "FOLD=0"))


def test_classes_of_both_stages_are_the_same(work, monkeypatch):
    stand_ins(work, monkeypatch)
    more = ["FOLD=0", "CASCADE=low", "DATASET.LABELS={organ:[1,2]}"]
    with pytest.raises(ValueError, match="both stages of a cascade have the same classes"):
        training_script.main(said(work, "3d_cascade_fullres", *more))


def test_a_cascade_of_another_configuration_is_refused(work):
    with pytest.raises(ValueError, match="CASCADE=low is for DATA_PREPARATION.CONFIGURATION=3d_cascade_fullres"):
        training_script.main(said(work, "3d_fullres", "FOLD=0", "CASCADE=low"))


@pytest.mark.parametrize(("recipe", "disturbed"), [("nnunet_3d", True), ("none", False)])
def test_only_training_with_augmentation_disturbs_the_first_stage(work, recipe, disturbed):
    more = ["FOLD=1", "CASCADE=kept", f"augmentation={recipe}"]
    data = find_data(said(work, "3d_cascade_fullres", *more))
    assert data.train.previous.folder == work / "outputs" / "kept" / "next_stage"
    assert (data.train.previous.disturbed, data.validation.previous.disturbed) == (disturbed, False)
    assert data.train.shape == (8, 16, 16, 1 + 2)


def test_validation_on_whole_volumes_sees_the_first_stage(work, monkeypatch):
    from data_generators.patches import PatchSource
    from data_generators.previous import PreviousStage
    from inference.segmenter import Application
    from training import validation

    for case, shape in shapes(work / "prepared").items():
        reference = np.load(work / "prepared" / "labels" / f"{case}.npy")
        (work / "next").mkdir(exist_ok=True)
        np.save(work / "next" / f"{case}.npy", reference.reshape(shape))
    source = PatchSource(work / "prepared", CASES[:1], patch=(8, 16, 16), previous=PreviousStage(work / "next", 2))
    monkeypatch.setattr(validation, "Network", lambda *_, **__: Believing())
    model = type("Model", (), {"network": None})()
    measured = validation.validate_volumes(source, Application(), class_names=("organ", "lesion"))(model)
    assert measured == {"dice": 1.0, "dice_organ": 1.0, "dice_lesion": 1.0}


@pytest.mark.slow
def test_both_stages_train_are_killed_and_continued(work, monkeypatch, collection):
    network = ["MODEL.STRIDES=[1,2]", "MODEL.KERNEL_SIZES=[3,3]", "MODEL.CONVS_PER_STAGE=[1,1]"]
    network += ["MODEL.DECODER_CONVS_PER_STAGE=[1]", "MODEL.FILTERS=[4,8]", "LOSS.TYPE=dice_ce"]
    short = ["HYPER_PARAMETERS.EPOCHS=1", "HYPER_PARAMETERS.STEPS_PER_EPOCH=2", "HYPER_PARAMETERS.BATCH_SIZE=2"]
    short += ["augmentation=nnunet_3d", "CALLBACKS.TENSORBOARD.VALUE=False", "INFERENCE.BATCH_SIZE=8", *network]
    for fold in range(2):
        assert training_script.main(said(work, "3d_lowres", f"FOLD={fold}", *short)) == 0

    from inference import cascade

    answer, calls = cascade.classes_on, []

    def killed(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        return answer(*arguments)

    monkeypatch.setattr(cascade, "classes_on", killed)
    with pytest.raises(KeyboardInterrupt):
        training_script.main(said(work, "3d_cascade_fullres", "FOLD=0", *short))
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("outputs/*/next_stage/*.npy")}
    assert len(before) == 2
    monkeypatch.setattr(cascade, "classes_on", answer)
    for fold in range(2):
        assert training_script.main(said(work, "3d_cascade_fullres", f"FOLD={fold}", *short)) == 0
    after = {path.name: path.stat().st_mtime_ns for path in work.glob("outputs/*/next_stage/*.npy")}
    assert set(after) == {f"{case}.npy" for case in CASES}
    assert {name: after[name] for name in before} == before

    evaluation, folder = evaluation_script.evaluate(said(work, "3d_cascade_fullres", "FOLD=all", *network))
    assert not evaluation.failed and set(evaluation.scores) == set(CASES)
    assert folder.parent.name.startswith("tiny_unet_3d_cascade_fullres_foldall-")
    assert export_script._classes(said(work, "3d_cascade_fullres", "CASCADE=auto"))[1] == 1 + 2
    more = ["FOLD=all", "TTA=True", f"INPUT_PATH={collection}/raw/imagesTr", *network]
    assert not prediction_script.predict(said(work, "3d_cascade_fullres", *more)).result.failed
