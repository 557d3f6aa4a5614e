"""Two stages: a network at low resolution, and one at full resolution that sees what the first one said.

Source: the cascade of nnU-Net v2 (Isensee et al., Nature Methods 2021). The first stage's probabilities are resampled
to the second one's grid and decided there, for training, validation and prediction alike; nnU-Net does so in training,
and resamples decided labels in prediction. Its classes travel as one channel after the image's, and become a channel
each at the door of the network.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from data_generators.previous import PreviousStage, one_hot
from data_generators.records import Case
from data_generators.sources import open_array
from imaging import CaseGeometry
from imaging.atomic import replacing
from imaging.volume import Grid
from inference.ledger import Ledger
from inference.postprocess import PostProcessing
from inference.reading import Loaded
from inference.segmenter import Segmenter
from inference.tasks import Task

LEDGER = "cases.json"


@dataclasses.dataclass(frozen=True)
class SecondStageNetwork:
    """A network whose input has a channel for each class of the first stage.

    Attributes:
        network: Answers `(b, *s, c + classes)`.
        classes: Foreground classes of the first stage.
    """

    network: Callable[[np.ndarray], np.ndarray]
    classes: int

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities for a batch `(b, *s, c + 1)` whose last channel are the classes."""
        found = one_hot(batch[..., -1], self.classes)
        return self.network(np.concatenate([batch[..., :-1], found], axis=-1, dtype=np.float32))


@dataclasses.dataclass(frozen=True)
class ImageNetwork:
    """A network without a first stage, among others that have one.

    Attributes:
        network: Answers `(b, *s, slices * c)`.
        slices: Neighbouring slices of an input.
    """

    network: Callable[[np.ndarray], np.ndarray]
    slices: int = 1

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities for a batch `(b, *s, slices * (c + 1))`, of each slice without its last channel."""
        apart = batch.reshape(*batch.shape[:-1], self.slices, -1)[..., :-1]
        return self.network(np.ascontiguousarray(apart.reshape(*batch.shape[:-1], -1)))


def for_joined(segmenter: Segmenter, *, classes: int, slices: int) -> Segmenter:
    """A segmenter for images whose last channel are the classes of a first stage.

    Args:
        segmenter: Of one network.
        classes: Foreground classes that its network has channels for; 0 where it has none, and sees the image alone.
        slices: Neighbouring slices of its input.
    """
    network = segmenter.network
    wrapped = SecondStageNetwork(network, classes) if classes else ImageNetwork(network, slices)
    return dataclasses.replace(segmenter, network=wrapped)


@dataclasses.dataclass(frozen=True)
class FirstStage:
    """What the first stage says of a new file.

    Attributes:
        segmenter: All its networks together.
    """

    segmenter: Segmenter

    def joined(self, loaded: Loaded) -> Loaded:
        """An input for the second stage: its image with the first stage's classes."""
        if loaded.coarse is None or loaded.geometry is None:
            raise ValueError("A cascade works on volumes: choose a run without one for pictures.")
        found = classes_on(loaded.geometry.prepared_grid(), loaded.coarse, self.segmenter)
        return dataclasses.replace(loaded, image=with_classes(loaded.image, found), coarse=None)


def classes_on(grid: Grid, coarse: np.ndarray, segmenter: Segmenter) -> np.ndarray:
    """What the first stage finds, decided on the grid of the second.

    Args:
        grid: Of the second stage's prepared image.
        coarse: The same crop of the case as the first stage sees it, `(d, h, w, c)`.
        segmenter: The first stage; its post-processing is left out.

    Returns:
        Classes, uint8 `(d, h, w)`.
    """
    d, h, w = coarse.shape[:3]
    plain = dataclasses.replace(segmenter.application, postprocessing=PostProcessing())
    unclean = dataclasses.replace(segmenter, application=plain)
    return unclean.label(coarse, CaseGeometry.of(grid, prepared_shape=(d, h, w))).array


def with_classes(image: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Image `(d, h, w, c)` and classes `(d, h, w)` as one array, float32 `(d, h, w, c + 1)`."""
    return np.concatenate([image, classes[..., None]], axis=-1, dtype=np.float32)


def joined_task(task: Task, case: Case, previous: PreviousStage) -> Task:
    """A prepared case whose image also says what the first stage found before."""

    def load() -> Loaded:
        loaded = task.load()
        return dataclasses.replace(loaded, image=with_classes(loaded.image, previous.volume(case)))

    return dataclasses.replace(task, load=load, sources=(*task.sources, previous.path(case)))


@dataclasses.dataclass(frozen=True)
class Pair:
    """A case at both resolutions: the arrays, and the place of its answer."""

    full: Case
    full_root: pathlib.Path
    low: Case
    low_root: pathlib.Path

    @property
    def sources(self) -> tuple[pathlib.Path, pathlib.Path]:
        """The arrays that its answer depends on."""
        return self.full_root / self.full.image, self.low_root / self.low.image


def unfinished(pairs: Sequence[Pair], folder: pathlib.Path, settings: Mapping[str, object]) -> list[Pair]:
    """The cases of which it is not known yet what the first stage says; see `predict_cases`."""
    ledger = Ledger(folder / LEDGER, settings)
    return [pair for pair in pairs if not ledger.finished(pair.full.id, *pair.sources)]


def predict_cases(
    pairs: Iterable[Pair],
    stage_of: Callable[[str], Segmenter],
    *,
    folder: pathlib.Path,
    settings: Mapping[str, object],
    on_case: Callable[[str], None] | None = None,
) -> None:
    """Writes what the first stage says of cases, one after the other, so that a killed call loses none.

    Args:
        pairs: The cases.
        stage_of: From a case to the networks that answer it: those that did not see it in training.
        folder: Where `<case>.npy` are kept, uint8 on the grid of the prepared case.
        settings: Whatever the answers depend on; with other ones all cases are unfinished.
        on_case: Called with the name of every case, for a progress bar.
    """
    ledger = Ledger(folder / LEDGER, settings)
    for pair in pairs:
        grid = Grid(pair.full.shape, pair.full.affine)
        found = classes_on(grid, open_array(pair.low_root / pair.low.image), stage_of(pair.full.id))
        path = folder / f"{pair.full.id}.npy"
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, found)
        ledger.add(pair.full.id, pair.sources, [path])
        if on_case is not None:
            on_case(pair.full.id)
