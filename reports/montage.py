"""A case at a glance: three planes, reference beside prediction, where the errors are, a row of slices."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from reports.figures import add_label_legend, add_legend, new_figure, show_picture
from reports.overlays import (
    centre_of_interest,
    display_window,
    error_codes,
    error_overlay,
    grey_picture,
    overlay,
)
from reports.palette import ERROR_COLOURS, label_colour

PLANES = ("axial", "coronal", "sagittal")


def plane(volume: np.ndarray, name: str, index: int) -> np.ndarray:
    """One plane of a canonical volume, the head up.

    Args:
        volume: `(d, h, w)` or `(d, h, w, c)`, axes running superior, posterior, left.
        name: `"axial"`: anterior up, the patient's right on the left. `"coronal"`: superior up, the patient's right on
            the left. `"sagittal"`: superior up, anterior on the left.
        index: Slice along the axis that the plane cuts.

    Returns:
        `(rows, columns)` or `(rows, columns, c)`.

    Raises:
        ValueError: Unknown plane.
    """
    if name == "axial":
        return volume[index]
    if name == "coronal":
        return volume[::-1, index]
    if name == "sagittal":
        return volume[::-1, :, index]
    raise ValueError(f"Unknown plane {name!r}: give one of {', '.join(PLANES)}.")


def plane_aspect(name: str, spacing_mm: Sequence[float]) -> float:
    """Height of a pixel of the plane over its width, from the voxel spacing `(d, h, w)` in mm."""
    depth, rows, columns = spacing_mm
    return {"axial": rows / columns, "coronal": depth / columns, "sagittal": depth / rows}[name]


def case_figure(
    image: np.ndarray,
    prediction: np.ndarray,
    *,
    reference: np.ndarray | None = None,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    names: Mapping[int, str] | None = None,
    title: str = "",
) -> Figure:
    """Three planes through the largest extent: image, prediction, and with a reference also it and the errors.

    Args:
        image: `(d, h, w)` in canonical orientation; a volume of one slice shows the axial plane only.
        prediction: `(d, h, w)` labels.
        reference: `(d, h, w)` labels, or None.
        spacing_mm: Voxel size, so that planes are not squeezed.
        names: Label value to name, for the legend.
        title: Above everything.

    Returns:
        A figure that the caller saves or shows.

    Raises:
        ValueError: The arrays differ in shape.
    """
    for other in (prediction, reference):
        if other is not None and other.shape != image.shape:
            raise ValueError(f"Image of shape {image.shape} and label of shape {other.shape} do not lie on one grid.")
    where = centre_of_interest(prediction if reference is None or not reference.any() else reference)
    chosen = PLANES[:1] if image.shape[0] == 1 else PLANES
    heads = ("image", "prediction") if reference is None else ("image", "reference", "prediction", "errors")
    ratios = [_height_over_width(image.shape, name, spacing_mm) for name in chosen]
    figure = new_figure(width=2.6 * len(heads), height=2.6 * sum(ratios) + 0.25 * len(chosen) + 0.8)
    grid = figure.add_gridspec(len(chosen), len(heads), height_ratios=ratios)
    window = display_window(image)
    for row, (name, index) in enumerate(zip(chosen, where, strict=False)):
        pictures = plane_pictures(name, index, (image, reference, prediction), window)
        for column, (head, picture) in enumerate(zip(heads, pictures, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            text = f"{name} {index}" if column == 0 else head if row == 0 else ""
            show_picture(axes, picture, title=text, aspect=plane_aspect(name, spacing_mm))
    if title:
        figure.suptitle(title, fontsize=10)
    colours = {text: label_colour(value) for value, text in (names or {}).items() if value > 0}
    add_legend(figure, colours if reference is None else {**colours, **ERROR_COLOURS})
    return figure


def _height_over_width(shape: Sequence[int], name: str, spacing_mm: Sequence[float]) -> float:
    """Of a plane as drawn; kept between 1/4 and 2, so that flat and long volumes still leave a legible page."""
    depth, rows, columns = (size * spacing for size, spacing in zip(shape, spacing_mm, strict=True))
    ratio = {"axial": rows / columns, "coronal": depth / columns, "sagittal": depth / rows}[name]
    return min(max(ratio, 0.25), 2.0)


def plane_pictures(
    name: str,
    index: int,
    arrays: tuple[np.ndarray, np.ndarray | None, np.ndarray],
    window: tuple[float, float],
) -> list[np.ndarray]:
    """One plane as pictures: image, prediction; with a reference image, reference, prediction, errors.

    Args:
        name: See `plane`.
        index: See `plane`.
        arrays: Image, reference or None, prediction, each `(d, h, w)`.
        window: Values shown black and white.

    Returns:
        uint8 pictures of the plane's size, `(rows, columns, 3)`.
    """
    image, reference, prediction = arrays
    picture = grey_picture(plane(image, name, index), window=window)
    said = plane(prediction, name, index)
    pictures = [picture]
    if reference is not None:
        pictures.append(overlay(picture, plane(reference, name, index)))
    pictures.append(overlay(picture, said))
    if reference is not None:
        pictures.append(error_overlay(picture, error_codes(plane(reference, name, index), said)))
    return pictures


def slice_montage(
    image: np.ndarray, label: np.ndarray, *, count: int = 8, names: Mapping[int, str] | None = None, title: str = ""
) -> Figure:
    """`count` axial slices evenly spread over the labelled part (the whole volume where nothing is labelled).

    Args:
        image: `(d, h, w)` in canonical orientation.
        label: `(d, h, w)`.
        count: Slices at most.
        names: Label value to name, for the legend.
        title: Above everything.

    Returns:
        A figure that the caller saves or shows.
    """
    held = np.flatnonzero(label.any(axis=(1, 2)))
    first, last = (held[0], held[-1]) if held.size else (0, image.shape[0] - 1)
    chosen = np.unique(np.linspace(first, last, min(count, last - first + 1)).round().astype(int))
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(width=2.4 * columns, height=2.5 * rows + 0.6)
    window = display_window(image)
    for place, index in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, place + 1)
        show_picture(axes, overlay(grey_picture(image[index], window=window), label[index]), title=f"slice {index}")
    if title:
        figure.suptitle(title, fontsize=10)
    add_label_legend(figure, names or {})
    return figure
