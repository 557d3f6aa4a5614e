"""DRIVE: 40 fundus photographs 584 x 565; `training` and `test` of 20, as folders or as the official zips.

Staal et al., "Ridge-based vessel segmentation in color images of the retina", IEEE TMI 2004,
https://drive.grand-challenge.org. Two observers on the test part; masks of the field of view are GIF files.
"""

from collections.abc import Sequence

from data_preparation.collections.base import Collection, SourceOptions
from data_preparation.collections.retina import Layout, open_retina


def _parts(names: Sequence[str]) -> dict[str, str]:
    return {name: "test" if int(name) <= 20 else "train" for name in names}


LAYOUT = Layout(
    name="drive",
    licence="DRIVE, https://drive.grand-challenge.org: research use, terms of the challenge",
    form="folder with training/ and test/, or with training.zip and test.zip",
    image=r"images/(?P<id>\d+)_(training|test)\.(tif|tiff|png)$",
    observers=(r"1st_manual/(?P<id>\d+)_manual1\.(gif|png|tif)$", r"2nd_manual/(?P<id>\d+)_manual2\.(gif|png|tif)$"),
    field=r"mask/(?P<id>\d+)_(training|test)_mask\.(gif|png|tif)$",
    patient=lambda name: name,
    parts=_parts,
)


def open_drive(options: SourceOptions) -> Collection:
    """Photographs 21 to 40 train, 1 to 20 test."""
    return open_retina(options, LAYOUT)
