"""Augmentation: a recipe is checked, parameters are drawn from it, and applied to image and label."""

from data_generators.augmentation.parameters import Parameters, draw
from data_generators.augmentation.pipeline import Augmentation, apply, build_augmentation
from data_generators.augmentation.recipe import AugmentationError, Recipe, check_recipe, names_sides

__all__ = [
    "Augmentation",
    "AugmentationError",
    "Parameters",
    "Recipe",
    "apply",
    "build_augmentation",
    "check_recipe",
    "draw",
    "names_sides",
]
