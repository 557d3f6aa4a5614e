"""Drawing what an augmentation does to one sample, apart from doing it."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from data_generators.augmentation.recipe import AXES, Options, Recipe

PerChannel = tuple[float, ...]
_SPLINE_REACH = 4.0


@dataclasses.dataclass(frozen=True)
class Field:
    """A random field: its strength, and the seed it is drawn from when it is applied."""

    strength: float
    seed: int
    spacing: int = 1


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Everything that is done to one sample; a few numbers, the same for image and label.

    Fields that are `None` are not done. Intensity fields have one entry per modality; channel `i` is of modality
    `i % modalities`, so that neighbouring slices used as channels are changed alike.

    Attributes:
        shape: Spatial shape of the result, `(h, w)` or `(d, h, w)`.
        matrix: `(rank, rank)`: offset from the result's centre -> offset from the source's centre, in voxels.
        elastic: Displacements added to the offsets.
        flips: Per spatial axis.
        noise: Standard deviation and seed.
        blur: Per modality the standard deviation along each axis, in voxels; empty: that modality is left alone.
        brightness: Factors.
        shift: What is added.
        contrast: Factors of the distance from the mean.
        clamp: Contrast stays within the image's lowest and highest value.
        saturation: Factor, of RGB.
        hue: Degrees, of RGB.
        zoom: Share of the resolution that is kept; 1 leaves the modality alone.
        gamma_inverted: Exponents for the negative image.
        gamma: Exponents.
        planar: Rotation, scaling and low resolution stay within slices.
        cubic: The image is interpolated by cubic splines.
    """

    shape: tuple[int, ...]
    matrix: np.ndarray | None = None
    elastic: Field | None = None
    flips: tuple[bool, ...] = ()
    noise: Field | None = None
    blur: tuple[tuple[float, ...], ...] | None = None
    brightness: PerChannel | None = None
    shift: PerChannel | None = None
    contrast: PerChannel | None = None
    clamp: bool = True
    saturation: float | None = None
    hue: float | None = None
    zoom: PerChannel | None = None
    gamma_inverted: PerChannel | None = None
    gamma: PerChannel | None = None
    planar: bool = False
    cubic: bool = False

    @property
    def read_shape(self) -> tuple[int, ...]:
        """Spatial shape of the source region that the result needs, centred where the result is.

        Just what rotation, scaling and displacement reach; each side differs from the result's by an even number, so
        that both have their centre in the same place.
        """
        half = (np.asarray(self.shape, np.float64) - 1.0) / 2.0
        reach = half if self.matrix is None else np.abs(self.matrix) @ half
        reach = reach + (4.0 * self.elastic.strength if self.elastic is not None else 0.0)
        moved = self.matrix is not None or self.elastic is not None
        reach = reach + (_SPLINE_REACH if self.cubic and moved else 0.0)
        grown = [
            size + 2 * math.ceil(far - near - 1e-6) for size, far, near in zip(self.shape, reach, half, strict=True)
        ]
        return tuple(max(size, 2 - size % 2) for size in grown)


def draw(rng: np.random.Generator, recipe: Recipe, shape: Sequence[int], *, modalities: int = 1) -> Parameters:
    """Draws the parameters of one sample.

    Args:
        rng: Where randomness comes from; nothing else is random.
        recipe: From `check_recipe`.
        shape: Spatial shape of the result, `(h, w)` or `(d, h, w)`.
        modalities: Channels that are images of their own: MRI sequences, not neighbouring slices or colours.

    Returns:
        What `apply` does.
    """
    planar = is_planar(recipe, shape)
    return Parameters(
        shape=tuple(shape),
        matrix=_matrix(rng, recipe, shape, planar=planar),
        elastic=_elastic(rng, recipe.get("ELASTIC")),
        flips=_flips(rng, recipe.get("FLIP"), len(shape)),
        noise=_noise(rng, recipe.get("NOISE")),
        blur=_blur(rng, recipe.get("BLUR"), modalities, len(shape)),
        brightness=_factors(rng, recipe.get("BRIGHTNESS"), "FACTOR", modalities),
        shift=_uniform(rng, recipe.get("BRIGHTNESS_SHIFT"), "SHIFT", modalities),
        contrast=_factors(rng, recipe.get("CONTRAST"), "FACTOR", modalities),
        clamp=bool(recipe.get("CONTRAST", {}).get("CLAMP", True)),
        saturation=_first(_factors(rng, recipe.get("SATURATION"), "FACTOR", 1)),
        hue=_first(_uniform(rng, recipe.get("HUE"), "DEGREES", 1)),
        zoom=_zoom(rng, recipe.get("LOW_RESOLUTION"), modalities),
        gamma_inverted=_factors(rng, recipe.get("GAMMA_INVERTED"), "GAMMA", modalities),
        gamma=_factors(rng, recipe.get("GAMMA"), "GAMMA", modalities),
        planar=planar,
        cubic="CUBIC" in recipe,
    )


