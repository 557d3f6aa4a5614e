"""Volumes and images in the NumPy world: reading, writing, orientation, resampling, intensity. No Keras.

Format libraries are imported when the first file of their format is read.
"""

from imaging.crop import crop_slices, mask_bounding_box, nonzero_bounding_box, nonzero_mask
from imaging.errors import ImageError
from imaging.files import read_grid, read_label, read_volume, write_volume
from imaging.geometry import CaseGeometry
from imaging.intensity import clip_zscore, rescale_to_unit, rgb_to_unit, window_to_unit, zscore
from imaging.paths import find_images, natural_key, stem_of, suffix_of
from imaging.resampling import (
    coarse_axis,
    new_shape,
    resample_image,
    resample_label,
    resample_label_nearest,
    resample_probabilities,
)
from imaging.slices import resize_slices
from imaging.volume import (
    CANONICAL,
    Grid,
    Volume,
    axis_codes,
    non_finite_count,
    reorient,
    same_grid,
    to_canonical,
)

__all__ = [
    "CANONICAL",
    "CaseGeometry",
    "Grid",
    "ImageError",
    "Volume",
    "axis_codes",
    "clip_zscore",
    "coarse_axis",
    "crop_slices",
    "find_images",
    "mask_bounding_box",
    "natural_key",
    "new_shape",
    "non_finite_count",
    "nonzero_bounding_box",
    "nonzero_mask",
    "read_grid",
    "read_label",
    "read_volume",
    "reorient",
    "resample_image",
    "resample_label",
    "resample_label_nearest",
    "resample_probabilities",
    "rescale_to_unit",
    "resize_slices",
    "rgb_to_unit",
    "same_grid",
    "stem_of",
    "suffix_of",
    "to_canonical",
    "window_to_unit",
    "write_volume",
    "zscore",
]
