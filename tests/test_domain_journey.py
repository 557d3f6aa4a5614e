"""Real collections trained as one network: hippocampus MRI, heart MRI, liver CT; then the spleen is added."""

import csv
import json

import numpy as np
import pytest

import configs
import prepare
import train
from commands.base_runs import base_network, find_base
from models.universal_unet import domain_model

NETWORK = ["MODEL.BASE_FILTERS=8", "MODEL.STRIDES=[[1,1,1],[2,2,2],[2,2,2]]"]
PATCHES = {"hippocampus": [24, 32, 24], "heart": [8, 64, 64], "liver": [8, 48, 48], "spleen": [12, 64, 64]}
LENGTH = [
    "HYPER_PARAMETERS.EPOCHS=4",
    "HYPER_PARAMETERS.STEPS_PER_EPOCH=30",
    "HYPER_PARAMETERS.LEARNING_RATE=0.01",
    "augmentation=none",
    "VERBOSE=2",
]
SPLEEN = "data/edge_cases/ivadomed_data-testing/ct_scan"


def some_tasks(shared, folder, count: int) -> None:
    """The first cases of the hippocampus task, as links."""
    source = shared / "data" / "Task04_Hippocampus"
    facts = json.loads((source / "dataset.json").read_text())
    facts["training"], facts["test"], facts["numTraining"] = facts["training"][:count], [], count
    for kind in ("images", "labels"):
        (folder / f"{kind}Tr").mkdir(parents=True)
    for case in facts["training"]:
        for path in case.values():
            (folder / path).symlink_to(source / path)
    (folder / "dataset.json").write_text(json.dumps(facts))


def some_hearts(shared, folder, count: int) -> None:
    folder.mkdir()
    volumes = sorted((shared / "data" / "ACDC" / "ACDC_training_volumes").glob("*.h5"))
    for path in volumes[:count]:
        (folder / path.name).symlink_to(path)


def prepared(root, *words: str) -> None:
    assert prepare.main(configs.compose([f"WORK_DIR={root}", "VERBOSE=0", *words])) == 0


@pytest.fixture(scope="module")
def collections(shared, tmp_path_factory):
    """Four collections of different channels, classes and spacings; the liver's second channel is not windowed."""
    root = tmp_path_factory.mktemp("domains")
    some_tasks(shared, root / "tasks", 10)
    some_hearts(shared, root / "hearts", 10)
    source = "DATA_PREPARATION.SOURCE"
    prepared(
        root,
        "dataset=msd",
        "DATASET.NAME=hippocampus",
        f"{source}={root / 'tasks'}",
        "DATA_PREPARATION.STRAY_LABELS=ignore",
    )
    prepared(root, "dataset=acdc", "DATASET.NAME=heart", f"{source}={root / 'hearts'}")
    phantom = ["DATA_PREPARATION.PHANTOM.CASES=6", "DATA_PREPARATION.PHANTOM.SIZE=[20,72,72]"]
    prepared(root, "dataset=phantom", *phantom, "DATA_PREPARATION.PHANTOM.SPACING_MM=[8,4.6,4.6]")
    folder = [f"{source}={root / 'data/raw/phantom'}", "DATA_PREPARATION.MASKS=segmentation-*.nii*"]
    channels = ["DATA_PREPARATION.IMAGES=['volume-*.nii*','volume-*.nii*']", "DATA_PREPARATION.CHANNELS=[CT,plain]"]
    prepared(root, "dataset=volume_folder", "DATASET.NAME=liver", "DATASET.LABELS={liver:[1,2]}", *folder, *channels)
    spleen = shared / SPLEEN
    with (root / "spleen.csv").open("w", newline="") as stream:
        name = "sub-spleen2/ct/sub-spleen2_ct"
        files = (f"{spleen}/{name}.nii.gz", f"{spleen}/derivatives/labels/{name}_seg-manual.nii.gz")
        csv.writer(stream).writerows([("image", "label"), files])
    prepared(
        root,
        "dataset=volume_folder",
        "DATASET.NAME=spleen",
        "DATASET.LABELS={spleen:1}",
        "DATA_PREPARATION.CHANNELS=[CT]",
        f"{source}={root / 'spleen.csv'}",
    )
    return root


def domain_words(*names: str) -> list[str]:
    sizes = {name: ",".join(map(str, PATCHES[name])) for name in names}
    return [f"DOMAINS=[{','.join(names)}]", *(f"DOMAIN_SETTINGS.{n}.INPUT.PATCH=[{size}]" for n, size in sizes.items())]


def history(run) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def trained(collections):
    said = [*NETWORK, *LENGTH, *domain_words("hippocampus", "heart", "liver"), "LOSS.TYPE=dice_ce", "RUN_NAME=three"]
    said = [*said, "DOMAIN_SETTINGS.liver.LABELS={liver:[1,2]}"]
    assert train.main(configs.compose(["experiment=universal_unet", f"WORK_DIR={collections}", *said])) == 0
    return collections / "outputs" / "three"


@pytest.mark.slow
def test_three_domains_of_different_kinds_get_better_together(trained):
    domains = {
        entry["name"]: entry for entry in configs.facts.plain(find_base(added(trained, "three")).cfg.MODEL.DOMAINS)
    }
    assert [domains[name]["channels"] for name in ("hippocampus", "heart", "liver")] == [1, 1, 2]
    assert [domains[name]["classes"] for name in ("hippocampus", "heart", "liver")] == [3, 4, 2]
    rows = history(trained)
    for name in domains:
        dice = [float(row[f"val_dice_{name}"]) for row in rows]
        assert max(dice[-2:]) > dice[0] + 0.03, (name, dice)
    assert (trained / "domains" / "heart" / "collection.json").is_file()


def added(trained, base: str, *words: str):
    said = ["experiment=universal_unet_add_domain", f"WORK_DIR={trained.parent.parent}", f"CHECKPOINT={base}"]
    return configs.compose([*said, *domain_words("spleen"), *LENGTH, *words])


@pytest.mark.slow
def test_the_spleen_is_added_and_nothing_else_changes_by_a_bit(trained):
    said = ["RUN_NAME=four", "HYPER_PARAMETERS.EPOCHS=2", "LOSS.TYPE=dice_ce"]
    assert train.main(added(trained, "three", *said)) == 0
    before, after = (base_network(find_base(added(trained, name))) for name in ("three", "four"))
    rng = np.random.default_rng(0)
    for name, channels in (("hippocampus", 1), ("heart", 1), ("liver", 2)):
        image = rng.normal(size=(1, *PATCHES[name], channels)).astype(np.float32)
        old, new = (np.asarray(domain_model(network, name)(image, training=False)) for network in (before, after))
        assert old.std() > 0
        np.testing.assert_array_equal(old, new)
    rows = history(trained.parent / "four")
    assert float(rows[-1]["dice_spleen"]) > float(rows[0]["dice_spleen"])
    record = json.loads((trained.parent / "four" / "run.json").read_text())
    assert record["trained_parameters"] < record["parameters"] / 4
