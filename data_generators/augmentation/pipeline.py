"""A recipe as something that changes samples."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_generators.augmentation.intensity import change_intensity
from data_generators.augmentation.parameters import Parameters, draw
from data_generators.augmentation.recipe import Recipe, check_recipe, names_sides
from data_generators.augmentation.spatial import flip, transform

LOGGER = logging.getLogger(__name__)


def apply(
    image: np.ndarray, label: np.ndarray | None, parameters: Parameters, *, outside_label: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Does to image and label what was drawn.

    Args:
        image: `(*s, c)` float32. Its centre becomes the result's; `parameters.read_shape` says how much of it counts.
            It may be overwritten.
        label: `(*s, 1)` uint8, or `None`.
        parameters: From `draw`.
        outside_label: Label of what lies outside the image, which itself is 0 there. 0 is background, as in nnU-Net;
            255 is ignored by every loss.

    Returns:
        Image `(*shape, c)` float32 and label `(*shape, 1)` uint8 of values the label had (or `outside_label`).
    """
    image, label = transform(image, label, parameters, outside_label=outside_label)
    image = flip(change_intensity(image, parameters), parameters.flips)
    return image, None if label is None else flip(label, parameters.flips)


class Augmentation:
    """A checked recipe as the loader's hook: `augmentation(image, label, rng) -> (image, label)`.

    Attributes:
        recipe: From `check_recipe`.
        shape: Spatial shape of the result; `None` is the sample's own.
        modalities: Channels that are images of their own; slices and colours of one image count as one.
        outside_label: Label outside the image.
    """

    def __init__(
        self, recipe: Recipe, *, shape: Sequence[int] | None = None, modalities: int = 1, outside_label: int = 0
    ) -> None:
        self.recipe = recipe
        self.shape = None if shape is None else tuple(shape)
        self.modalities = modalities
        self.outside_label = outside_label

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Parameters:
        """Parameters for one sample of spatial shape `shape`."""
        return draw(rng, self.recipe, self.shape or shape, modalities=self.modalities)

    def apply(
        self, image: np.ndarray, label: np.ndarray | None, parameters: Parameters
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """`apply` with this recipe's `outside_label`."""
        return apply(image, label, parameters, outside_label=self.outside_label)

    def __call__(
        self, image: np.ndarray, label: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Draws and applies."""
        return self.apply(image, label, self.draw(rng, image.shape[:-1]))


def build_augmentation(
    recipe: Mapping[str, Any] | None,
    *,
    shape: Sequence[int] | None = None,
    modalities: int = 1,
    class_names: Iterable[str] = (),
    outside_label: int = 0,
) -> Augmentation | None:
    """A recipe from the configuration as the loader's hook; `None` where it holds no transform.

    Args:
        recipe: The section `AUGMENTATION`.
        shape: Spatial shape of the result; `None` is the sample's own.
        modalities: Channels that are images of their own.
        class_names: Where one of them says left or right, samples are not mirrored along the width, unless
            `FLIP.LEFT_RIGHT` is true. Prepared volumes run from the patient's right to left along the width.
        outside_label: Label outside the image.

    Raises:
        AugmentationError: The recipe cannot be followed.
    """
    checked = dict(check_recipe(recipe))
    checked.pop("CROP", None)
    if not checked:
        return None
    return Augmentation(
        protect_sides(checked, class_names), shape=shape, modalities=modalities, outside_label=outside_label
    )


def protect_sides(recipe: Recipe, class_names: Iterable[str]) -> Recipe:
    """The recipe without mirroring left to right, where classes are of one side and nobody asked for it."""
    options = recipe.get("FLIP")
    if options is None or options["LEFT_RIGHT"] or "width" not in options["AXES"] or not names_sides(class_names):
        return recipe
    LOGGER.info(
        "Class names say left or right: no mirroring along the width (AUGMENTATION.FLIP.LEFT_RIGHT=True allows it)."
    )
    axes = tuple(axis for axis in options["AXES"] if axis != "width")
    return {**recipe, "FLIP": {**options, "AXES": axes}}
