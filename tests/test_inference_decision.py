"""Post-processing is decided by the Dice of predictions out of fold: kept where it helps, left where it harms."""

import numpy as np
import pytest

from imaging import Volume
from inference.decision import Decision, decide, load_decision, save_decision

CLASSES = {"liver": (1,), "tumor": (2,)}


def pair(said, true):
    """One slice of a prediction and a reference."""
    return lambda: tuple(Volume(np.array([[row]], np.uint8), np.eye(4)) for row in (said, true))


def test_islands_are_removed_where_all_foreground_is_one_part():
    # Liver: Dice 2*3/(4+3) = 6/7 with the island, 1 without.
    found = decide([pair([1, 1, 1, 2, 0, 1], [1, 1, 1, 2, 0, 0])], CLASSES)
    assert found.names == ("all foreground",)
    assert found.largest_of == ((1, 2),)
    assert found.dice["before"]["liver"] == pytest.approx(6 / 7)
    assert found.dice["after"] == {"liver": 1.0, "tumor": 1.0}
    assert "liver +0.1429" in found.sentence()


def test_a_class_that_falls_keeps_all_foreground_but_each_class_is_asked():
    # All foreground: the tumour apart would go (1 to 0). Liver alone: its island goes, 6/7 becomes 1.
    found = decide([pair([1, 1, 1, 0, 1, 0, 2], [1, 1, 1, 0, 0, 0, 2])], CLASSES)
    assert found.names == ("liver",)
    assert found.dice["after"] == {"liver": 1.0, "tumor": 1.0}


def test_two_true_parts_stay():
    found = decide([pair([1, 1, 0, 1], [1, 1, 0, 1])], {"liver": (1,)})
    assert found.largest_of == ()
    assert "none" in found.sentence()


def test_one_class_is_asked_once():
    asked = []
    read = pair([1, 1, 0, 1], [1, 1, 0, 0])
    found = decide([lambda: (asked.append(1), read())[1]], {"liver": (1,)})
    assert found.names == ("all foreground",)
    # Before with the candidate, and after.
    assert len(asked) == 2


def test_the_mean_over_cases_decides():
    # One island less in the first case (2/3 to 1), a true part less in the second (1 to 4/5).
    helped, harmed = pair([1, 0, 1, 0], [1, 0, 0, 0]), pair([1, 1, 0, 1], [1, 1, 0, 1])
    assert decide([helped, harmed], {"liver": (1,)}).names == ("all foreground",)
    assert decide([helped, harmed, harmed], {"liver": (1,)}).names == ()


def test_regions_that_overlap_are_asked_one_after_the_other():
    regions = {"whole": (1, 2), "core": (2,)}
    # The second core part lies within the whole; removed, it becomes background and the whole loses a voxel.
    found = decide([pair([1, 2, 1, 2, 1], [1, 2, 1, 1, 1])], regions)
    assert found.names == ("core",)
    assert found.dice["after"]["core"] == 1.0
    assert found.dice["after"]["whole"] == pytest.approx(8 / 9)


def test_ignored_voxels_do_not_count():
    found = decide([pair([1, 1, 0, 1], [1, 1, 0, 255])], {"liver": (1,)})
    assert found.dice["before"]["liver"] == 1.0
    assert found.names == ()


def test_written_and_read_again(tmp_path):
    decision = Decision(
        ((1, 2), (1,)), ("all foreground", "liver"), {"before": {"liver": 0.5}, "after": {"liver": 0.6}}
    )
    save_decision(tmp_path / "postprocessing.json", decision, cases=["a"])
    found, facts = load_decision(tmp_path / "postprocessing.json")
    assert found == decision
    assert facts["cases"] == ["a"]
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ValueError, match="no post-processing.*INFERENCE.POSTPROCESSING=null"):
        load_decision(tmp_path / "broken.json")
