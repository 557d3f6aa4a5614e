"""STARE: 20 fundus photographs 605 x 700, gzipped PPM in tar archives or plain.

Hoover et al., "Locating blood vessels in retinal images by piecewise threshold probing", IEEE TMI 2000,
https://cecas.clemson.edu/~ahoover/stare/probing. Observers `ah` (first) and `vk`; no field of view is published.
"""

from data_preparation.collections.base import Collection, SourceOptions
from data_preparation.collections.retina import Layout, halves, open_retina

LAYOUT = Layout(
    name="stare",
    licence="STARE, https://cecas.clemson.edu/~ahoover/stare: no terms stated, cite the authors",
    form="folder with stare-images.tar, labels-ah.tar and labels-vk.tar, or with their content",
    image=r"(?P<id>im\d{4})\.(ppm|png)(\.gz)?$",
    observers=(r"(?P<id>im\d{4})\.ah\.(ppm|png)(\.gz)?$", r"(?P<id>im\d{4})\.vk\.(ppm|png)(\.gz)?$"),
    field=None,
    patient=lambda name: name,
    parts=halves(10),
)


def open_stare(options: SourceOptions) -> Collection:
    """The first ten names train, the last ten test, as in mmsegmentation; the authors publish no split."""
    return open_retina(options, LAYOUT)
