"""The figure of one prediction: a picture with its mask, or the slices of a volume."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from reports.figures import add_label_legend, panels
from reports.montage import case_figure, slice_montage
from reports.overlays import display_window, grey_picture, overlay


def volume_figure(
    image: np.ndarray,
    label: np.ndarray,
    *,
    names: Mapping[int, str],
    title: str,
    reference: np.ndarray | None = None,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Figure:
    """Slices of a volume with the prediction, beside the reference where there is one.

    Args:
        image: Grey, `(d, h, w)`.
        label: Predicted classes, likewise.
        names: Class value to name.
        title: Above the figure.
        reference: True classes, likewise, or None.
        spacing_mm: Of the axes.
    """
    if reference is None and label.shape[0] > 1:
        return slice_montage(image, label, names=names, title=title)
    return case_figure(image, label, reference=reference, spacing_mm=spacing_mm, names=names, title=title)


def picture_figure(
    image: np.ndarray,
    label: np.ndarray,
    *,
    names: Mapping[int, str],
    title: str,
    reference: np.ndarray | None = None,
    centre_only: bool = False,
) -> Figure:
    """Image, true mask where there is one, prediction: as the predecessor showed them.

    Args:
        image: As stored, `(h, w, c)`.
        label: Predicted classes, `(1, h, w)`.
        names: Class value to name.
        title: Above the figure.
        reference: True classes, `(1, h, w)`, or None.
        centre_only: Show the middle channel, in grey.
    """
    stored = (0.0, 255.0) if 1 < image.max() <= 255 else None
    if centre_only or image.shape[-1] == 1:
        image = image[..., image.shape[-1] // 2]
    picture = grey_picture(image, window=stored or display_window(image))
    shown = [("image", picture), ("prediction", overlay(picture, label[0]))]
    if reference is not None:
        shown.insert(1, ("true mask", overlay(picture, reference[0])))
    figure = panels(shown, title=title)
    add_label_legend(figure, names)
    return figure
