"""Surface distances: analytic shapes, DeepMind's surface-distance, a mesh tool, brute force."""

import numpy as np
import pytest
from scipy import ndimage

import metrics.mesh
from metrics.mesh import cell_distances, code_sizes, point_simplex, simplex_sizes, simplex_table
from metrics.surface import extract_surface, nearest_cells, surface_distances

# Warns about SciPy's old module names; the functions are used as they are.
surface_distance = pytest.importorskip("surface_distance")

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (3.0, 1.0, 1.0), (2.5, 0.7, 0.7)]


def ellipsoid(shape, spacing, centre, radii):
    grid = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    return sum(((x - c) / r) ** 2 for x, c, r in zip(grid, centre, radii, strict=True)) <= 1


def blobs(rng, shape, spacing, *, count=2):
    base = ndimage.gaussian_filter(rng.normal(size=shape), [3 / s for s in spacing])
    other = ndimage.gaussian_filter(rng.normal(size=shape), [3 / s for s in spacing])
    return base > base.std(), base + 0.4 * other * base.std() / other.std() > base.std()


def boxes(*, shift, axis, shape=(30, 32, 34), margin=8):
    first = np.zeros(shape, bool)
    first[tuple(slice(margin, n - margin) for n in shape)] = True
    return first, np.roll(first, shift, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_box_is_as_far_as_the_shift_along_its_axis(axis):
    # Spacing 5, 2, 0.5 mm: three voxels are 15, 6, 1.5 mm. Swapped axes would show.
    distances = surface_distances(*boxes(shift=3, axis=axis), spacing_mm=(5.0, 2.0, 0.5))
    expected = 3 * (5.0, 2.0, 0.5)[axis]
    assert distances.hausdorff() == pytest.approx(expected)
    assert distances.surface_dice(expected) == 1.0
    assert distances.surface_dice(expected - 0.01) < 1.0


@pytest.mark.parametrize("spacing", SPACINGS)
def test_concentric_spheres_are_as_far_as_their_radii_differ(spacing):
    shape = tuple(int(60 / s) for s in spacing)
    centre = [(n - 1) * s / 2 for n, s in zip(shape, spacing, strict=True)]
    small, large = (ellipsoid(shape, spacing, centre, (r, r, r)) for r in (18.0, 24.0))
    distances = surface_distances(small, large, spacing_mm=spacing)
    half = max(spacing) / 2
    assert distances.average_distance() == pytest.approx(6.0, abs=half)
    assert distances.hausdorff(95) == pytest.approx(6.0, abs=half)
    assert distances.surface_dice(6.0 - 2 * half - 0.5) < 0.05
    assert distances.surface_dice(6.0 + half + 0.5) > 0.95


def test_planes_at_thick_slices():
    # Two slabs: the lower faces agree, the upper ones are 2 slices of 5 mm apart. Away from the rim of the image, which
    # is surface as well, the mean is 0 below and 10 mm above.
    first = np.zeros((12, 60, 60), bool)
    second = first.copy()
    first[2:5], second[2:7] = True, True
    spacing = (5.0, 1.0, 1.0)
    a, b = extract_surface(first, spacing), extract_surface(second, spacing)
    inner = np.all((a.cells[:, 1:] > 20) & (a.cells[:, 1:] < 40), axis=1)
    gaps = cell_distances(a.cells[inner], a.cell_codes[inner], nearest_cells(a, b)[inner], b.codes, spacing)
    below = a.cells[inner, 0] == 2
    assert gaps[below] == pytest.approx(0.0)
    assert gaps[~below] == pytest.approx(10.0)


def test_equal_masks_are_at_distance_zero(rng):
    mask, _ = blobs(rng, (12, 30, 30), SPACINGS[1])
    distances = surface_distances(mask, mask, spacing_mm=SPACINGS[1])
    assert (distances.hausdorff(), distances.average_distance(), distances.surface_dice(0.0)) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("spacing", [*SPACINGS, (1.3, 0.9), (1.0, 1.0)])
def test_values_equal_surface_distance(rng, spacing):
    shape = (24, 40, 44)[-len(spacing) :]
    first, second = blobs(rng, shape, spacing)
    ours = surface_distances(first, second, spacing_mm=spacing)
    theirs = surface_distance.compute_surface_distances(first, second, spacing)
    for percent in (50, 95, 100):
        expected = surface_distance.compute_robust_hausdorff(theirs, percent)
        assert ours.hausdorff(percent) == pytest.approx(expected, abs=1e-9)
    for tolerance in (0.5, 1, 2, 3.7):
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert ours.surface_dice(tolerance) == pytest.approx(expected, abs=1e-9)


# Average symmetric surface distance of the ellipsoids below, by VTK 9.6: vtkDiscreteFlyingEdges3D and
# vtkImplicitPolyDataDistance from triangle centres, weighted by triangle area, both directions together.
VTK = {SPACINGS[0]: 1.3768, SPACINGS[1]: 1.3302, SPACINGS[2]: 1.3614, SPACINGS[3]: 1.3819}
SHAPES = dict(zip(SPACINGS, [(60, 70, 80), (16, 90, 100), (24, 70, 80), (30, 100, 110)], strict=True))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_average_distance_equals_a_mesh_tool(spacing):
    extent = np.array(SHAPES[spacing]) * spacing
    first = ellipsoid(SHAPES[spacing], spacing, extent / 2, extent * 0.3)
    second = ellipsoid(SHAPES[spacing], spacing, extent / 2 + [1, 2, -1], extent * [0.33, 0.28, 0.31])
    distances = surface_distances(first, second, spacing_mm=spacing)
    assert distances.average_distance() == pytest.approx(VTK[spacing], abs=0.01)


@pytest.mark.parametrize("spacing", [*SPACINGS[:2], (1.5, 0.8)])
def test_mean_distance_equals_brute_force(rng, spacing):
    first, second = blobs(rng, (10, 22, 24)[-len(spacing) :], spacing)
    distances = surface_distances(first, second, spacing_mm=spacing)
    table, count = simplex_table(len(spacing))

    def mesh(surface):
        parts = [table[c, : count[c]] + x for c, x in zip(surface.cell_codes, surface.cells, strict=True)]
        return np.concatenate(parts) * spacing

    own, other = mesh(distances.reference), mesh(distances.prediction)
    nearest = [point_simplex(np.repeat(p[None], len(other), 0), other).min() for p in own.mean(1)]
    assert distances.mean_distances()[0] == pytest.approx(np.average(nearest, weights=simplex_sizes(own)), abs=2e-3)


def test_a_sample_of_a_large_surface_gives_the_mean_of_all(rng, monkeypatch):
    first, second = blobs(rng, (30, 60, 60), (1.0, 1.0, 1.0))
    everything = surface_distances(first, second, spacing_mm=(1, 1, 1)).average_distance()
    monkeypatch.setattr("metrics.surface.SAMPLE", 2000)
    assert surface_distances(first, second, spacing_mm=(1, 1, 1)).average_distance() == pytest.approx(
        everything, abs=0.01
    )
    assert metrics.mesh.SAMPLE > 2000


def test_far_surfaces_are_found_by_either_search(rng):
    # One voxel at the far corner: with a single far cell the tree answers, with a whole far wall the transform does.
    spacing = (2.0, 1.0, 0.5)
    first, second = np.zeros((2, 30, 60, 60), bool)
    first[:, 2:4], second[1:3, 50:52, 3:5] = True, True
    a, b = extract_surface(first, spacing), extract_surface(second, spacing)
    for source, target in ((a, b), (b, a)):
        near = nearest_cells(source, target)
        gap = np.linalg.norm((source.cells - near) * spacing, axis=1)
        every = np.linalg.norm((source.cells[:, None] - target.cells[None]) * spacing, axis=-1).min(1)
        assert gap == pytest.approx(every)


def test_triangulated_surfaces_are_closed(rng):
    mask = rng.random((7, 8, 9)) > 0.6
    surface = extract_surface(mask, (1, 1, 1))
    table, count = simplex_table(3)
    triangles = np.concatenate(
        [table[c, : count[c]] + x for c, x in zip(surface.cell_codes, surface.cells, strict=True)]
    )
    edges: dict = {}
    for triangle in np.round(2 * triangles).astype(int).tolist():
        for a, b in ((0, 1), (1, 2), (2, 0)):
            key = tuple(sorted((tuple(triangle[a]), tuple(triangle[b]))))
            edges[key] = edges.get(key, 0) + 1
    assert all(uses % 2 == 0 for uses in edges.values())


def test_voxels_that_touch_at_an_edge_have_surfaces_of_their_own():
    def area(*voxels):
        mask = np.zeros((4, 4, 4), bool)
        mask[tuple(np.transpose(voxels))] = True
        return code_sizes((1.0, 1.0, 1.0))[extract_surface(mask, (1, 1, 1)).cell_codes].sum()

    assert area((1, 1, 1), (1, 2, 2)) == pytest.approx(2 * area((1, 1, 1)))


def test_sizes_agree_with_surface_distance_where_its_table_is_closed():
    # Its table leaves holes at 44 ambiguous codes; all others, and all codes of the plane, agree.
    spacing = (2.0, 1.0, 0.5)
    theirs = surface_distance.lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    assert np.isclose(code_sizes(spacing), theirs).sum() == 256 - 44
    flat = surface_distance.lookup_tables.create_table_neighbour_code_to_contour_length((2.0, 1.0))
    assert code_sizes((2.0, 1.0)) == pytest.approx(flat)


def test_point_to_triangle_against_dense_sampling(rng):
    triangles, points = rng.normal(size=(40, 3, 3)), 2 * rng.normal(size=(40, 3))
    u, v = np.meshgrid(np.linspace(0, 1, 120), np.linspace(0, 1, 120))
    inside = u + v <= 1
    weights = np.stack([1 - u[inside] - v[inside], u[inside], v[inside]])
    dense = np.einsum("wn,twc->tnc", weights, triangles)
    expected = np.linalg.norm(dense - points[:, None], axis=-1).min(1)
    assert point_simplex(points, triangles) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("shape", "other", "spacing", "message"),
    [
        ((4, 4), (4, 5), (1, 1), "do not fit"),
        ((4, 4), (4, 4), (1, 1, 1), "do not fit"),
        ((4,), (4,), (1,), "do not fit"),
        ((4, 4), (4, 4), (0, 1), "must be positive"),
        ((4, 4), (4, 4), (1, 1), "no surface"),
    ],
)
def test_mistakes_are_refused(shape, other, spacing, message):
    with pytest.raises(ValueError, match=message):
        surface_distances(np.zeros(shape, bool), np.zeros(other, bool), spacing_mm=spacing)
