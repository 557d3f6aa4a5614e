"""A network whose patches were resized to one size, applied to whole volumes: the published way of 3D U²-Net.

Departure: probabilities are brought back linearly and decided afterwards, instead of the nearest label.
"""

from dataclasses import dataclass, fields

import numpy as np

from imaging.resampling import resample_image
from inference.memory import probability_array
from inference.segmenter import Segmenter
from inference.sliding_window import symmetric_padding


@dataclass(frozen=True)
class UnifiedSegmenter(Segmenter):
    """Resizes a volume by the network's size over `patch`, segments it by windows of the network's size, and back.

    Attributes:
        patch: Size of the domain's patches before they were resized, `(d, h, w)`.
    """

    patch: tuple[int, int, int] = (1, 1, 1)

    def _added(self, image: np.ndarray, into: np.ndarray | None, share: float) -> np.ndarray:
        shape = image.shape[:-1]
        padding = symmetric_padding(shape, self.patch)
        padded = np.pad(np.asarray(image, np.float32), [*padding, (0, 0)])
        sizes = zip(padded.shape, self.patch, self.spatial_shape, strict=False)
        depth, height, width = (max(1, round(size * (wanted or old) / old)) for size, old, wanted in sizes)
        found = super()._added(resample_image(padded, (depth, height, width), order=3), None, share)
        back = resample_image(found, (padded.shape[0], padded.shape[1], padded.shape[2]), order=1)
        if into is None:
            into = probability_array((*shape, back.shape[-1]), memory_gb=self.application.memory_gb)
        into += back[tuple(slice(before, before + size) for (before, _), size in zip(padding, shape, strict=True))]
        return into


def unified(segmenter: Segmenter, patch: tuple[int, int, int]) -> UnifiedSegmenter:
    """The segmenter of a network whose patches had this size before they were resized."""
    kept = {item.name: getattr(segmenter, item.name) for item in fields(segmenter)}
    return UnifiedSegmenter(**kept, patch=patch)
