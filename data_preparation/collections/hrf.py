"""HRF: 45 fundus photographs 2336 x 3504 of 15 healthy people, 15 with diabetic retinopathy, 15 with glaucoma.

Budai et al., "Robust vessel segmentation in fundus images", International Journal of Biomedical Imaging 2013,
https://www5.cs.fau.de/research/data/fundus-images. One observer; masks of the field of view.
"""

from collections.abc import Sequence

from data_preparation.collections.base import Collection, SourceOptions
from data_preparation.collections.retina import Layout, open_retina

TRAINING_PER_GROUP = 5


def _parts(names: Sequence[str]) -> dict[str, str]:
    return {name: "train" if int(name.split("_")[0]) <= TRAINING_PER_GROUP else "test" for name in names}


LAYOUT = Layout(
    name="hrf",
    licence="HRF, https://www5.cs.fau.de/research/data/fundus-images: CC BY 4.0",
    form="folder with images/, manual1/ and mask/, or with the zips of the three groups",
    image=r"(^|/)(?P<id>\d{2}_(h|g|dr))\.(jpg|png)$",
    observers=(r"(^|/)(?P<id>\d{2}_(h|g|dr))\.(tif|gif)$",),
    field=r"(^|/)(?P<id>\d{2}_(h|g|dr))_mask\.(tif|gif|png)$",
    patient=lambda name: name,
    parts=_parts,
)


def open_hrf(options: SourceOptions) -> Collection:
    """The first five of every group train, the other ten test, as in mmsegmentation; the authors publish no split."""
    return open_retina(options, LAYOUT)
