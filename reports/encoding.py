"""Pictures as text: `data:` URIs, so that a page holds everything it shows."""

import base64
import io

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

WEBP_QUALITY = 72


def figure_uri(figure: Figure) -> str:
    """A figure as an SVG picture; letters are outlines, so every browser shows the same."""
    with matplotlib.rc_context({"svg.hashsalt": "medical-unets"}), io.BytesIO() as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        return _uri("image/svg+xml", stream.getvalue())


def picture_uri(picture: np.ndarray, *, quality: int = WEBP_QUALITY) -> str:
    """Pixels, uint8 `(h, w, 3)`, as a WebP picture.

    Raises:
        ValueError: The picture cannot be encoded, for example with a side above 16383.
    """
    done, data = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise ValueError(f"A picture of shape {picture.shape} cannot be encoded as WebP: sides are at most 16383.")
    return _uri("image/webp", data.tobytes())


def sized(picture: np.ndarray, *, aspect: float = 1.0, longest: int = 320) -> np.ndarray:
    """A picture with square pixels whose longer side is `longest`.

    Args:
        picture: uint8, `(h, w, 3)`.
        aspect: Height of a pixel over its width, both in mm.
        longest: Pixels of the longer side; the shorter has at least one eighth of it.
    """
    rows, columns = picture.shape[0] * aspect, float(picture.shape[1])
    scale = longest / max(rows, columns)
    least = max(longest // 8, 1)
    height, width = max(round(rows * scale), least), max(round(columns * scale), least)
    shrinks = height < picture.shape[0] or width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
