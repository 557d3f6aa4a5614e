"""What may be wrong with a case that was read: each question gives findings, none raises."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_preparation.collections.base import Finding
from imaging import Volume, axis_codes, same_grid
from imaging.volume import non_finite_count

IGNORE = 255
SHOWN = 8


def non_finite(image: Volume, file: str) -> list[Finding]:
    """NaN and infinite voxels."""
    count = non_finite_count(image)
    if count == 0:
        return []
    return [Finding(file, f"{count} voxels are NaN or infinite.", "Export the image again, or leave the case out.")]


def constant(image: Volume, file: str) -> list[Finding]:
    """An image whose voxels are all equal."""
    first = image.array[(0,) * image.array.ndim]
    if any(bool((plane != first).any()) for plane in image.array):
        return []
    return [Finding(file, f"every voxel is {float(first):g}.", "Export the image again, or leave the case out.")]


def one_slice(image: Volume, file: str) -> list[Finding]:
    """A volume of a single slice, which a 3D network cannot use."""
    if min(image.shape) > 1 or not image.has_geometry:
        return []
    said = f"{_size(image)} voxels, a single slice."
    return [Finding(file, said, "Leave it out, or train on slices: type DATA_PREPARATION.CONFIGURATION=2d.")]


def too_small(image: Volume, file: str) -> list[Finding]:
    """An image one pixel high or wide, which no network has neighbours for."""
    _, height, width = image.shape
    if min(height, width) > 1:
        return []
    return [Finding(file, f"the image is {height} x {width} pixels.", "Export it again, or leave the case out.")]


def wrong_channels(image: Volume, channels: Sequence[str], file: str) -> list[Finding]:
    """Another number of channels than the collection has."""
    if image.channels == len(channels):
        return []
    said = f"{image.channels} channels; this collection has {len(channels)} ({', '.join(channels)})."
    return [Finding(file, said, "Convert the image, or add the missing channel.")]


def grids_differ(image: Volume, label: Volume, file: str, *, trust_image: bool = False) -> list[Finding]:
    """Image and label that do not lie on the same grid.

    Args:
        image: The image.
        label: Its label.
        file: The label's file, for the message.
        trust_image: Accept a label of the same shape whatever its header says about its place.
    """
    if image.shape != label.shape:
        return [
            Finding(
                file,
                f"the label is {_size(label)} voxels, the image {_size(image)}.",
                "They belong to different images, or one was resampled: export the label on the image's grid.",
            )
        ]
    if trust_image or not (image.has_geometry and label.has_geometry) or same_grid(image, label):
        return []
    said = (
        f"the label lies elsewhere than the image (axes {axis_codes(label.affine)} and {axis_codes(image.affine)}, "
        f"spacing {_mm(label)} and {_mm(image)} mm, origin {_origin(label)} and {_origin(image)} mm)."
    )
    return [
        Finding(
            file, said, "Correct the header, or type DATA_PREPARATION.LABEL_GRID=image if only the header is wrong."
        )
    ]


def count_labels(label: np.ndarray) -> dict[int, int]:
    """Voxels per value, values in order; plane by plane, so that memory stays small."""
    counts: dict[int, int] = {}
    for plane in label:
        foreground = plane[plane != 0] if plane.any() else plane[:0]
        values, numbers = np.unique(foreground, return_counts=True)
        pairs = [(0, plane.size - foreground.size), *zip(values.tolist(), numbers.tolist(), strict=True)]
        for value, number in pairs:
            counts[int(value)] = counts.get(int(value), 0) + number
    return {value: number for value, number in sorted(counts.items()) if number}


def within(label: np.ndarray, labels: Mapping[int, str]) -> bool:
    """Whether the values lie in the range of a collection whose values have no gaps: a quick yes, never a wrong one."""
    low, high = min(labels), max(labels)
    return high - low + 1 == len(labels) and low <= int(label.min()) and int(label.max()) <= high


def unexpected_values(counts: Mapping[int, int], labels: Mapping[int, str], file: str) -> list[Finding]:
    """Label values that the collection does not have."""
    strange = [value for value in counts if value not in labels]
    if not strange:
        return []
    shown = ", ".join(str(value) for value in strange[:SHOWN]) + (", ..." if len(strange) > SHOWN else "")
    known = ", ".join(f"{value} = {name}" for value, name in sorted(labels.items()))
    remedy = "Correct the label, or for grey masks type DATA_PREPARATION.MASK_THRESHOLD=127."
    return [Finding(file, f"unexpected label values {shown}; this collection has {known}.", remedy)]


def empty_label(counts: Mapping[int, int], file: str) -> list[Finding]:
    """A label without any foreground voxel."""
    if any(value not in (0, IGNORE) for value in counts):
        return []
    return [Finding(file, "the label is empty: every voxel is background.", "Segment the case, or leave it out.")]


def _size(volume: Volume) -> str:
    return " x ".join(str(size) for size in volume.shape)


def _mm(volume: Volume) -> str:
    return " x ".join(f"{value:.3g}" for value in volume.spacing_mm)


def _origin(volume: Volume) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in volume.affine[:3, 3]) + ")"
