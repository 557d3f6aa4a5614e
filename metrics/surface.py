"""Surface distances between two masks in mm: Hausdorff, its percentile, surface Dice, mean distance.

Surface cells, their sizes, and distances between cells are those of DeepMind's surface-distance, so `hd`, `hd95` and
`nsd` equal its values; the lookup tables are taken from that package. The search differs: a k-d tree over the surface
cells, and a distance transform only where the surfaces are far apart. The mean distance `assd` is computed on the
triangulated surface, see `metrics.mesh`, because that package's mean is off where slices are thick.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from metrics.mesh import NEAR_VOXELS, SAMPLE, Floats, Ints, cell_distances, code_sizes, corner_bits

_TREE_QUERY_IN_VOXELS = 5000
_SLACK = 1e-9


@dataclasses.dataclass(frozen=True)
class Surface:
    """The cells between voxel centres that a mask's surface passes through.

    Attributes:
        codes: Which corners of each cell are set, `(*s + 1,)`; cell `i` lies between voxels `i - 1` and `i`.
        cells: Cells with surface, `(n, r)`.
        spacing_mm: Of the axes.
    """

    codes: NDArray[np.uint8]
    cells: Ints
    spacing_mm: tuple[float, ...]

    @functools.cached_property
    def cell_codes(self) -> NDArray[np.uint8]:
        """Codes of `cells`, `(n,)`."""
        return self.codes[tuple(self.cells.T)]

    @functools.cached_property
    def sizes(self) -> Floats:
        """Surface in each of `cells` by the tables of surface-distance: mm^2 in 3D, mm in 2D; `(n,)`."""
        return _surfel_sizes(self.spacing_mm)[self.cell_codes]


@functools.lru_cache(maxsize=64)
def _surfel_sizes(spacing_mm: tuple[float, ...]) -> Floats:
    from surface_distance import lookup_tables

    if len(spacing_mm) == 2:
        return lookup_tables.create_table_neighbour_code_to_contour_length(spacing_mm)
    return lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)


def _full_code(rank: int) -> int:
    """Code of a cell whose corners are all set."""
    return sum(bit for _, bit in corner_bits(rank))


def extract_surface(mask: NDArray[np.bool_], spacing_mm: Sequence[float]) -> Surface:
    """The surface of a mask; outside the array counts as outside the mask.

    Args:
        mask: `(h, w)` or `(d, h, w)`.
        spacing_mm: Of the axes.

    Returns:
        Its cells; none if the mask is empty.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    codes = np.zeros([n + 1 for n in mask.shape], np.uint8)
    for corner, bit in corner_bits(mask.ndim):
        window = tuple(slice(i, i + n + 1) for i, n in zip(corner, mask.shape, strict=True))
        codes |= padded[window] * np.uint8(bit)
    cells = np.argwhere((codes != 0) & (codes != _full_code(mask.ndim)))
    return Surface(codes, cells, tuple(float(x) for x in spacing_mm))


def nearest_cells(source: Surface, target: Surface) -> Ints:
    """For each surface cell of `source` the nearest one of `target`, `(n, r)`; exact.

    Cells within ten voxels are found with a k-d tree. Of the others few are found there as well, many by one distance
    transform, whose cost does not explode where a point is equally far from a whole surface.
    """
    near = source.cells.copy()
    there = target.codes[tuple(source.cells.T)]
    apart = np.flatnonzero((there == 0) | (there == _full_code(source.cells.shape[1])))
    if not len(apart):
        return near
    spacing = np.asarray(source.spacing_mm)
    tree = spatial.cKDTree(target.cells * spacing, balanced_tree=False)
    _, index = tree.query(source.cells[apart] * spacing, distance_upper_bound=NEAR_VOXELS * spacing.max())
    within = index < len(target.cells)
    near[apart[within]] = target.cells[index[within]]
    far = apart[~within]
    if len(far) * _TREE_QUERY_IN_VOXELS <= target.codes.size:
        near[far] = target.cells[tree.query(source.cells[far] * spacing)[1]]
        return near
    elsewhere = np.ones(target.codes.shape, bool)
    elsewhere[tuple(target.cells.T)] = False
    feature = ndimage.distance_transform_edt(elsewhere, sampling=spacing, return_distances=False, return_indices=True)
    near[far] = np.asarray(feature)[(slice(None), *source.cells[far].T)].T
    return near


