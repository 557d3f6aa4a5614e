"""Labels drawn on images, as arrays: no figure, no file."""

import numpy as np

from reports.palette import ERROR_COLOURS, colour_table

_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.5


def grey_picture(image: np.ndarray, *, window: tuple[float, float] | None = None) -> np.ndarray:
    """An image as it is looked at.

    Args:
        image: `(h, w)`, or `(h, w, 3)` for colour.
        window: Values shown black and white; None takes the 0.5 and 99.5 percentile of the finite values.

    Returns:
        uint8, `(h, w, 3)`; a constant image is black, values that are not finite are black.
    """
    values = np.nan_to_num(np.asarray(image, np.float32), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    low, high = window or display_window(values)
    with np.errstate(invalid="ignore"):
        unit = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    grey = np.round(np.nan_to_num(unit) * 255).astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=-1)


def display_window(image: np.ndarray) -> tuple[float, float]:
    """The 0.5 and 99.5 percentile of the finite values, taken over at most a million of them; (0, 1) without any."""
    flat = np.asarray(image).reshape(-1)
    sample = flat[:: max(1, flat.size // 1_000_000)].astype(np.float32)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(sample, [_LOW_PERCENT, _HIGH_PERCENT])
    return float(low), float(high)


def overlay(picture: np.ndarray, label: np.ndarray, *, opacity: float = 0.35, contours: bool = True) -> np.ndarray:
    """A label map blended over a picture.

    Args:
        picture: uint8, `(h, w, 3)`; not changed.
        label: `(h, w)`, 0 stays clear.
        opacity: Of the areas, 0 to 1; contours are opaque.
        contours: Whether the outlines of the areas are drawn.

    Returns:
        uint8, `(h, w, 3)`.

    Raises:
        ValueError: Picture and label differ in size.
    """
    if picture.shape[:2] != label.shape:
        raise ValueError(f"A label of shape {label.shape} does not lie on a picture of shape {picture.shape[:2]}.")
    colours = colour_table(np.unique(label).tolist())[label]
    blended = picture.copy()
    inside = label > 0
    blended[inside] = np.round((1 - opacity) * picture[inside] + opacity * colours[inside]).astype(np.uint8)
    if contours:
        border = outlines(label)
        blended[border] = colours[border]
    return blended


def outlines(label: np.ndarray) -> np.ndarray:
    """The foreground pixels `(h, w)` that touch another label over an edge; the picture's border does not count."""
    padded = np.pad(label, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    differs = np.zeros(label.shape, bool)
    for neighbour in neighbours:
        differs |= neighbour != centre
    return differs & (label > 0)


def error_codes(reference: np.ndarray, prediction: np.ndarray, *, ignore_label: int = 255) -> np.ndarray:
    """Where a prediction is right and how it is wrong.

    Returns:
        uint8 of the same shape: 0 background in both (or ignored), 1 right foreground, 2 missed foreground, 3
        foreground too much, 4 foreground of the wrong class.
    """
    codes = np.zeros(reference.shape, np.uint8)
    there, said = reference > 0, prediction > 0
    codes[there & said] = 4
    codes[there & (reference == prediction)] = 1
    codes[there & ~said] = 2
    codes[said & ~there] = 3
    codes[reference == ignore_label] = 0
    return codes


def error_overlay(picture: np.ndarray, codes: np.ndarray, *, opacity: float = 0.6) -> np.ndarray:
    """Error codes `(h, w)` blended over a picture, in the colours of `palette.ERROR_COLOURS`; uint8 `(h, w, 3)`."""
    table = np.array([(0, 0, 0), *ERROR_COLOURS.values()], np.uint8)
    marked = codes > 0
    blended = picture.copy()
    colours = table[codes[marked]]
    blended[marked] = np.round((1 - opacity) * picture[marked] + opacity * colours).astype(np.uint8)
    return blended


def largest_slice(label: np.ndarray, *, axis: int = 0) -> int:
    """The slice along `axis` with the largest share of the classes; the middle one where there is none."""
    shares = class_shares(label, axis=axis)
    return int(np.argmax(shares)) if shares.any() else label.shape[axis] // 2


def class_shares(label: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """How much of the classes each slice along `axis` holds: the sum over classes of its share of the class.

    Every class weighs the same, so that a small tumour is not passed over for the middle of a large organ. The ignore
    label 255 is none.
    """
    slices = np.moveaxis(label, axis, 0).reshape(label.shape[axis], -1)
    counts = np.stack([np.bincount(part, minlength=256)[1:255] for part in slices.astype(np.uint8)])
    totals = counts.sum(axis=0)
    return (counts[:, totals > 0] / totals[totals > 0]).sum(axis=1)


def centre_of_interest(label: np.ndarray) -> tuple[int, int, int]:
    """The three planes `(d, h, w)` that are worth showing: per axis the slice with the largest share of the classes."""
    return largest_slice(label, axis=0), largest_slice(label, axis=1), largest_slice(label, axis=2)
