"""A synthetic abdomen: organs of random shape and texture in Hounsfield units, with the liver and its tumours labelled.

Coordinates are fractions of the field of view: x from the patient's right (-1) to left (1), y from anterior (-1) to
posterior (1), z from inferior (-1) to superior (1); arrays run along z, y, x.
"""

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

AIR_HU, FAT_HU, MUSCLE_HU, LUNG_HU, BONE_HU, WATER_HU = -1000.0, -100.0, 50.0, -850.0, 350.0, 5.0
LIVER, TUMOR = 1, 2
MAX_TUMORS = 4
_REACH = 2
_TAPS = range(2 * _REACH)


def smooth_field(rng: np.random.Generator, shape: Sequence[int], cells: Sequence[float]) -> np.ndarray:
    """A random field of mean 0 and variance 1 that varies over about one cell.

    Args:
        rng: Source of randomness.
        shape: Output shape.
        cells: Number of cells along each axis; not a whole number necessarily.

    Returns:
        float32 of that shape.
    """
    field = rng.standard_normal([int(np.ceil(cell)) + 2 * _REACH for cell in cells], dtype=np.float32)
    for axis in reversed(range(field.ndim)):
        place = (np.arange(shape[axis]) + 0.5) / shape[axis] * cells[axis] + _REACH - 0.5
        taps = np.floor(place).astype(int)[:, None] - _REACH + 1 + np.array(_TAPS)
        weights = np.exp(-2.0 * (place[:, None] - taps) ** 2)
        weights = (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
        along = [1] * field.ndim
        along[axis] = shape[axis]
        # Few taps, gathered: a matrix product would wake every BLAS thread for nothing.
        tapped = (field.take(taps[:, tap], axis, mode="clip") * weights[:, tap].reshape(along) for tap in _TAPS)
        field = functools.reduce(np.add, tapped)
    return field


@dataclasses.dataclass
class _Scene:
    """What has been painted so far, and the randomness to go on with."""

    rng: np.random.Generator
    hu: np.ndarray
    z: np.ndarray
    y: np.ndarray
    x: np.ndarray

    def ellipsoid(self, centre: Sequence[float], radii: Sequence[float], roughness: float = 0.0) -> np.ndarray:
        """Squared distance from the centre (x, y, z) in units of the radii; below 1 is inside. Rough ones are bent."""
        (cx, cy, cz), (rx, ry, rz) = centre, radii
        distance = ((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2 + ((self.z - cz) / rz) ** 2
        if roughness:
            distance = distance + roughness * smooth_field(self.rng, self.hu.shape, (4, 5, 5))
        return distance

    @functools.cached_property
    def texture(self) -> np.ndarray:
        """A field that varies over about four voxels; organs do not overlap, so they share it."""
        return smooth_field(self.rng, self.hu.shape, [max(2.0, size / 4) for size in self.hu.shape])

    def paint(self, where: np.ndarray, hu: float, texture: float = 0.0) -> None:
        """Sets the voxels; `texture` is the standard deviation of what is added to them."""
        self.hu[where] = hu + texture * self.texture[where] if texture else hu

    def jitter(self, values: Sequence[float], spread: float = 0.04) -> list[float]:
        """The values, each moved by up to `spread`."""
        return [value + self.rng.uniform(-spread, spread) for value in values]


def abdomen(rng: np.random.Generator, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one patient.

    Args:
        rng: Source of randomness.
        shape: (d, h, w).

    Returns:
        `(hu, label)`: int16 Hounsfield units with noise, and uint8 labels 0, 1 (liver), 2 (tumour), both `(d, h, w)`:
        slice 0 inferior, row 0 anterior, column 0 the patient's right.
    """
    axes = [((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32) for size in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    scene = _Scene(rng, np.full(tuple(shape), AIR_HU, np.float32), z, y, x)
    cavity = _trunk(scene)
    contrast = float(rng.uniform(0, 1))
    _neighbours(scene, cavity, contrast)
    label = _liver(scene, cavity, liver_hu=float(rng.uniform(55, 75) + 45 * contrast))
    _skeleton(scene)
    return _scanned(scene), label


def _trunk(scene: _Scene) -> np.ndarray:
    """Skin, fat, muscle, and a cavity of fat and bowel with the lungs above; returns the cavity without the lungs."""
    rng = scene.rng
    width, height = rng.uniform(0.78, 0.92), rng.uniform(0.56, 0.68)
    bend = 0.03 * smooth_field(rng, scene.hu.shape, (2, 3, 3))
    trunk = (scene.x / width) ** 2 + (scene.y / height) ** 2 + bend
    fat = rng.uniform(0.10, 0.22)
    scene.paint(trunk < 1.0, FAT_HU, 12.0)
    scene.paint(trunk < 1.0 - fat, MUSCLE_HU, 15.0)
    cavity = trunk < 0.85 - fat
    bowel = smooth_field(rng, scene.hu.shape, (6, 9, 9))
    scene.paint(cavity, FAT_HU, 10.0)
    scene.paint(cavity & (bowel > 0.3), 30.0, 15.0)
    scene.paint(cavity & (bowel > 1.8), AIR_HU + 100.0)
    dome = rng.uniform(0.55, 0.8) - 0.5 * (scene.x**2 + scene.y**2)
    lungs = cavity & (scene.z > dome)
    scene.paint(lungs, LUNG_HU, 40.0)
    return cavity & ~lungs


def _neighbours(scene: _Scene, cavity: np.ndarray, contrast: float) -> None:
    """Organs that look like liver or like tumour but are not: spleen, stomach, kidneys, gall bladder."""
    spleen = scene.ellipsoid(scene.jitter([0.52, 0.22, 0.25]), scene.jitter([0.17, 0.2, 0.35]), 0.1)
    scene.paint((spleen < 1) & cavity, scene.rng.uniform(50, 70) + 50 * contrast, 8.0)
    stomach = scene.ellipsoid(scene.jitter([0.38, -0.22, 0.2]), scene.jitter([0.2, 0.17, 0.4]), 0.15)
    scene.paint((stomach < 1) & cavity, scene.rng.uniform(10, 45), 8.0)
    scene.paint((stomach < 0.8) & cavity & (scene.y < -0.25), AIR_HU)
    for side in (-1, 1):
        kidney = scene.ellipsoid(scene.jitter([0.38 * side, 0.3, -0.45]), scene.jitter([0.11, 0.12, 0.35], 0.02), 0.08)
        scene.paint((kidney < 1) & cavity, 35 + 120 * contrast, 10.0)
        scene.paint((kidney < 0.25) & cavity, WATER_HU + 10)
    bladder = scene.ellipsoid(scene.jitter([-0.22, -0.18, -0.4]), scene.jitter([0.08, 0.1, 0.2], 0.02), 0.05)
    scene.paint((bladder < 1) & cavity, WATER_HU, 4.0)


def _liver(scene: _Scene, cavity: np.ndarray, liver_hu: float) -> np.ndarray:
    """Two lobes with vessels and up to four tumours; returns the label."""
    rng = scene.rng
    right = scene.ellipsoid(scene.jitter([-0.38, 0.02, 0.12]), scene.jitter([0.34, 0.4, 0.62], 0.06), 0.14)
    left = scene.ellipsoid(scene.jitter([0.0, -0.2, 0.25]), scene.jitter([0.34, 0.17, 0.33], 0.05), 0.14)
    depth = np.minimum(right, left)
    inside = (depth < 1) & cavity
    scene.paint(inside, liver_hu, 8.0)
    vessels = np.abs(smooth_field(rng, scene.hu.shape, (5, 7, 7))) + np.abs(
        smooth_field(rng, scene.hu.shape, (5, 7, 7))
    )
    scene.paint(inside & (vessels < 0.12) & (depth < 0.8), liver_hu + 25)
    label = inside.astype(np.uint8) * LIVER
    core = np.argwhere(inside & (depth < 0.75))
    for _ in range(int(rng.integers(0, MAX_TUMORS + 1)) if len(core) else 0):
        at = core[rng.integers(len(core))]
        centre = (float(scene.x[0, 0, at[2]]), float(scene.y[0, at[1], 0]), float(scene.z[at[0], 0, 0]))
        radius = rng.uniform(0.05, 0.16)
        lesion = scene.ellipsoid(centre, (radius, radius, 1.6 * radius), 0.12)
        lesion = ((lesion < 1) & inside) | _single(at, inside.shape)
        scene.paint(lesion, liver_hu - rng.uniform(28, 50), 5.0)
        label[lesion] = TUMOR
    return label


def _single(at: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    voxel = np.zeros(tuple(shape), bool)
    voxel[tuple(at)] = True
    return voxel


def _skeleton(scene: _Scene) -> None:
    """Vertebrae with their canal, the aorta before them, and ribs."""
    back = scene.rng.uniform(0.3, 0.38)
    spine = (scene.x / 0.11) ** 2 + ((scene.y - back) / 0.1) ** 2 + 0.0 * scene.z
    scene.paint(spine < 1, BONE_HU)
    discs = np.sin(scene.z * 14 + scene.rng.uniform(0, 6)) > 0.75
    scene.paint((spine < 0.75) & ~discs, BONE_HU / 2, 40.0)
    scene.paint((spine < 1) & discs, 80.0)
    canal = (scene.x / 0.05) ** 2 + ((scene.y - back - 0.14) / 0.045) ** 2 + 0.0 * scene.z
    scene.paint(canal < 1, 20.0)
    aorta = ((scene.x - 0.08) / 0.05) ** 2 + ((scene.y - back + 0.16) / 0.05) ** 2 + 0.0 * scene.z
    scene.paint(aorta < 1, scene.rng.uniform(40, 180))
    ring = np.abs(np.sqrt((scene.x / 0.7) ** 2 + (scene.y / 0.48) ** 2) - 1) < 0.035
    stripes = np.sin(6 * np.arctan2(scene.y, np.abs(scene.x)) + 9 * scene.z + scene.rng.uniform(0, 6)) > 0.7
    scene.paint(ring & stripes & (scene.z > -0.4), BONE_HU, 60.0)


def _scanned(scene: _Scene) -> np.ndarray:
    """What the scanner makes of it: slightly blurred in plane, noisy, whole numbers."""
    rng = scene.rng
    noise = float(rng.uniform(6, 14))
    blurred = np.stack([cv2.GaussianBlur(image, (3, 3), 0.6) for image in scene.hu])
    blurred += noise * rng.standard_normal(blurred.shape, dtype=np.float32)
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)
