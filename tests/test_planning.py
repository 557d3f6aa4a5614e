"""Planning: the recorded plans of nnU-Net come out, and its gaps on tiny volumes are closed."""

import json

import pytest

from data_preparation.planning import Fingerprint, Topology, feature_values, plan, target_spacing, topology

PLANNERS = {
    "ExperimentPlanner": "default",
    "nnUNetPlannerResEncM": "resenc_m",
    "nnUNetPlannerResEncL": "resenc_l",
}


def single_shape(spec):
    return Fingerprint(
        spacings=(tuple(map(float, spec["spacing"])),) * spec["numTraining"],
        shapes_after_crop=(tuple(spec["shape_after_crop"]),) * spec["numTraining"],
        intensities=({},) * spec["channels"],
        median_relative_size_after_cropping=1.0,
    )


def assert_same(ours, recorded, where):
    assert set(ours) == set(recorded), where
    for name, expected in recorded.items():
        if "inherits_from" in expected:
            assert ours[name].previous == expected["previous_stage"]
            continue
        found, network = ours[name], expected["architecture"]["arch_kwargs"]
        options = found.options()
        assert list(found.patch) == list(expected["patch_size"]), (where, name)
        assert found.batch_size == expected["batch_size"], (where, name)
        assert found.spacing_mm == pytest.approx(expected["spacing"]), (where, name)
        assert found.median_shape == pytest.approx(expected["median_image_size_in_voxels"]), (where, name)
        assert [list(s) for s in options["strides"]] == network["strides"], (where, name)
        assert [list(k) for k in options["kernel_sizes"]] == network["kernel_sizes"], (where, name)
        assert list(options["filters"]) == network["features_per_stage"], (where, name)
        assert list(options["decoder_convs_per_stage"]) == network["n_conv_per_stage_decoder"], (where, name)
        if "n_blocks_per_stage" in network:
            assert list(options["blocks_per_stage"]) == network["n_blocks_per_stage"]
        assert found.batch_dice == expected["batch_dice"], (where, name)
        assert list(found.use_mask) == expected["use_mask_for_norm"], (where, name)


@pytest.mark.parametrize("collection", ["LiverLike", "ProstateLike", "BrainLike"])
@pytest.mark.parametrize("preset", ["default", "resenc_m", "resenc_l"])
def test_recorded_plans_of_varied_collections(shared, collection, preset):
    record = json.loads((shared / "fixtures/nnunet_planner.json").read_text())[collection]
    ours = plan(
        Fingerprint.from_dict(record["fingerprint"]),
        channel_names=record["channel_names"],
        labels=record["num_labels"],
        preset=preset,
    )
    assert_same(ours, record["plans"][preset], (collection, preset))


def test_recorded_plans_of_single_shapes(shared):
    record = json.loads((shared / "fixtures/nnunet_plans_msd.json").read_text())
    specs = {spec["name"]: spec for spec in record["_inputs"]}
    for key, expected in record["plans"].items():
        collection, planner = key.split("_", 1)
        spec = specs[collection]
        ours = plan(
            single_shape(spec),
            channel_names=[spec["channel_name"]] * spec["channels"],
            labels=spec["labels_incl_background"],
            preset=PLANNERS[planner],
        )
        assert_same(ours, expected["configurations"], key)


def test_recorded_plan_of_the_hippocampus(shared):
    stored = json.loads((shared / "fixtures/nnunet_hippocampus_fingerprint.json").read_text())
    record = json.loads((shared / "fixtures/nnunet_hippocampus_plans.json").read_text())
    ours = plan(Fingerprint.from_dict(stored), channel_names=["MRI"], labels=3)
    assert_same(ours, record["configurations"], "hippocampus")


def test_feature_values_worked_by_hand():
    # 4x4 patch, one pooling, 2 labels: encoder 2*32*16 + 2*64*4 = 1536, decoder 3*32*16 = 1536, head 2*16 = 32.
    small = Topology((4, 4), ((1, 1), (2, 2)), ((3, 3), (3, 3)))
    assert feature_values(small, "unet", labels=2) == 1536 + 1536 + 32


@pytest.mark.parametrize(("network", "expected"), [("unet", 452_796_416), ("resenc_unet", 557_420_544)])
def test_feature_values_of_the_reference_patch(network, expected):
    assert feature_values(topology((1, 1, 1), (128, 128, 128)), network, labels=3) == expected


def test_the_nested_network_is_estimated_as_itself():
    # UNet++ repeats every decoder level: the same patch costs more, so its plan gets a smaller patch.
    reference = topology((1, 1, 1), (128, 128, 128))
    assert feature_values(reference, "unetplusplus", labels=3) > 2 * feature_values(reference, "unet", labels=3)


@pytest.mark.parametrize("shape", [(5, 6, 7), (7, 7, 7), (1, 6, 6), (14, 8, 9)])
def test_tiny_volumes_still_have_a_decoder(shape):
    tiny = Fingerprint(((1.0, 1.0, 1.0),) * 3, (shape,) * 3, ({},), 1.0)
    for configuration in plan(tiny, channel_names=["MRI"], labels=2).values():
        assert len(configuration.topology.strides) >= 2
        fits = zip(configuration.patch, configuration.topology.divisors, strict=True)
        assert all(edge % divisor == 0 for edge, divisor in fits)


def test_a_coarse_axis_may_lie_anywhere():
    # The coarse axis is the last one of the arrays; the plan keeps the order of the arrays.
    sagittal = Fingerprint(((0.8, 0.8, 5.0),) * 4, ((256, 256, 30),) * 4, ({},), 1.0)
    full = plan(sagittal, channel_names=["MRI"], labels=2)["3d_fullres"]
    assert full.spacing_mm == (0.8, 0.8, 5.0)
    assert full.topology.strides[1] == (2, 2, 1)


def test_anisotropic_collections_take_the_tenth_percentile():
    # Coarse axis 3, 4, ..., 12 mm: the 10th percentile is 3.9 mm, the median 7.5 mm.
    spacings = tuple((float(step), 1.0, 1.0) for step in range(3, 13))
    mixed = Fingerprint(spacings, ((20, 300, 300),) * 10, ({},), 1.0)
    assert target_spacing(mixed) == pytest.approx((3.9, 1.0, 1.0))


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="resenc_m"):
        plan(Fingerprint(((1.0,) * 3,), ((9, 9, 9),), ({},), 1.0), channel_names=["CT"], labels=2, preset="big")
