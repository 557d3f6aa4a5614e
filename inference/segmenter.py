"""One trained network and the way it is applied: to volumes slice by slice or by windows, and to pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cv2
import numpy as np

from imaging import CaseGeometry, Volume
from inference.activation import Regions, labels_from_probabilities
from inference.postprocess import PostProcessing
from inference.restore import restore_labels
from inference.slices import predict_slices
from inference.sliding_window import Predict, mirrored, sliding_window
from inference.tiles import Importance, Windows

_STEP = 16


@dataclass(frozen=True)
class Application:
    """How a network is applied.

    Attributes:
        slices: Neighbouring slices that make up an input of a slice network, odd.
        window: Size of the windows; `"whole"`: everything at once; None: the network's input size. Other sizes than
            the network's own need one of free size.
        overlap: Least share that neighbouring windows have in common.
        stride: Fixed distance of windows per axis instead of `overlap`.
        importance: Weight of a window's voxels.
        batch_size: Slices or windows at once.
        mirror_axes: Spatial axes of the network's input to average over; empty: none.
        threshold: Of a sigmoid, or of the second of two classes.
        heads: Of a UNet++: `models.pruning.choose_heads`; None takes the last one.
        memory_gb: Bound of the probabilities that are held in memory.
        postprocessing: What is done to the label at the end.
    """

    slices: int = 1
    window: tuple[int, ...] | Literal["whole"] | None = None
    overlap: float = 0.5
    stride: tuple[int, ...] | None = None
    importance: Importance = "gaussian"
    batch_size: int = 8
    mirror_axes: tuple[int, ...] = ()
    threshold: float = 0.5
    heads: Any = None
    memory_gb: float | None = None
    postprocessing: PostProcessing = field(default_factory=PostProcessing)

    @classmethod
    def from_options(
        cls,
        options: Mapping[str, Any],
        *,
        rank: int,
        classes: Sequence[int],
        slices: int = 1,
        mirror: bool = False,
    ) -> "Application":
        """From the plain values of the configuration's INFERENCE section.

        Args:
            options: Its keys in upper case.
            rank: Spatial axes of the network's input.
            classes: Foreground values, for the post-processing.
            slices: Neighbouring slices of an input.
            mirror: Whether to average over mirrored inputs.

        Raises:
            ValueError: MIRROR_AXES names an axis that the input does not have; WINDOW or STRIDE has other axes.
        """
        chosen = options["MIRROR_AXES"]
        axes = safe_mirror_axes(rank) if chosen is None else tuple(int(axis) for axis in chosen)
        if any(not 0 <= axis < rank for axis in axes):
            raise ValueError(f"INFERENCE.MIRROR_AXES={list(axes)}: inputs have axes 0 to {rank - 1}, leave out others.")
        window = options.get("WINDOW")
        return cls(
            slices=slices,
            window="whole" if window == "whole" else _sizes("WINDOW", window, rank),
            overlap=float(options["OVERLAP"]),
            stride=_sizes("STRIDE", options.get("STRIDE"), rank),
            importance="gaussian" if options["GAUSSIAN"] else "uniform",
            batch_size=int(options["BATCH_SIZE"]),
            mirror_axes=axes if mirror else (),
            threshold=float(options["THRESHOLD"]),
            heads=options.get("HEADS"),
            memory_gb=float(options["MEMORY_GB"]),
            postprocessing=PostProcessing(
                largest_component=tuple(classes) if options["LARGEST_COMPONENT"] else (),
                fill_holes=tuple(classes) if options["FILL_HOLES"] else (),
                minimum_mm3=float(options["MIN_VOLUME_MM3"]),
            ),
        )


def _sizes(name: str, given: Any, rank: int) -> tuple[int, ...] | None:
    """One number for each axis; a single number holds for all."""
    if given is None:
        return None
    sizes: tuple[Any, ...] = tuple(given) if isinstance(given, list | tuple) else (given,) * rank
    if len(sizes) != rank or not all(isinstance(size, int) and size > 0 for size in sizes):
        more = ", whole" if name == "WINDOW" else ""
        raise ValueError(f"INFERENCE.{name}={given}: type a size, {rank} sizes such as {[64] * rank}{more}, or null.")
    return sizes


def safe_mirror_axes(rank: int) -> tuple[int, ...]:
    """The axes that may be mirrored without exchanging left and right: all but the last of a canonical array."""
    return tuple(range(rank - 1))


@dataclass(frozen=True)
class Segmenter:
    """A network applied to whole volumes and pictures.

    Attributes:
        network: Probabilities for a batch; `inference.network.Network`, or any function for a test.
        spatial_shape: The network's input size, None where it is free; its length says slices or volumes.
        application: How it is applied.
        regions: Label values of each output where outputs are overlapping regions.
        steps: What the sizes of an input must be multiples of where they are free; empty: 16.
        further: Others whose probabilities are averaged with these: folds, or other networks on the same prepared grid.
            How they are applied is their own; threshold and post-processing are this one's.
    """

    network: Callable[[np.ndarray], np.ndarray]
    spatial_shape: tuple[int | None, ...]
    application: Application = field(default_factory=Application)
    regions: Regions | None = None
    steps: tuple[int, ...] = ()
    further: tuple["Segmenter", ...] = ()

    def with_largest_of(self, sets: Sequence[Sequence[int]]) -> "Segmenter":
        """The same, which keeps only the largest component of each of these sets of classes, before all else."""
        wanted = tuple(tuple(int(value) for value in values) for values in sets)
        cleaning = replace(self.application.postprocessing, largest_of=wanted)
        return replace(self, application=replace(self.application, postprocessing=cleaning))

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Probabilities `(d, h, w, k)` float32 of a prepared volume `(d, h, w, c)`, the mean over all networks.

        They lie in a temporary file where they would need more than `Application.memory_gb`.
        """
        share = 1.0 / (1 + len(self.further))
        found = self._added(image, None, share)
        for other in self.further:
            # A network with other outputs cannot be added: NumPy says so.
            found = other._added(image, found, share)
        return found

    def _added(self, image: np.ndarray, into: np.ndarray | None, share: float) -> np.ndarray:
        how, predict = self.application, self._predict()
        common: dict[str, Any] = {"batch_size": how.batch_size, "memory_gb": how.memory_gb}
        common |= {"into": into, "share": share}
        if len(self.spatial_shape) == 2:
            plane = image.shape[1:3]
            height, width = patch = self._patch(plane)
            windows = None if height >= plane[0] and width >= plane[1] else self._windows(patch)
            return predict_slices(
                image, predict, slices=how.slices, spatial_shape=(height, width), windows=windows, **common
            )
        return sliding_window(image, predict, windows=self._windows(self._patch(image.shape[:-1])), **common)

    def label(self, image: np.ndarray, geometry: CaseGeometry, *, source: str = "") -> Volume:
        """The label of a prepared volume, on the grid and in the orientation of its source file."""
        how = self.application
        label = restore_labels(
            self.probabilities(image),
            geometry,
            threshold=how.threshold,
            regions=self.regions,
            source=source,
            memory_gb=how.memory_gb,
        )
        return label.with_array(how.postprocessing(label.array, spacing_mm=label.spacing_mm))

    def picture_label(self, image: np.ndarray, *, size: Sequence[int]) -> np.ndarray:
        """The label of one picture.

        Args:
            image: Network input `(h, w, c)`.
            size: Rows and columns of the file; the probabilities are brought to it, then decided.

        Returns:
            uint8, `size`.
        """
        how = self.application
        probabilities = self._of_pictures().probabilities(image[None])[0]
        if probabilities.shape[:2] != tuple(size):
            resized = cv2.resize(probabilities, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
            probabilities = resized.reshape(size[0], size[1], -1)
        label = labels_from_probabilities(probabilities, threshold=how.threshold, regions=self.regions)
        return how.postprocessing(label[None], spacing_mm=(1.0, 1.0, 1.0))[0]

    def _of_pictures(self) -> "Segmenter":
        further = tuple(other._of_pictures() for other in self.further)
        return replace(self, application=replace(self.application, slices=1), further=further)

    def _predict(self) -> Predict:
        return mirrored(self.network, self.application.mirror_axes)

    def _patch(self, shape: Sequence[int]) -> tuple[int, ...]:
        """What the network sees of an image of this size at once."""
        window = self.application.window
        if isinstance(window, tuple):
            return window
        steps = self.steps or (_STEP,) * len(shape)
        free = [-(-size // step) * step for size, step in zip(shape, steps, strict=True)]
        if window == "whole":
            return tuple(free)
        return tuple(size or rounded for size, rounded in zip(self.spatial_shape, free, strict=True))

    def _windows(self, patch: tuple[int, ...]) -> Windows:
        how = self.application
        return Windows(patch=patch, overlap=how.overlap, stride=how.stride, importance=how.importance)
