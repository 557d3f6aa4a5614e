"""The marching-cubes surface of a mask, and the mean distance from one such surface to another.

Distances between the corners of surface cells are right for percentiles, but not for a mean: where two surfaces cross
the same cells they give 0, and with thick slices most of a surface lies in the same cells. Here the distance runs from
points on one triangulated surface to the nearest point of the other one.
"""

import functools
import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import spatial

SAMPLE = 2500
"""Surface cells whose mesh distance is computed; of larger surfaces a fixed random choice."""

NEAR_VOXELS = 10
"""Up to this distance a k-d tree finds the nearest of many points; beyond, it may have to look at all of them."""
_MOVES = 4
_ALL_PAIRS = 100_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def corner_bits(rank: int) -> list[tuple[tuple[int, ...], int]]:
    """The corners of a cell and their bits in its code, first corner highest (as surface-distance has it)."""
    corners = list(itertools.product((0, 1), repeat=rank))
    return [(corner, 1 << (len(corners) - 1 - i)) for i, corner in enumerate(corners)]


@functools.cache
def simplex_table(rank: int) -> tuple[Floats, Ints]:
    """Marching squares or cubes with vertices midway between voxel centres, for every code of a cell.

    On an ambiguous face the two set corners are cut off one by one, from both sides alike: surfaces are closed.

    Args:
        rank: 2 (line segments) or 3 (triangles).

    Returns:
        Vertices `(codes, most, rank, rank)` in cell units, padded with 0, and the number of simplices of each code.
    """
    found = [_segments(code) if rank == 2 else _triangles(code) for code in range(1 << (1 << rank))]
    most = max(len(simplices) for simplices in found)
    vertices = np.zeros((len(found), most, rank, rank))
    for code, simplices in enumerate(found):
        if simplices:
            vertices[code, : len(simplices)] = simplices
    return vertices, np.array([len(simplices) for simplices in found])


