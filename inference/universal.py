"""The post-processing of 3D U²-Net (Huang et al., MICCAI 2019).

Every class is closed; of heart, liver, pancreas and spleen the largest component is kept, of the classes of other
domains also the second where it has more than a tenth of the first's voxels; a last class of tumours is left alone.
Departures: it is done on the grid of the file instead of the resampled one; voxels that are not above 0 are not erased,
which in CT removed fat and dark lesions; half of the last axis is not emptied for the spleen, which relied on one
orientation.
"""

from collections.abc import Sequence

from inference.postprocess import PostProcessing

PUBLISHED = "universal_unet"
"""Of INFERENCE.POSTPROCESSING."""

ONE_PART = ("heart", "liver", "pancreas", "spleen")
LEFT_ALONE = ("cancer", "tumor", "tumour")


def published_cleaning(names: Sequence[str], *, domain: str | None = None) -> PostProcessing:
    """What 3D U²-Net does to a predicted label.

    Args:
        names: Classes by value, background first.
        domain: What the network was asked for; None: a class's own name decides.
    """
    values = range(1, len(names))
    if names[-1].lower() in LEFT_ALONE:
        values = range(1, len(names) - 1)
    one = tuple(value for value in values if {str(domain).lower(), names[value].lower()} & set(ONE_PART))
    return PostProcessing(
        closing=tuple(values),
        largest_component=one,
        second_component=tuple(value for value in values if value not in one),
    )