def is_planar(recipe: Recipe, shape: Sequence[int]) -> bool:
    """Whether rotation, scaling and low resolution stay within slices ("dummy 2D")."""
    said = recipe.get("ROTATION", {}).get("DUMMY_2D", "auto")
    return len(shape) == 3 and (max(shape) > 3 * shape[0] if said == "auto" else bool(said))


def rotation_range(recipe: Recipe, shape: Sequence[int]) -> tuple[float, float]:
    """Degrees between which angles are drawn.

    nnU-Net's choice: 30 in 3D; 180 in 2D and within slices, but 15 in 2D where one side is longer than 1.5 times the
    other.
    """
    said = recipe["ROTATION"]["DEGREES"]
    if said != "auto":
        return said
    if len(shape) == 3:
        limit = 180.0 if is_planar(recipe, shape) else 30.0
    else:
        limit = 15.0 if max(shape) > 1.5 * min(shape) else 180.0
    return -limit, limit


def rotation_matrix(angles: Sequence[float]) -> np.ndarray:
    """Rotation by one angle (2D) or three (3D, about depth, height, width: `Rd @ Rh @ Rw`), in radians."""
    if len(angles) == 1:
        cosine, sine = math.cos(angles[0]), math.sin(angles[0])
        return np.array([[cosine, -sine], [sine, cosine]])
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        turned = [other for other in range(3) if other != axis]
        single = np.eye(3)
        single[np.ix_(turned, turned)] = rotation_matrix([angle])
        result = result @ single
    return result


def _matrix(rng: np.random.Generator, recipe: Recipe, shape: Sequence[int], *, planar: bool) -> np.ndarray | None:
    rank = len(shape)
    turning = 2 if planar else rank
    matrix = None
    if _happens(rng, recipe.get("ROTATION")):
        low, high = rotation_range(recipe, shape)
        matrix = rotation_matrix(np.radians(rng.uniform(low, high, size=1 if turning == 2 else 3)).tolist())
    scaling = recipe.get("SCALING")
    if scaling is not None and _happens(rng, scaling):
        factor = rng.uniform(*scaling["FACTOR"])
        factor = 1.0 / factor if scaling["OF"] == "objects" else factor
        matrix = (np.eye(turning) if matrix is None else matrix) * factor
    if matrix is None or not planar:
        return matrix
    whole = np.eye(3)
    whole[1:, 1:] = matrix
    return whole


def _elastic(rng: np.random.Generator, options: Options | None) -> Field | None:
    if options is None or not _happens(rng, options):
        return None
    return Field(rng.uniform(*options["VOXELS"]), int(rng.integers(2**63)), int(options["SPACING"]))


def _flips(rng: np.random.Generator, options: Options | None, rank: int) -> tuple[bool, ...]:
    if options is None:
        return (False,) * rank
    return tuple(
        axis in options["AXES"] and bool(rng.random() < options["PROBABILITY"]) for axis in AXES[len(AXES) - rank :]
    )


def _noise(rng: np.random.Generator, options: Options | None) -> Field | None:
    if options is None or not _happens(rng, options):
        return None
    return Field(rng.uniform(*options["SIGMA"]), int(rng.integers(2**63)))


def _blur(
    rng: np.random.Generator, options: Options | None, modalities: int, rank: int
) -> tuple[PerChannel, ...] | None:
    if options is None or not _happens(rng, options):
        return None
    chosen = rng.random(modalities) < options["PER_CHANNEL"]
    sigmas = rng.uniform(*options["SIGMA"], size=(modalities, rank))
    return tuple(tuple(sigma.tolist()) if take else () for take, sigma in zip(chosen, sigmas, strict=True))


def _zoom(rng: np.random.Generator, options: Options | None, modalities: int) -> PerChannel | None:
    if options is None or not _happens(rng, options):
        return None
    chosen = rng.random(modalities) < options["PER_CHANNEL"]
    zooms = rng.uniform(*options["ZOOM"], size=modalities)
    return tuple(np.where(chosen, zooms, 1.0).tolist())


def _factors(rng: np.random.Generator, options: Options | None, key: str, count: int) -> PerChannel | None:
    """Factors around 1: half of them below, half above, uniform on either side; uniform if 1 is not between."""
    if options is None or not _happens(rng, options):
        return None
    low, high = options[key]
    if not low < 1.0 < high:
        return tuple(rng.uniform(low, high, size=count).tolist())
    below = rng.random(count) < 0.5
    return tuple(np.where(below, rng.uniform(low, 1.0, size=count), rng.uniform(1.0, high, size=count)).tolist())


def _uniform(rng: np.random.Generator, options: Options | None, key: str, count: int) -> PerChannel | None:
    if options is None or not _happens(rng, options):
        return None
    return tuple(rng.uniform(*options[key], size=count).tolist())


def _first(values: PerChannel | None) -> float | None:
    return None if values is None else values[0]


def _happens(rng: np.random.Generator, options: Options | None) -> bool:
    return options is not None and bool(rng.random() < options["PROBABILITY"])
