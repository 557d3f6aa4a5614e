"""The table of predicted volumes."""

import csv
import json

import numpy as np

from imaging import Volume
from reports.volumes import class_volumes, write_volumes

NAMES = {0: "background", 1: "liver", 2: "tumor"}


def label(has_geometry=True):
    array = np.zeros((4, 5, 6), np.uint8)
    array[:2, :2, :5] = 1
    return Volume(array, np.diag([5.0, 2.0, 1.0, 1.0]), has_geometry=has_geometry)


def test_millilitres_by_hand():
    # 20 voxels of 5 x 2 x 1 mm: 200 mm3, 0.2 ml.
    assert class_volumes(label(), NAMES) == {"liver": {"voxels": 20, "ml": 0.2}, "tumor": {"voxels": 0, "ml": 0.0}}


def test_regions_overlap():
    array = np.zeros((1, 1, 6), np.uint8)
    array[0, 0, :3] = [1, 1, 2]
    found = class_volumes(Volume(array, np.eye(4)), NAMES, regions={"both": (1, 2), "tumor": (2,)})
    assert {name: values["voxels"] for name, values in found.items()} == {"liver": 2, "tumor": 1, "both": 3}


def test_a_picture_has_pixels_only():
    assert class_volumes(label(has_geometry=False), {0: "background", 1: "liver"}) == {"liver": {"voxels": 20}}


def test_both_tables_say_the_same_and_viewers_find_the_colours(tmp_path):
    write_volumes(tmp_path, {"a": class_volumes(label(), NAMES)}, names=NAMES)
    with (tmp_path / "statistics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {"case": "a", "label": "liver", "voxels": "20", "ml": "0.2"}
    assert json.loads((tmp_path / "statistics.json").read_text())["a"]["liver"]["ml"] == 0.2
    assert (tmp_path / "labels_itksnap.txt").is_file()
