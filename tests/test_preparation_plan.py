"""plan.yaml: readable, its lines the user's; what it fills in for training, and what it leaves alone."""

import json

import numpy as np
import pytest
import yaml

import configs
from configs.plans import with_plan
from data_preparation.collections import PreparationError
from data_preparation.planning import Fingerprint
from data_preparation.planning.document import Wishes, entry_of, load_plan, make_document, planned_input, save_plan
from data_preparation.planning.use import planned_training

PROPERTIES = {"mean": 50.0, "median": 50.0, "std": 10.0, "min": 0.0, "max": 99.0}
PROPERTIES |= {"percentile_00_5": 1.0, "percentile_99_5": 98.0}


def measured(shape=(36, 50, 35), spacing=(1.0, 1.0, 1.0), cases=208, channels=1):
    return Fingerprint((spacing,) * cases, (shape,) * cases, (PROPERTIES,) * channels, 1.0)


def document(facts=None, *, channels=("MRI",), labels=3, **wishes):
    facts = facts or measured()
    return make_document(facts, collection="x", channel_names=channels, labels=labels, wishes=Wishes(**wishes))


def collection(root, facts=None, **wishes):
    """A folder with the fingerprint, the plan and an empty manifest."""
    facts = facts or measured()
    root.mkdir(parents=True, exist_ok=True)
    save_plan(root, document(facts, **wishes))
    facts.save(root / "fingerprint.json")
    (root / "manifest.json").write_text("{}")
    return root


def training(root, network="unet", configuration=None, **changes):
    return planned_training(root, network=network, configuration=configuration, changes=changes)


def filled(root, *overrides):
    return with_plan(configs.compose([f"DATASET.PREPARED_PATH={root}", "dataset=msd", *overrides]), planned_training)


def test_3d_is_chosen_where_it_is_planned_and_2d_where_it_is_not():
    assert document()["configuration"] == "3d_fullres"
    assert document(measured(shape=(1, 300, 300)))["configuration"] == "2d"


def test_single_slices_are_planned_in_2d_whatever_their_spacing():
    assert list(document(measured((1, 300, 260), (0.5, 1.2, 1.2)))["configurations"]) == ["2d"]


def test_the_nested_network_has_its_own_widths_in_2d():
    entry = document(measured((1, 512, 512)), preset="unetplusplus")["configurations"]["2d"]
    assert entry["filters"][:5] == [32, 64, 128, 256, 480]
    assert max(document(measured((1, 512, 512)))["configurations"]["2d"]["filters"]) == 512


def test_an_unplanned_configuration_names_those_that_are():
    with pytest.raises(PreparationError, match="CONFIGURATION=3d_lowres is not planned .* 2d, 3d_fullres"):
        document(configuration="3d_lowres")


def test_large_cases_list_the_cascade():
    entries = document(measured((400, 500, 500), (1.0, 0.8, 0.8), 20), channels=("CT",))["configurations"]
    assert list(entries) == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    assert entries["3d_cascade_fullres"] == {"inherits": "3d_fullres", "previous": "3d_lowres"}


def test_a_change_of_a_cascade_is_one_of_its_second_stage():
    large = measured((400, 500, 500), (1.0, 0.8, 0.8), 20)
    said = document(large, configuration="3d_cascade_fullres", changes={"patch": [64, 64, 64], "normalization": ["ct"]})
    entries = said["configurations"]
    assert entry_of(said, "3d_cascade_fullres")["patch"] == entries["3d_fullres"]["patch"] == [64, 64, 64]
    assert entries["3d_lowres"]["patch"] != [64, 64, 64]
    assert entries["3d_lowres"]["normalization"] == ["ct"]


def test_a_cascade_that_is_not_planned_is_refused():
    with pytest.raises(PreparationError, match="CONFIGURATION=3d_cascade_fullres is not planned"):
        document(configuration="3d_cascade_fullres")


def test_a_cascade_trains_as_its_full_resolution(tmp_path):
    root = collection(tmp_path, measured((400, 500, 500), (1.0, 0.8, 0.8), 20))
    full, cascade = training(root), training(root, configuration="3d_cascade_fullres")
    assert cascade == {**full, "configuration": "3d_cascade_fullres"}


