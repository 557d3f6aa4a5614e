"""CHASE_DB1: both eyes of 14 children, 28 fundus photographs 960 x 999, two observers.

Fraz et al., "An ensemble classification-based approach applied to retinal blood vessel segmentation", IEEE TBME 2012,
https://blogs.kingston.ac.uk/retinal/chasedb1. No field of view is published. Both eyes of a child stay together.
"""

from collections.abc import Sequence

from data_preparation.collections.base import Collection, SourceOptions
from data_preparation.collections.retina import Layout, open_retina


def _parts(names: Sequence[str]) -> dict[str, str]:
    return {name: "train" if int(name[:2]) <= 10 else "test" for name in names}


LAYOUT = Layout(
    name="chase_db1",
    licence="CHASE_DB1, Kingston University: terms of the authors",
    form="folder with Image_01L.jpg and Image_01L_1stHO.png, or CHASEDB1.zip",
    image=r"Image_(?P<id>\d{2}[LR])\.(jpg|png)$",
    observers=(r"Image_(?P<id>\d{2}[LR])_1stHO\.(png|gif|jpg)$", r"Image_(?P<id>\d{2}[LR])_2ndHO\.(png|gif|jpg)$"),
    field=None,
    patient=lambda name: name[:2],
    parts=_parts,
)


def open_chase_db1(options: SourceOptions) -> Collection:
    """Children 1 to 10 (the first 20 photographs) train, 11 to 14 (the last 8) test."""
    return open_retina(options, LAYOUT)
