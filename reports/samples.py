"""A sample in training as one picture: image, reference, prediction, errors beside each other."""

import numpy as np

from reports.encoding import sized
from reports.montage import plane_pictures
from reports.overlays import display_window, largest_slice


def sample_picture(
    image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, *, longest: int = 256
) -> np.ndarray:
    """Image, reference, prediction and errors side by side.

    Args:
        image: `(h, w, c)`, or a patch `(d, h, w, c)` of which the slice with the largest share of the classes is shown;
            its middle channel is.
        reference: Classes, `(*s,)`; 255 is ignored.
        prediction: Classes, `(*s,)`.
        longest: Pixels of the longer side of each.

    Returns:
        uint8, `(h, 4 * w, 3)`.
    """
    grey = image[..., image.shape[-1] // 2]
    if grey.ndim == 2:
        grey, reference, prediction = grey[None], reference[None], prediction[None]
    known = np.where(reference == 255, 0, reference)
    index = largest_slice(known if known.any() else prediction)
    rows = plane_pictures(
        "axial", index, (grey, known, np.where(reference == 255, 0, prediction)), display_window(grey)
    )
    return np.concatenate([sized(row, longest=longest) for row in rows], axis=1)
