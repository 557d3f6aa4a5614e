"""Synapse, BTCV, ACDC, BraTS and lung in every published layout: cases, modalities, labels, who is tested."""

import numpy as np
import pytest
from benchmark_folders import ABDOMEN, BRATS, HEART, abdomen, brain_task, brats, heart, image, label, lungs, write

from data_generators.manifest import load_manifest
from data_preparation.check import check_collection
from data_preparation.collections import PreparationError, SourceOptions, open_collection
from data_preparation.originals import case_label_reader
from data_preparation.planned import planned_splits, prepare_by_plan
from data_preparation.planning.document import Wishes

REGIONS = {
    "2013": {"WT": (1, 2, 3, 4), "TC": (1, 3, 4), "ET": (4,)},
    "2018": {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)},
    "2023": {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)},
}


def opened(name, folder, **options):
    return open_collection(name, SourceOptions(source=folder, **options))


def ids(collection, part=None):
    return [case.id for case in collection.cases if part is None or case.part == part]


@pytest.mark.parametrize("layout", ABDOMEN)
def test_abdomen_is_found_in_every_layout(tmp_path, rng, layout):
    collection = opened("synapse", abdomen(tmp_path, rng, layout))
    assert ids(collection) == ["img0001", "img0005", "img0006", "img0040"]
    assert check_collection(collection, workers=1, progress=False) == []
    assert collection.labels[8] == "aorta"


def test_synapse_and_btcv_test_other_cases(tmp_path, rng):
    folder = abdomen(tmp_path, rng)
    assert ids(opened("synapse", folder), "test") == ["img0001"]
    assert ids(opened("btcv", folder), "test") == ["img0040"]


def test_test_images_without_labels_are_left_out(tmp_path, rng, caplog):
    folder = abdomen(tmp_path, rng)
    write(folder / "RawData/Testing/img/img0061.nii.gz", image(rng))
    with caplog.at_level("INFO"):
        collection = opened("synapse", folder)
    assert collection.findings == ()
    assert "1 test images without published labels" in caplog.text


def test_a_scan_without_its_label_is_a_finding(tmp_path, rng):
    folder = abdomen(tmp_path, rng)
    (folder / "RawData/Training/label/label0005.nii.gz").unlink()
    write(folder / "RawData/Training/label/label0010.nii.gz", label(1))
    told = [str(finding) for finding in opened("synapse", folder).findings]
    assert "label missing for case img0005. Add label0005.nii.gz" in told[0]
    assert "label0010.nii.gz: image missing" in told[1]


def test_transunets_slices_are_refused_in_one_line(tmp_path):
    (tmp_path / "train_npz").mkdir()
    (tmp_path / "train_npz/case0005_slice000.npz").touch()
    with pytest.raises(PreparationError, match=r"TransUNet's files .* take the published RawData") as error:
        opened("synapse", tmp_path)
    assert "\n" not in str(error.value)


def test_the_same_scan_in_two_layouts_is_refused(tmp_path, rng):
    abdomen(tmp_path, rng)
    with pytest.raises(PreparationError, match="are both case img0001"):
        opened("synapse", abdomen(tmp_path, rng, "nnunet"))


@pytest.mark.parametrize("layout", HEART)
def test_hearts_are_found_in_every_layout_with_their_own_spacing(tmp_path, rng, layout):
    collection = opened("acdc", heart(tmp_path, rng, layout))
    assert ids(collection)[:3] == ["patient001_frame01", "patient001_frame12", "patient002_frame01"]
    assert collection.read_image(collection.cases[0]).spacing_mm == pytest.approx((2.0, 1.0, 1.0))
    assert check_collection(collection, workers=1, progress=False) == []


def test_films_beside_the_frames_are_not_frames(tmp_path, rng):
    folder = heart(tmp_path, rng)
    write(folder / "training/patient001/patient001_4d.nii.gz", image(rng, 3))
    (folder / "training/patient001/Info.cfg").write_text("ED: 1\nES: 12\n")
    assert len(opened("acdc", folder).cases) == 8


def test_a_patient_of_whom_another_frame_is_published_is_still_tested(tmp_path, rng):
    # The published split names frames 01 and 15 of patient 3; frame 12 of the same patient must not train.
    assert ids(opened("acdc", heart(tmp_path, rng)), "test") == [
        f"patient{number}_frame{frame}" for number in ("002", "003") for frame in ("01", "12")
    ]


def test_the_challenges_own_test_patients_are_the_test_part(tmp_path, rng):
    heart(tmp_path, rng)
    folder = heart(tmp_path, rng, patients=("101",))
    assert {case.patient for case in opened("acdc", folder).cases if case.part == "test"} == {"patient101"}


def test_a_frame_without_its_label_is_a_finding(tmp_path, rng):
    folder = heart(tmp_path, rng)
    (folder / "training/patient001/patient001_frame12_gt.nii.gz").unlink()
    collection = opened("acdc", folder)
    assert len(collection.cases) == 7
    assert "patient001_frame12.nii.gz: label missing" in str(collection.findings[0])


