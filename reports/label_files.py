"""Names and colours of labels in the files that NIfTI viewers read."""

import pathlib
from collections.abc import Mapping

from imaging.atomic import replacing
from reports.palette import label_colour

ITK_SNAP, SLICER = "labels_itksnap.txt", "labels_slicer.ctbl"

_ITK_SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""


def itk_snap_text(names: Mapping[int, str]) -> str:
    """A label description file: ITK-SNAP reads it with Segmentation, Import label descriptions."""
    lines = ['    0     0    0    0        0  0  0    "Clear Label"']
    for value, name in sorted(names.items()):
        if value > 0:
            red, green, blue = label_colour(value)
            quoted = name.replace('"', "'")
            lines.append(f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{quoted}"')
    return _ITK_SNAP_HEAD + "\n".join(lines) + "\n"


def slicer_text(names: Mapping[int, str]) -> str:
    """A colour table of 3D Slicer; names hold no spaces there."""
    lines = ["# Color table file", "0 background 0 0 0 0"]
    for value, name in sorted(names.items()):
        if value > 0:
            lines.append(f"{value} {'_'.join(name.split())} {' '.join(map(str, label_colour(value)))} 255")
    return "\n".join(lines) + "\n"


def write_label_files(folder: pathlib.Path, names: Mapping[int, str]) -> list[pathlib.Path]:
    """Writes both files into a folder of predictions.

    Args:
        folder: Made if missing.
        names: Label value to name; the background is transparent.

    Returns:
        The files.
    """
    written: list[pathlib.Path] = []
    for name, text in ((ITK_SNAP, itk_snap_text(names)), (SLICER, slicer_text(names))):
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written
