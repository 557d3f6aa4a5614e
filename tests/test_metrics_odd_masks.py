"""Metrics on odd masks: at the border, of one voxel, thin, in pieces, in one slice; against plain definitions."""

import itertools
import math

import numpy as np
import pytest

from metrics.cases import case_metrics
from metrics.lesions import match_lesions
from metrics.mesh import simplex_table
from metrics.surface import extract_surface

surface_distance = pytest.importorskip("surface_distance")

SPACINGS = {3: [(1.0, 1.0, 1.0), (5.0, 0.7, 0.9)], 2: [(1.0, 1.0), (0.4, 2.5)]}


def one_voxel(shape, rng):
    mask = np.zeros(shape, bool)
    mask[tuple(rng.integers(0, n) for n in shape)] = True
    return mask


def corner(shape, rng):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(0, int(rng.integers(1, n + 1))) for n in shape)] = True
    return mask


def everything(shape, rng):
    return np.ones(shape, bool)


def plate(shape, rng):
    mask = np.zeros(shape, bool)
    axis = int(rng.integers(0, len(shape)))
    np.moveaxis(mask, axis, 0)[int(rng.integers(0, shape[axis]))] = True
    return mask


def dust(shape, rng):
    mask = rng.random(shape) < 0.15
    mask[tuple(0 for _ in shape)] = True
    return mask


def shell(shape, rng):
    mask = np.ones(shape, bool)
    mask[tuple(slice(1, -1) for _ in shape)] = False
    return mask


KINDS = (one_voxel, corner, everything, plate, dust, shell)
PAIRS = [pair for number, pair in enumerate(itertools.product(KINDS, KINDS)) if number % 2 == 0]


def pair_of(kinds, shape, seed):
    rng = np.random.default_rng(seed)
    return [kind(shape, rng) for kind in kinds]


def name_of(kinds):
    return "-".join(kind.__name__ for kind in kinds)


def surfels(mask, spacing):
    """Points and sizes of the surface, from the mesh of every cell of the padded mask, one cell after the other."""
    table, count = simplex_table(mask.ndim)
    surface = extract_surface(mask, spacing)
    parts = [
        (table[code, : count[code]] + cell) * spacing
        for code, cell in zip(surface.cell_codes, surface.cells, strict=True)
    ]
    return np.concatenate(parts)


def to_simplices(points, simplices):
    """Least distance of each point to many segments or triangles, by the projection onto each."""
    best = np.full(len(points), np.inf)
    for simplex in simplices:
        best = np.minimum(best, to_simplex(points, simplex))
    return best


def to_simplex(points, simplex):
    """Distance to a segment or triangle: the nearest of its plane's projection, if inside, and of its edges."""
    found = np.full(len(points), np.inf)
    corners = list(simplex)
    for a, b in itertools.combinations(corners, 2):
        along = b - a
        t = np.clip((points - a) @ along / max(along @ along, 1e-300), 0, 1)
        found = np.minimum(found, np.linalg.norm(points - a - t[:, None] * along, axis=1))
    if len(corners) == 3:
        basis = np.stack([corners[1] - corners[0], corners[2] - corners[0]], axis=1)
        if np.linalg.matrix_rank(basis) == 2:
            weights, *_ = np.linalg.lstsq(basis, (points - corners[0]).T, rcond=None)
            inside = (weights >= 0).all(axis=0) & (weights.sum(axis=0) <= 1)
            apart = np.linalg.norm(points - corners[0] - (basis @ weights).T, axis=1)
            found = np.where(inside, np.minimum(found, apart), found)
    return found


def mesh_distance(first, second, spacing):
    """Average symmetric surface distance from the centre of every simplex to all simplices of the other mask."""
    meshes = [surfels(mask, np.asarray(spacing)) for mask in (first, second)]
    total = area = 0.0
    for own, other in (meshes, meshes[::-1]):
        sizes = sizes_of(own)
        total += (sizes * to_simplices(own.mean(axis=1), other)).sum()
        area += sizes.sum()
    return total / area


def sizes_of(simplices):
    edge = simplices[:, 1] - simplices[:, 0]
    if simplices.shape[1] == 2:
        return np.linalg.norm(edge, axis=1)
    return np.linalg.norm(np.cross(edge, simplices[:, 2] - simplices[:, 0]), axis=1) / 2


