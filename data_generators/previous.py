"""What an earlier network said of a case, as further channels of its samples: the second stage of a cascade.

Source: the cascade of nnU-Net v2 (Isensee et al., Nature Methods 2021), with its augmentation: in training the classes
of the first stage are dilated, eroded, opened or closed, and lose a small component, so that the second stage learns to
correct them. Departure: mirrored, rotated and scaled like labels, by nearest neighbour.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from data_generators.patches import read_label_region
from data_generators.records import Case, ManifestError
from data_generators.sources import identity_table, open_array
from data_generators.structures import apply_operator, without_component

OPERATORS = ("dilation", "erosion", "opening", "closing")
OPERATOR_SHARE, COMPONENT_SHARE, CLASS_SHARE = 0.4, 0.2, 0.5
RADII = (1, 8)
LARGEST_COMPONENT = 0.15  # of the patch


@dataclasses.dataclass(frozen=True)
class Change:
    """What is done to one class: an operator with a ball of some radius in voxels, or the removal of a component.

    `component`, in [0, 1), says which of the components: they are numbered, and this is a share of their number.
    """

    label: int
    operator: str | None = None
    radius: int = 0
    component: float | None = None


@dataclasses.dataclass(frozen=True)
class PreviousStage:
    """The classes that an earlier network found, one uint8 array `(d, h, w)` per case.

    Attributes:
        folder: Where `<case>.npy` lie, on the grid of the prepared cases.
        classes: Foreground classes; each is a channel.
        disturbed: Change them at random, for training.
    """

    folder: pathlib.Path
    classes: int
    disturbed: bool = False

    def volume(self, case: Case) -> np.ndarray:
        """All classes of a case, `(d, h, w)` uint8, mapped into memory.

        Raises:
            ManifestError: They are missing, or of another grid.
        """
        found = open_array(self.folder / f"{case.id}.npy") if self.path(case).is_file() else None
        if found is None or found.shape != case.shape:
            said = "is not there" if found is None else f"has the shape {found.shape}, the case {case.shape}"
            raise ManifestError(
                f"{self.path(case)}, what the first stage of the cascade said of {case.id}, {said}: start train.py "
                "without RESUME, it predicts what is missing."
            )
        return found

    def path(self, case: Case) -> pathlib.Path:
        """The file of a case."""
        return self.folder / f"{case.id}.npy"

    def region(self, case: Case, start: Sequence[int], shape: Sequence[int]) -> np.ndarray:
        """Classes of a box, `(*shape, 1)` uint8; 0 outside the volume."""
        return read_label_region(self.volume(case), start, shape, table=identity_table(), outside=0)

    def finish(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The sample as the network takes it, after all other augmentation.

        Args:
            image: `(*s, c)` float32.
            labels: `(*s, n)` uint8, the classes of the earlier network last.
            rng: For the changes.

        Returns:
            Image `(*s, c + classes)` and label `(*s, 1)`, or `None` where there is none.
        """
        found = one_hot(labels[..., -1], self.classes)
        if self.disturbed:
            found = disturb(found, draw_changes(rng, self.classes))
        joined = np.concatenate([image, found], axis=-1, dtype=np.float32)
        return joined, labels[..., :1] if labels.shape[-1] > 1 else None


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
    """`(*s)` of classes to `(*s, classes)` uint8; the background has no channel."""
    return (label[..., None] == np.arange(1, classes + 1)).astype(np.uint8)


def draw_changes(rng: np.random.Generator, classes: int) -> list[Change]:
    """What is done to the classes of one sample: operators first, then removals; each class with a chance of a half."""
    changes: list[Change] = []
    if rng.random() < OPERATOR_SHARE:
        for label in _some(rng, classes):
            operator = OPERATORS[rng.integers(len(OPERATORS))]
            changes.append(Change(label, operator, int(rng.integers(RADII[0], RADII[1] + 1))))
    if rng.random() < COMPONENT_SHARE:
        changes += [Change(label, component=float(rng.random())) for label in _some(rng, classes)]
    return changes


def disturb(found: np.ndarray, changes: Sequence[Change]) -> np.ndarray:
    """Does what was drawn.

    Args:
        found: `(*s, classes)` uint8 of 0 and 1; overwritten.
        changes: In order.

    Returns:
        The same array. Voxels that an operator gives to a class are taken from the others.
    """
    most = int(LARGEST_COMPONENT * found[..., 0].size)
    for change in changes:
        mask = found[..., change.label - 1].astype(bool)
        if not mask.any():
            continue
        if change.operator is None:
            kept = without_component(mask, share=change.component or 0.0, most=most)
        else:
            kept = apply_operator(mask, change.operator, radius=change.radius)
            found[kept & ~mask] = 0
        found[..., change.label - 1] = kept
    return found


def _some(rng: np.random.Generator, classes: int) -> list[int]:
    return [label for label in range(1, classes + 1) if rng.random() < CLASS_SHARE]
