"""What augmentation does: a sample as it is, and beside it what the recipe made of it."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from reports.figures import add_label_legend, new_figure, save_figure, show_picture
from reports.montage import plane
from reports.overlays import centre_of_interest, display_window, grey_picture, outlines
from reports.palette import colour_table

Example = tuple[np.ndarray, np.ndarray | None]
_PLANES = ("axial", "coronal")
_SIZE_INCHES = 1.9


def draw_gallery(
    rows: Sequence[Sequence[Example]],
    path: str | os.PathLike[str],
    *,
    names: Mapping[int, str] | None = None,
    colour: bool = False,
) -> pathlib.Path:
    """Draws samples, one in a row (volumes in two planes), with the outlines of their labels.

    Args:
        rows: Of each sample first as it is, then as it was augmented: image `(h, w, c)` or `(d, h, w, c)`, label with
            one channel or `None`. Grey values of a row are shown as those of its first image, so that a change of
            brightness is seen.
        path: Picture to write, replaced in one step.
        names: Label value to name, for the legend.
        colour: Three channels are red, green and blue; otherwise the middle one is shown.

    Returns:
        The path.

    Raises:
        ValueError: There is no sample.
    """
    if not rows:
        raise ValueError("There is no sample to draw: check the case list of this split.")
    lines = [line for row in rows for line in _lines(row, colour)]
    columns = max(len(line) for line in lines)
    figure = new_figure(width=_SIZE_INCHES * columns, height=_SIZE_INCHES * len(lines) + 0.5)
    for row, line in enumerate(lines):
        for column, picture in enumerate(line):
            title = "" if row else "as it is" if column == 0 else f"augmented {column}"
            show_picture(figure.add_subplot(len(lines), columns, row * columns + column + 1), picture, title=title)
    add_label_legend(figure, names or {})
    return save_figure(figure, path)


def _lines(row: Sequence[Example], colour: bool) -> list[list[np.ndarray]]:
    """The pictures of one sample: a line for pictures, a line for each plane of volumes."""
    window = display_window(row[0][0])
    if row[0][0].ndim == 3:
        return [[_marked(image, None if label is None else label[..., 0], window, colour) for image, label in row]]
    lines: list[list[np.ndarray]] = []
    for axis, name in enumerate(_PLANES):
        line: list[np.ndarray] = []
        for image, label in row:
            values = np.zeros(image.shape[:-1], np.uint8) if label is None else label[..., 0]
            index = centre_of_interest(values)[axis]
            line.append(_marked(plane(image, name, index), plane(values, name, index), window, colour))
        lines.append(line)
    return lines


def _marked(image: np.ndarray, label: np.ndarray | None, window: tuple[float, float], colour: bool) -> np.ndarray:
    channels = image.shape[-1]
    shown = image if colour and channels == 3 else image[..., channels // 2]
    picture = grey_picture(shown, window=window)
    if label is not None:
        border = outlines(label)
        picture[border] = colour_table(np.unique(label).tolist())[label][border]
    return picture