def test_the_low_resolution_is_planned_for_the_network_that_is_trained(tmp_path):
    root = collection(tmp_path, measured((400, 500, 500), (1.0, 0.8, 0.8), 20), configuration="3d_lowres")
    plain, residual = training(root), training(root, "resenc_unet")
    assert (plain["batch_dice"], residual["batch_dice"]) == (False, False)
    assert "blocks_per_stage" in residual["options"] and "blocks_per_stage" not in plain["options"]


def test_slices_are_planned_along_the_depth_for_other_networks_too(tmp_path):
    facts = measured((320, 40, 300), (0.7, 4.0, 0.7), 20)
    root = collection(tmp_path, facts, configuration="2d")
    assert training(root, "resenc_unet")["patch"] == document(facts, preset="resenc_m")["configurations"]["2d"]["patch"]


def test_a_change_replaces_its_line():
    entry = document(changes={"BATCH_SIZE": 3})["configurations"]["3d_fullres"]
    assert (entry["batch_size"], entry["patch"]) == (3, [40, 56, 40])


def test_another_patch_is_pooled_anew():
    # 16, 64, 32 become 4, 16, 8 after two halvings, then 4, 8, 4: a single axis of 8 is not halved alone.
    entry = document(changes={"PATCH": [16, 64, 32]})["configurations"]["3d_fullres"]
    assert [np.prod(axis) for axis in zip(*entry["strides"], strict=True)] == [4, 8, 8]
    assert len(entry["filters"]) == len(entry["strides"]) == len(entry["kernel_sizes"]) == 4
    assert len(entry["convs_per_stage"]) == 4
    assert len(entry["decoder_convs_per_stage"]) == 3


def test_a_patch_that_cannot_be_halved_says_which_can():
    with pytest.raises(PreparationError, match=r"type \[40, 56, 40\]"):
        document(changes={"PATCH": [37, 50, 35]})


def test_a_misspelt_line_is_answered():
    with pytest.raises(PreparationError, match=r"PLAN\.BACH_SIZE is no line.*PLAN\.BATCH_SIZE"):
        document(changes={"BACH_SIZE": 3})


def test_another_spacing_plans_another_patch():
    entry = document(changes={"SPACING_MM": [2.0, 2.0, 2.0]})["configurations"]["3d_fullres"]
    # Halved: 18 x 25 x 18 voxels, which two poolings fit: multiples of 4.
    assert (entry["spacing_mm"], entry["patch"]) == ([2.0, 2.0, 2.0], [20, 28, 20])


def test_slices_run_along_the_depth_even_where_another_axis_is_coarser():
    # The coarsest axis is the width; nnU-Net would slice across it, in planes of depth and height.
    entry = document(measured((160, 200, 20), (1.0, 0.8, 5.0)))["configurations"]["2d"]
    assert (entry["spacing_mm"], entry["median_shape"]) == ([None, 0.8, 5.0], [200.0, 20.0])


def test_less_memory_plans_smaller_patches():
    facts = measured((120, 160, 160), cases=40)
    full, less = (document(facts, memory_gb=gb)["configurations"]["3d_fullres"]["patch"] for gb in (8, 2))
    assert np.prod(less) < np.prod(full) / 2


def test_the_file_says_what_it_is_and_every_list_is_one_line(tmp_path):
    save_plan(tmp_path, document())
    text = (tmp_path / "plan.yaml").read_text()
    assert text.startswith("# The plan of this collection")
    assert "    patch: [40, 56, 40]\n" in text
    assert "kernel_sizes: [[3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]\n" in text


def test_lines_that_the_user_changed_survive_another_run(tmp_path):
    save_plan(tmp_path, document())
    path = tmp_path / "plan.yaml"
    path.write_text(path.read_text().replace("batch_size: 7", "batch_size: 4"))
    merged = save_plan(tmp_path, document(measured(cases=100)))
    assert merged["configurations"]["3d_fullres"]["batch_size"] == 4
    assert load_plan(tmp_path) == merged
    # What nobody changed follows the new fingerprint: fewer cases, fewer slices at once.
    assert merged["configurations"]["2d"]["batch_size"] < 292


def test_a_damaged_plan_is_named(tmp_path):
    (tmp_path / "plan.yaml").write_text("configurations: [")
    with pytest.raises(PreparationError, match=r"plan\.yaml cannot be read .* delete it"):
        load_plan(tmp_path)


