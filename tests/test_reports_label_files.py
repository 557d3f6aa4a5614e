"""Label names and colours as ITK-SNAP and 3D Slicer read them."""

from reports.label_files import write_label_files
from reports.palette import label_colour

NAMES = {0: "background", 1: "liver", 2: 'left "old" kidney'}


def test_itk_snap_reads_eight_columns(tmp_path):
    itk_snap, _ = write_label_files(tmp_path, NAMES)
    lines = [line for line in itk_snap.read_text().splitlines() if not line.startswith("#")]
    assert lines[0].split(maxsplit=7) == ["0", "0", "0", "0", "0", "0", "0", '"Clear Label"']
    value, red, green, blue, *rest = lines[1].split(maxsplit=7)
    assert (value, int(red), int(green), int(blue)) == ("1", *label_colour(1))
    assert rest == ["1", "1", "1", '"liver"']
    assert lines[2].endswith("\"left 'old' kidney\"")


def test_slicer_reads_six_columns(tmp_path):
    _, slicer = write_label_files(tmp_path, NAMES)
    lines = [line.split() for line in slicer.read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == ["0", "background", "0", "0", "0", "0"]
    assert lines[1] == ["1", "liver", *map(str, label_colour(1)), "255"]
    assert {len(line) for line in lines} == {6}