@pytest.mark.parametrize("kinds", PAIRS, ids=name_of)
@pytest.mark.parametrize("rank", [2, 3])
def test_overlap_is_what_sets_say(kinds, rank):
    first, second = pair_of(kinds, (5, 6, 7)[-rank:], 3)
    scores = case_metrics(first, second, spacing_mm=SPACINGS[rank][1], labels={1: "x"})["x"]
    a, b = (set(map(tuple, np.argwhere(mask))) for mask in (first, second))
    assert scores["dice"] == pytest.approx(2 * len(a & b) / (len(a) + len(b)), abs=1e-12)
    assert scores["iou"] == pytest.approx(len(a & b) / len(a | b), abs=1e-12)
    assert scores["precision"] == pytest.approx(len(a & b) / len(b))
    assert scores["recall"] == pytest.approx(len(a & b) / len(a))
    outside = first.size - len(a)
    expected = (first.size - len(a | b)) / outside if outside else math.nan
    assert scores["specificity"] == pytest.approx(expected, nan_ok=True)
    edges = [{v for v in found if any(neighbour not in found for neighbour in faces(v))} for found in (a, b)]
    assert scores["boundary_iou"] == pytest.approx(len(edges[0] & edges[1]) / len(edges[0] | edges[1]))


def faces(voxel):
    for axis in range(len(voxel)):
        for step in (-1, 1):
            yield (*voxel[:axis], voxel[axis] + step, *voxel[axis + 1 :])


@pytest.mark.parametrize("kinds", PAIRS, ids=name_of)
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("place", [0, 1])
def test_surface_metrics_equal_surface_distance(kinds, rank, place):
    spacing = SPACINGS[rank][place]
    first, second = pair_of(kinds, (7, 9, 8)[-rank:], 5)
    scores = case_metrics(first, second, spacing_mm=spacing, labels={1: "x"}, tolerance_mm=(0.5, 1, 3))["x"]
    theirs = surface_distance.compute_surface_distances(first, second, spacing)
    for name, percent in (("hd95", 95), ("hd", 100)):
        assert scores[name] == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, percent), abs=1e-9)
    for tolerance in (0.5, 1, 3):
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert scores[f"nsd_{tolerance:g}mm"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kinds", PAIRS[::2], ids=name_of)
@pytest.mark.parametrize("rank", [2, 3])
def test_mean_distance_equals_a_mesh_by_brute_force(kinds, rank):
    spacing = SPACINGS[rank][1]
    first, second = pair_of(kinds, (4, 5, 6)[-rank:], 7)
    scores = case_metrics(first, second, spacing_mm=spacing, labels={1: "x"})["x"]
    assert scores["assd"] == pytest.approx(mesh_distance(first, second, spacing), abs=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_lesions_equal_a_flood_fill_and_every_assignment(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 3, 5, 6)) < 0.13
    found = match_lesions(first, second, spacing_mm=(5, 1, 1))
    ours, theirs = flood(first), flood(second)
    assert (len(found.lesions), found.predicted) == (len(ours), len(theirs))
    table = [[len(a & b) / len(a | b) for b in theirs] for a in ours]
    assert sum(lesion.iou for lesion in found.lesions) == pytest.approx(best_sum(table))


def test_a_lesion_in_one_slice_of_a_scan_has_flat_sides():
    first, second = np.zeros((2, 9, 20, 20), bool)
    first[4, 5:12, 5:12] = second[4, 5:12, 7:14] = True
    spacing = (5.0, 1.0, 1.0)
    scores = case_metrics(first, second, spacing_mm=spacing, labels={1: "x"}, tolerance_mm=(1,))["x"]
    theirs = surface_distance.compute_surface_distances(first, second, spacing)
    assert scores["nsd_1mm"] == pytest.approx(surface_distance.compute_surface_dice_at_tolerance(theirs, 1))
    assert scores["hd95"] == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 95))
    assert scores["boundary_iou"] == scores["iou"] == pytest.approx(35 / 63)


def test_a_picture_has_no_sides_but_its_contour():
    # A square of 7 has 24 contour pixels; shifted by two columns 10 of them are shared.
    first, second = np.zeros((2, 1, 20, 20), bool)
    first[0, 5:12, 5:12] = second[0, 5:12, 7:14] = True
    scores = case_metrics(first, second, spacing_mm=(1, 1, 1), labels={1: "x"})["x"]
    assert scores == case_metrics(first[0], second[0], spacing_mm=(1, 1), labels={1: "x"})["x"]
    assert scores["boundary_iou"] == pytest.approx(10 / (24 + 24 - 10))


def flood(mask):
    """Components by corners, voxel by voxel."""
    left, parts = set(map(tuple, np.argwhere(mask))), []
    while left:
        part, waiting = set(), [left.pop()]
        while waiting:
            voxel = waiting.pop()
            part.add(voxel)
            near = {v for v in left if max(abs(a - b) for a, b in zip(v, voxel, strict=True)) <= 1}
            left -= near
            waiting += near
        parts.append(part)
    return parts


def best_sum(table):
    """The largest sum with at most one entry of each row and column."""
    if not table:
        return 0.0
    without = best_sum(table[1:])
    taken = [
        value + best_sum([row[:place] + row[place + 1 :] for row in table[1:]])
        for place, value in enumerate(table[0])
        if value > 0
    ]
    return max([without, *taken])
