"""The pictures of one case on a page: planes side by side, and slices to move through."""

from dataclasses import dataclass

import numpy as np

from reports.encoding import picture_uri, sized
from reports.montage import PLANES, plane_aspect, plane_pictures
from reports.overlays import (
    centre_of_interest,
    class_shares,
    display_window,
    error_codes,
    error_overlay,
    grey_picture,
    overlay,
)
from reports.page import Gallery, Picture, Slider

HEADS = ("image", "prediction")
HEADS_WITH_REFERENCE = ("image", "reference", "prediction", "errors")


@dataclass(frozen=True)
class CaseView:
    """One case in canonical orientation, as it is shown.

    Attributes:
        image: `(d, h, w)`.
        prediction: Labels, `(d, h, w)`.
        reference: Labels, `(d, h, w)`, or None.
        spacing_mm: Of `(d, h, w)`.
    """

    image: np.ndarray
    prediction: np.ndarray
    reference: np.ndarray | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def leading(self) -> np.ndarray:
        """The label that decides which slices are worth showing: the reference where it holds anything."""
        return self.prediction if self.reference is None or not self.reference.any() else self.reference


@dataclass(frozen=True)
class Budget:
    """How much a case may take of a page: pixels of a picture's longer side, slices of the slider (0: no slider)."""

    pixels: int = 320
    slices: int = 24


BUDGETS = (Budget(), Budget(256, 20), Budget(224, 12), Budget(160, 8), Budget(128, 6), Budget(112, 0), Budget(80, 0))
PICTURES_BYTES = 7_000_000
"""What the pictures of all shown cases may take together, so that a page stays below 8 MB."""


def fitting_budget(view: CaseView, cases: int) -> Budget:
    """The largest budget with which so many cases like this one fit on a page."""
    for budget in BUDGETS:
        slider = slice_slider(view, budget)
        size = sum(len(picture.uri) for picture in plane_gallery(view, budget).pictures)
        if cases * (size + (0 if slider is None else len(slider.strip))) <= PICTURES_BYTES:
            return budget
    return BUDGETS[-1]


def plane_gallery(view: CaseView, budget: Budget) -> Gallery:
    """Three planes through the largest extent (one of a flat case), each as image, labels and errors."""
    heads = HEADS if view.reference is None else HEADS_WITH_REFERENCE
    window, shown = display_window(view.image), PLANES[:1] if view.image.shape[0] == 1 else PLANES
    pictures: list[Picture] = []
    for name, index in zip(shown, centre_of_interest(view.leading), strict=False):
        row = plane_pictures(name, index, (view.image, view.reference, view.prediction), window)
        for head, picture in zip(heads, row, strict=True):
            ready = sized(picture, aspect=plane_aspect(name, view.spacing_mm), longest=budget.pixels)
            pictures.append(Picture(picture_uri(ready), f"{name} {index}: {head}"))
    return Gallery(pictures, columns=len(heads))


def slice_slider(view: CaseView, budget: Budget) -> Slider | None:
    """Axial slices with the errors (without a reference: the prediction); None where there is nothing to move through.

    The slices are spread evenly over the labelled part and a tenth of the volume around it.
    """
    if view.image.shape[0] == 1 or budget.slices < 2:
        return None
    indices = _spread(view, budget.slices)
    window, aspect = display_window(view.image), plane_aspect("axial", view.spacing_mm)
    frames = [sized(_marked(view, index, window), aspect=aspect, longest=budget.pixels) for index in indices]
    held = class_shares(view.leading)[indices]
    rows, columns = frames[0].shape[:2]
    names = [f"slice {index}" for index in indices]
    return Slider(picture_uri(np.concatenate(frames), quality=62), names, columns / rows, start=int(held.argmax()))


def _spread(view: CaseView, count: int) -> list[int]:
    depth = view.image.shape[0]
    marked = view.prediction.any(axis=(1, 2))
    if view.reference is not None:
        marked = marked | view.reference.any(axis=(1, 2))
    held, around = np.flatnonzero(marked), max(depth // 10, 1)
    first, last = (held[0] - around, held[-1] + around) if held.size else (0, depth - 1)
    first, last = max(int(first), 0), min(int(last), depth - 1)
    return [int(index) for index in np.unique(np.linspace(first, last, min(count, last - first + 1)).round())]


def _marked(view: CaseView, index: int, window: tuple[float, float]) -> np.ndarray:
    picture = grey_picture(view.image[index], window=window)
    if view.reference is None:
        return overlay(picture, view.prediction[index])
    return error_overlay(picture, error_codes(view.reference[index], view.prediction[index]), opacity=0.5)