def test_a_rule_that_does_not_exist_is_named():
    said = document()
    said["configurations"]["3d_fullres"]["normalization"] = ["zcore"]
    with pytest.raises(PreparationError, match=r"configuration 3d_fullres: PLAN\.NORMALIZATION: 'zcore' is unknown"):
        planned_input(said)


def test_a_2d_plan_keeps_the_distance_of_the_slices():
    assert planned_input(document(configuration="2d")).target((3.0, 2.0, 2.0)) == (3.0, 1.0, 1.0)


def test_training_takes_patch_batch_and_network(tmp_path):
    cfg = filled(collection(tmp_path), "MODEL.TYPE=unet", "LOSS.TYPE=dice_ce")
    assert list(cfg.INPUT.PATCH) == [40, 56, 40]
    assert (cfg.INPUT.CHANNELS, cfg.HYPER_PARAMETERS.BATCH_SIZE) == (1, 7)
    assert list(cfg.MODEL.FILTERS) == [32, 64, 128, 256]
    assert cfg.LOSS.OPTIONS.batch_dice is False


def test_what_was_typed_wins(tmp_path):
    typed = ["INPUT.PATCH=[16,16,16]", "HYPER_PARAMETERS.BATCH_SIZE=16", "MODEL.FILTERS=[4,8,16]"]
    cfg = filled(collection(tmp_path), "MODEL.TYPE=unet", *typed)
    assert (list(cfg.INPUT.PATCH), cfg.HYPER_PARAMETERS.BATCH_SIZE) == ([16, 16, 16], 16)
    # Fewer stages than planned: the plan's lists are cut to them.
    assert (list(cfg.MODEL.FILTERS), len(cfg.MODEL.STRIDES), len(cfg.MODEL.DECODER_CONVS_PER_STAGE)) == (
        [4, 8, 16],
        3,
        2,
    )


def test_a_network_that_is_not_planned_gets_patch_and_batch_alone(tmp_path):
    cfg = filled(collection(tmp_path), "MODEL.TYPE=unet3plus")
    assert list(cfg.INPUT.PATCH) == [40, 56, 40]
    assert "STRIDES" not in cfg.MODEL


def test_a_larger_network_is_planned_for_its_own_memory(tmp_path):
    root = collection(tmp_path, measured((120, 160, 160), cases=40))
    plain, nested = training(root), training(root, "unetplusplus")
    assert np.prod(nested["patch"]) < np.prod(plain["patch"])
    assert "convs_per_stage" not in nested["options"]


def test_slices_of_isotropic_arrays_serve_2d(tmp_path):
    found = training(collection(tmp_path), configuration="2d")
    assert (found["configuration"], found["patch"]) == ("2d", [56, 40])


def test_arrays_of_another_spacing_do_not(tmp_path):
    root = collection(tmp_path, measured((400, 500, 500), (1.0, 0.8, 0.8), 20))
    with pytest.raises(PreparationError, match=r"prepared for 3d_fullres.*3d_cascade_fullres, which prepares both"):
        training(root, configuration="3d_lowres")


def test_spacing_cannot_be_changed_after_preparation(tmp_path):
    with pytest.raises(PreparationError, match=r"PLAN\.SPACING_MM=\[2, 2, 2\] changes the prepared arrays"):
        training(collection(tmp_path), SPACING_MM=[2, 2, 2])


def test_a_collection_without_a_plan_changes_nothing(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    cfg = configs.compose([f"DATASET.PREPARED_PATH={tmp_path}"])
    assert with_plan(cfg, planned_training) is cfg


@pytest.mark.parametrize("preset", ["default", "resenc_m", "resenc_l", "resenc_xl", "unetplusplus"])
def test_every_planner_of_the_configuration_plans(preset):
    cfg = configs.compose([f"DATA_PREPARATION.PLANNER={preset}"])
    assert document(preset=cfg.DATA_PREPARATION.PLANNER)["preset"] == preset


def test_yaml_and_fingerprint_are_plain_files(tmp_path):
    root = collection(tmp_path)
    assert yaml.safe_load((root / "plan.yaml").read_text())["channels"] == ["MRI"]
    assert json.loads((root / "fingerprint.json").read_text())["median_relative_size_after_cropping"] == 1.0