def means(volume):
    return (volume.array.mean(axis=(0, 1, 2)) // 1000).tolist()


@pytest.mark.parametrize("year", BRATS)
def test_brain_tumours_of_every_year(tmp_path, rng, year):
    collection = opened("brats", brats(tmp_path, rng, year))
    assert len(collection.cases) == 3
    assert collection.channels == ("FLAIR", "T1w", "T1gd", "T2w")
    assert means(collection.read_image(collection.cases[0])) == [1, 2, 3, 4]
    assert check_collection(collection, workers=1, progress=False) == []
    assert collection.regions == REGIONS.get(year, REGIONS["2013" if year == "2015" else "2018"])


def test_the_last_word_of_a_name_says_the_modality(tmp_path, rng):
    folder = brats(tmp_path / "raw", rng, "2021", ("0001",))
    for path in folder.rglob("*.nii.gz"):
        path.rename(path.with_name(path.name.replace("BraTS2021", "T2_study")))
    assert means(opened("brats", folder).read_image(opened("brats", folder).cases[0])) == [1, 2, 3, 4]


def test_visits_of_a_patient_stay_together(tmp_path, rng):
    folder = brats(tmp_path, rng, "2015")
    assert {case.patient for case in opened("brats", folder).cases} == {"brats_tcia_pat101"}


def test_high_and_low_grade_cases_of_one_number_are_two(tmp_path, rng):
    brats(tmp_path, rng, "2013", ("0001",))
    (tmp_path / "HG").rename(tmp_path / "LG")
    assert ids(opened("brats", brats(tmp_path, rng, "2013", ("0001", "0002")))) == ["0002", "HG_0001", "LG_0001"]


def test_two_of_four_modalities_by_any_name(tmp_path, rng):
    collection = opened("brats", brats(tmp_path, rng, "2021"), channels=("t1ce", "FLAIR"))
    assert collection.channels == ("T1gd", "FLAIR")
    assert means(collection.read_image(collection.cases[0])) == [3, 1]


def test_a_modality_that_no_case_has_is_named_with_what_to_type(tmp_path, rng):
    folder = brats(tmp_path, rng, "2021")
    for path in [*folder.rglob("*_t1.nii.gz"), *folder.rglob("*_t2.nii.gz")]:
        path.unlink()
    with pytest.raises(PreparationError, match=r"no case has T1w \(t1, .*CHANNELS=\[FLAIR,T1gd\]"):
        opened("brats", folder)
    assert len(opened("brats", folder, channels=("FLAIR", "T1gd")).cases) == 3


def test_a_modality_that_one_case_lacks_is_a_finding(tmp_path, rng):
    folder = brats(tmp_path, rng, "2023")
    (folder / "BraTS-GLI-0002-000/BraTS-GLI-0002-000-t2f.nii.gz").unlink()
    collection = opened("brats", folder)
    assert len(collection.cases) == 2
    assert "case BraTS-GLI-0002-000 lacks FLAIR (flair, t2f)" in str(collection.findings[0])


def test_an_unknown_modality_is_suggested(tmp_path, rng):
    with pytest.raises(PreparationError, match=r"CHANNELS: flar is no modality of BraTS\. Did you mean FLAIR"):
        opened("brats", tmp_path, channels=("flar",))


def test_years_with_other_label_values_are_not_mixed(tmp_path, rng):
    brats(tmp_path, rng, "2021", ("0001",))
    with pytest.raises(PreparationError, match="2017: BraTS2021_0001; 2023: BraTS-GLI-0001-000"):
        opened("brats", brats(tmp_path, rng, "2023", ("0001",)))


def test_an_empty_folder_says_what_a_case_is(tmp_path):
    with pytest.raises(PreparationError, match=r"no BraTS case below it, such as <case>_flair"):
        opened("brats", tmp_path)


def test_the_decathlons_brain_tumours_have_the_papers_parts(tmp_path, rng):
    collection = opened("brats", brain_task(tmp_path, rng))
    assert [case.part for case in collection.cases] == [None, "test", "validation"]
    assert collection.regions == {"WT": (1, 2, 3), "TC": (2, 3), "ET": (3,)}
    assert check_collection(collection, workers=1, progress=False) == []


def test_the_decathlons_modalities_are_picked_from_the_fourth_axis(tmp_path, rng):
    collection = opened("brats", brain_task(tmp_path / "raw", rng), channels=("T2w", "FLAIR"))
    assert means(collection.read_image(collection.cases[0])) == [4, 1]
    prepare_by_plan(collection, tmp_path / "out", wishes=Wishes(), workers=1, progress=False)
    manifest = load_manifest(tmp_path / "out")
    assert (list(manifest.channels), manifest.cases[0].channels) == (["T2w", "FLAIR"], 2)
    assert manifest.preparation["regions"]["TC"] == [2, 3]
    again = case_label_reader(manifest)(manifest.cases[0])
    assert np.unique(again.array).tolist() == [0, 1, 2, 3]


def test_lungs_have_the_papers_test_cases(tmp_path, rng):
    collection = opened("lung", lungs(tmp_path, rng))
    assert (ids(collection, "test"), collection.channels) == (["lung_058"], ("CT",))


def test_lungs_in_nnunets_form(tmp_path, rng):
    folder = lungs(tmp_path, rng)
    for path in (folder / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    collection = opened("lung", folder)
    assert (ids(collection, "test"), collection.findings) == (["lung_058"], ())


def test_another_task_is_no_lung(tmp_path, rng):
    with pytest.raises(PreparationError, match="1 = cancer alone"):
        opened("lung", brain_task(tmp_path, rng))


def test_training_cases_of_every_collection_have_validation_apart_from_test(tmp_path, rng):
    for name, folder in (
        ("synapse", abdomen(tmp_path / "a", rng)),
        ("acdc", heart(tmp_path / "h", rng)),
        ("brats", brats(tmp_path / "b", rng, "2021")),
    ):
        parts = planned_splits(opened(name, folder)).official
        assert all(parts[part] for part in ("train", "validation", "test"))
        assert not set(parts["validation"]) & set(parts["test"])