def _face_segments(corners: list[tuple[int, ...]], inside: list[bool]) -> list[tuple[tuple[float, ...], ...]]:
    """Segments that separate set from unset corners of a square, whose corners are given in cyclic order."""
    middle = [
        tuple((p + q) / 2 for p, q in zip(a, b, strict=True))
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    crossed = [i for i in range(4) if inside[i] != inside[(i + 1) % 4]]
    if len(crossed) == 2:
        return [(middle[crossed[0]], middle[crossed[1]])]
    if len(crossed) == 4:
        return [(middle[i - 1], middle[i]) for i in range(4) if inside[i]]
    return []


def _segments(code: int) -> list[tuple[tuple[float, ...], ...]]:
    bits = dict(corner_bits(2))
    cycle = [(0, 0), (0, 1), (1, 1), (1, 0)]
    return _face_segments(list(cycle), [bool(code & bits[corner]) for corner in cycle])


def _triangles(code: int) -> list[tuple[tuple[float, ...], ...]]:
    bits = dict(corner_bits(3))
    neighbours: dict[tuple[float, ...], list[tuple[float, ...]]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        face = [(*ab[:axis], side, *ab[axis:]) for ab in ((0, 0), (0, 1), (1, 1), (1, 0))]
        for a, b in _face_segments(list(face), [bool(code & bits[corner]) for corner in face]):
            neighbours.setdefault(a, []).append(b)
            neighbours.setdefault(b, []).append(a)
    triangles: list[tuple[tuple[float, ...], ...]] = []
    while neighbours:
        loop = _take_loop(neighbours)
        triangles += _largest_fan(loop)
    return triangles


def _largest_fan(loop: list[tuple[float, ...]]) -> list[tuple[tuple[float, ...], ...]]:
    """Triangles from one vertex of a polygon to its edges; of all vertices the one that gives most area.

    A polygon that is not plane has no one right triangulation. This rule does not depend on how the cell is turned, and
    gives the areas of the usual tables.
    """
    turned = [loop[i:] + loop[:i] for i in range(len(loop))]
    fans = [[(turn[0], turn[i], turn[i + 1]) for i in range(1, len(turn) - 1)] for turn in turned]
    return max(fans, key=lambda fan: round(float(simplex_sizes(np.array(fan)).sum()), 9))


def _take_loop(neighbours: dict[tuple[float, ...], list[tuple[float, ...]]]) -> list[tuple[float, ...]]:
    """Remove one closed polygon from a graph in which every vertex has two neighbours."""
    loop = [min(neighbours)]
    while True:
        onward = [vertex for vertex in neighbours.pop(loop[-1]) if vertex in neighbours]
        if not onward:
            return loop
        loop.append(onward[0])


def simplex_sizes(vertices: Floats) -> Floats:
    """Lengths of segments `(..., 2, 2)` or areas of triangles `(..., 3, 3)`."""
    edge = vertices[..., 1, :] - vertices[..., 0, :]
    if vertices.shape[-1] == 2:
        return np.linalg.norm(edge, axis=-1)
    return 0.5 * np.linalg.norm(np.cross(edge, vertices[..., 2, :] - vertices[..., 0, :]), axis=-1)


def code_sizes(spacing_mm: tuple[float, ...]) -> Floats:
    """Surface in the cell of every code: area in mm^2 (3D) or length in mm (2D)."""
    vertices, _ = simplex_table(len(spacing_mm))
    return simplex_sizes(vertices * np.asarray(spacing_mm)).sum(1)


def _point_segment(points: Floats, a: Floats, b: Floats) -> Floats:
    """Squared distance of points to segments, row by row, `(n,)`."""
    along = b - a
    length = np.einsum("ij,ij->i", along, along)
    t = np.clip(np.einsum("ij,ij->i", points - a, along) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    gap = points - a - t[:, None] * along
    return np.einsum("ij,ij->i", gap, gap)


def point_simplex(points: Floats, simplices: Floats) -> Floats:
    """Distance of points `(n, r)` to segments or triangles `(n, r, r)`, row by row: `(n,)`, in the unit of both."""
    corners = [simplices[:, i] for i in range(simplices.shape[1])]
    if len(corners) == 2:
        return np.sqrt(_point_segment(points, *corners))
    pairs = list(zip(corners, corners[1:] + corners[:1], strict=True))
    squared = np.minimum.reduce([_point_segment(points, a, b) for a, b in pairs])
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    above = np.ones(len(points), bool)
    for a, b in pairs:
        above &= np.einsum("ij,ij->i", np.cross(b - a, points - a), normal) >= 0
    square = np.einsum("ij,ij->i", normal, normal)
    height = np.einsum("ij,ij->i", points - corners[0], normal) ** 2 / np.where(square > 0, square, 1.0)
    return np.sqrt(np.where(above & (square > 0), np.minimum(height, squared), squared))


def cell_distances(
    cells: Ints, codes: NDArray[np.uint8], near: Ints, target: NDArray[np.uint8], spacing_mm: tuple[float, ...]
) -> Floats:
    """Mean distance from the surface in each cell to the other surface, in mm, taken at the centres of simplices.

    Args:
        cells: Cells with surface, `(n, r)`.
        codes: Their codes, `(n,)`.
        near: For each a near cell with surface of the other mask, `(n, r)`; the search starts there where the surface
            is more than ten voxels away, and otherwise at the cell whose surface has the nearest centre.
        target: Codes of the other mask's cells, `(*s,)`.
        spacing_mm: Of the axes.

    Returns:
        `(n,)`.
    """
    vertices, count = simplex_table(len(spacing_mm))
    vertices = vertices * np.asarray(spacing_mm)
    row, turn = _expand(count[codes])
    own = vertices[codes[row], turn]
    points = own.mean(1) + cells[row] * np.asarray(spacing_mm)
    sizes = simplex_sizes(own)
    other = np.argwhere(count[target] > 0)
    if len(points) * len(other) <= _ALL_PAIRS:
        gaps = _to_all(points, other, target[tuple(other.T)], spacing_mm)
    else:
        gaps = _searched(points, near[row], target, spacing_mm)
    return np.bincount(row, sizes * gaps) / np.bincount(row, sizes)


def _to_all(points: Floats, cells: Ints, codes: NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> Floats:
    """Distance in mm to the nearest of all simplices: of small surfaces every pair is computed."""
    vertices, count = simplex_table(len(spacing_mm))
    row, turn = _expand(count[codes])
    simplices = (vertices[codes[row], turn] + cells[row][:, None]) * np.asarray(spacing_mm)
    pairs = np.repeat(points, len(simplices), axis=0), np.tile(simplices, (len(points), 1, 1))
    return point_simplex(*pairs).reshape(len(points), -1).min(1)


def _searched(points: Floats, near: Ints, target: NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> Floats:
    """Distance in mm to the nearest simplex, searched from cell to cell as long as it falls."""
    gaps, seeds = np.full(len(points), np.inf), _seeds(points, near, target, spacing_mm)
    searching = np.arange(len(points))
    for _ in range(_MOVES):
        found, cell = _nearest_simplex(points[searching], seeds[searching], target, spacing_mm)
        better = found < gaps[searching] - 1e-9
        gaps[searching] = np.minimum(found, gaps[searching])
        moved = better & (cell != seeds[searching]).any(1)
        seeds[searching] = cell
        searching = searching[moved]
        if not len(searching):
            break
    return gaps


def _seeds(points: Floats, near: Ints, target: NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> Ints:
    """For each point the cell whose surface has the nearest centre, or the one given if that is far; `(n, r)`."""
    spacing = np.asarray(spacing_mm)
    vertices, count = simplex_table(len(spacing))
    centre = vertices.sum((1, 2)) / np.maximum(count, 1)[:, None] / vertices.shape[2]
    cells = np.argwhere(count[target] > 0)
    tree = spatial.cKDTree((cells + centre[target[tuple(cells.T)]]) * spacing, balanced_tree=False)
    _, index = tree.query(points, distance_upper_bound=NEAR_VOXELS * spacing.max())
    return np.where((index < len(cells))[:, None], cells[np.minimum(index, len(cells) - 1)], near)


def _expand(repeats: Ints) -> tuple[Ints, Ints]:
    """For rows with so many entries: the row of each entry, and its place in the row."""
    row = np.repeat(np.arange(len(repeats)), repeats)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)


def _nearest_simplex(
    points: Floats, seeds: Ints, target: NDArray[np.uint8], spacing_mm: tuple[float, ...]
) -> tuple[Floats, Ints]:
    """Distance in mm to the nearest simplex in the neighbourhood of a seed cell, and the cell it lies in."""
    spacing = np.asarray(spacing_mm)
    vertices, count = simplex_table(len(spacing))
    vertices = vertices * spacing
    middle = vertices.mean(2)
    radius = np.linalg.norm(vertices - middle[:, :, None], axis=-1).max(-1)
    reach = np.clip(np.ceil(spacing.max() / spacing), 1, 2).astype(int)
    offsets = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))))
    around = np.clip(seeds[:, None] + offsets, 0, np.array(target.shape) - 1)
    found = target[tuple(np.moveaxis(around, -1, 0))]
    row, column = np.nonzero(count[found])
    entry, turn = _expand(count[found[row, column]])
    row, column = row[entry], column[entry]
    code, cell = found[row, column], around[row, column]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    origin = cell * spacing
    apart = np.sqrt(((points[row] - middle[code, turn] - origin) ** 2).sum(1))
    # A simplex farther away than its own radius beyond the nearest middle cannot hold the nearest point.
    near = np.flatnonzero(apart - radius[code, turn] <= np.minimum.reduceat(apart, first)[row])
    gaps = np.full(len(row), np.inf)
    gaps[near] = point_simplex(points[row[near]], vertices[code[near], turn[near]] + origin[near, None])
    least = np.minimum.reduceat(gaps, first)
    best = np.full(len(points), len(row))
    hits = np.flatnonzero(gaps == least[row])
    np.minimum.at(best, row[hits], hits)
    return least, cell[best]