@dataclasses.dataclass(frozen=True)
class SurfaceDistances:
    """Distances from every surface cell of each of two masks to the other's surface; neither mask is empty.

    Attributes:
        reference: Surface of the reference.
        prediction: Surface of the prediction.
        nearest: Cells of the other surface, from the reference and from the prediction.
    """

    reference: Surface
    prediction: Surface
    nearest: tuple[Ints, Ints]

    @functools.cached_property
    def gaps(self) -> tuple[Floats, Floats]:
        """Distances in mm from the reference's cells and from the prediction's, `(n,)` each."""
        pairs = zip((self.reference, self.prediction), self.nearest, strict=True)
        return tuple(_lengths(surface.cells - near, surface.spacing_mm) for surface, near in pairs)  # pyright: ignore[reportReturnType]

    def hausdorff(self, percent: float = 100.0) -> float:
        """The larger of the two directed distances in mm below which `percent` of the surface lies."""
        surfaces = (self.reference, self.prediction)
        return max(_percentile(gap, s.sizes, percent) for gap, s in zip(self.gaps, surfaces, strict=True))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces, together, that lies within the tolerance of the other one."""
        sizes = (self.reference.sizes, self.prediction.sizes)
        limit = tolerance_mm * (1.0 + _SLACK)
        within = sum(float(size[gap <= limit].sum()) for gap, size in zip(self.gaps, sizes, strict=True))
        return within / float(sizes[0].sum() + sizes[1].sum())

    def mean_distances(self) -> tuple[float, float]:
        """Mean distance in mm from the reference's triangulated surface to the prediction's, and back."""
        return (
            _mean_distance(self.reference, self.prediction, self.nearest[0], self.gaps[0]),
            _mean_distance(self.prediction, self.reference, self.nearest[1], self.gaps[1]),
        )

    def average_distance(self) -> float:
        """Average symmetric surface distance in mm: the mean over both surfaces together, weighted by area."""
        areas = [float(code_sizes(s.spacing_mm)[s.cell_codes].sum()) for s in (self.reference, self.prediction)]
        return float(np.average(self.mean_distances(), weights=areas))


def surface_distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], *, spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks.

    Args:
        reference: `(h, w)` or `(d, h, w)`; crop it with its prediction first, the cost grows with the array.
        prediction: The same shape.
        spacing_mm: Of the axes.

    Returns:
        From which every surface metric is read.

    Raises:
        ValueError: Shapes or spacing do not fit, or a mask is empty (no distance is defined then).
    """
    if reference.shape != prediction.shape or len(spacing_mm) != reference.ndim or reference.ndim not in (2, 3):
        raise ValueError(
            f"Masks of {reference.shape} and {prediction.shape} with spacing {tuple(spacing_mm)} do not fit: "
            f"two equal shapes of 2 or 3 axes and one spacing for each axis are needed."
        )
    if min(spacing_mm) <= 0:
        raise ValueError(f"Spacing {tuple(spacing_mm)} must be positive, in mm.")
    if not (reference.any() and prediction.any()):
        raise ValueError("A mask without voxels has no surface: decide on empty masks before measuring distances.")
    a, b = extract_surface(reference, spacing_mm), extract_surface(prediction, spacing_mm)
    return SurfaceDistances(a, b, (nearest_cells(a, b), nearest_cells(b, a)))


def _lengths(steps: Ints, spacing_mm: tuple[float, ...]) -> Floats:
    return np.sqrt(((steps * np.asarray(spacing_mm)) ** 2).sum(1))


def _percentile(gaps: Floats, sizes: Floats, percent: float) -> float:
    order = np.argsort(gaps, kind="stable")
    share = np.cumsum(sizes[order]) / sizes.sum()
    return float(gaps[order][min(int(np.searchsorted(share, percent / 100.0)), len(gaps) - 1)])


def _mean_distance(source: Surface, target: Surface, near: Ints, gaps: Floats) -> float:
    """Area-weighted mean distance over the mesh of `source`, in mm.

    Where both surfaces cross a cell alike the distance is 0. Of the other cells, if they are many, the distance between
    cells is averaged over all and corrected by the mean difference to the mesh distance over `SAMPLE` of them; that
    difference is a fraction of a voxel, so its mean over the sample is right to some thousandths of a voxel.
    """
    areas = code_sizes(source.spacing_mm)[source.cell_codes]
    differing = np.flatnonzero(target.codes[tuple(source.cells.T)] != source.cell_codes)
    if not len(differing):
        return 0.0
    chosen = differing
    if len(differing) > SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(differing, SAMPLE, replace=False))
    exact = cell_distances(
        source.cells[chosen], source.cell_codes[chosen], near[chosen], target.codes, source.spacing_mm
    )
    correction = np.average(exact - gaps[chosen], weights=areas[chosen])
    total = (gaps * areas).sum() + correction * areas[differing].sum()
    return float(total / areas.sum())
