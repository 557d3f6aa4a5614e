"""Probabilities of an input, kept beside its label, and brought to the grid of its file."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from imaging import CaseGeometry, Volume, crop_slices, to_canonical
from imaging.volume import picture_affine
from inference.activation import Regions
from inference.reading import Loaded, segment
from inference.restore import source_slabs
from inference.segmenter import Segmenter


@dataclass(frozen=True)
class RecordingSegmenter(Segmenter):
    """A segmenter that keeps the probabilities of the last image."""

    last: list[np.ndarray] = dataclasses.field(default_factory=list[np.ndarray])

    @classmethod
    def of(cls, segmenter: Segmenter) -> "RecordingSegmenter":
        """The same segmenter, recording."""
        return cls(**{field.name: getattr(segmenter, field.name) for field in dataclasses.fields(segmenter)})

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """As `Segmenter.probabilities`."""
        self.last[:] = [super().probabilities(image)]
        return self.last[0]


@dataclass(frozen=True)
class Probabilities:
    """Probabilities as the network gave them, and the way to the file.

    Attributes:
        array: `(d, h, w, k)` on the prepared grid; a picture has one slice.
        geometry: How the prepared volume came from its file; None for a picture.
        size: Rows and columns of a picture's file.
        regions: Class values of each channel where channels are overlapping regions.
        memory_gb: Bound for what is resampled at a time.
    """

    array: np.ndarray
    geometry: CaseGeometry | None
    size: tuple[int, int] = (0, 0)
    regions: Regions | None = None
    memory_gb: float | None = None

    def slabs(self, channels: slice = slice(None)) -> Iterator[tuple[slice, np.ndarray]]:
        """Some slices at a time, at the size of the file, in canonical orientation, within the prepared crop.

        Args:
            channels: Those that are wanted.

        Yields:
            Which slices, and their probabilities `(n, h, w, k)`.
        """
        array = self.array[..., channels]
        if self.geometry is not None:
            yield from source_slabs(array, self.geometry, self.memory_gb)
            return
        plane = array[0]
        if plane.shape[:2] != self.size:
            plane = cv2.resize(plane, self.size[::-1], interpolation=cv2.INTER_LINEAR)
        yield slice(0, 1), plane.reshape(1, *self.size, -1)

    def cropped(self, label: Volume) -> np.ndarray:
        """A label that lies on the file's grid, as `slabs` has its voxels."""
        return label.array if self.geometry is None else to_canonical(label).array[crop_slices(self.geometry.crop)]

    def restored(self, cropped: np.ndarray) -> Volume:
        """The inverse of `cropped`; outside the crop 0."""
        if self.geometry is None:
            return Volume(cropped, picture_affine(), has_geometry=False)
        unsized = dataclasses.replace(self.geometry, prepared_shape=self.geometry.crop_shape)
        return unsized.restore_label(cropped)

    def channel_of(self, classes: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
        """Name to the channels whose sum is its probability.

        Args:
            classes: Name to class values of everything that is scored; those of regions that no channel has are left
                out.
        """
        outputs = self.array.shape[-1]
        if self.regions is not None:
            places = {tuple(values): channel for channel, values in enumerate(self.regions)}
            return {name: [places[tuple(v)]] for name, v in classes.items() if tuple(v) in places}
        if outputs == 1:
            return {name: [0] for name, values in classes.items() if tuple(values) == (1,)}
        return {name: list(values) for name, values in classes.items() if max(values) < outputs}


def segment_recorded(loaded: Loaded, segmenter: Segmenter, *, source: str) -> tuple[Volume, Probabilities]:
    """As `reading.segment`, with the probabilities that were decided on."""
    recording = RecordingSegmenter.of(segmenter)
    label = segment(loaded, recording, source=source)
    how = segmenter.application
    rows, columns = loaded.shown.shape[:2] if loaded.geometry is None else (0, 0)
    return label, Probabilities(recording.last[0], loaded.geometry, (rows, columns), segmenter.regions, how.memory_gb)
