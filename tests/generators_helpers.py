"""A small prepared collection and picture folders for the loader tests."""

import pathlib
from collections.abc import Mapping

import cv2
import numpy as np

from data_generators.manifest import save_manifest
from data_generators.records import Case, Manifest, SourceFile
from imaging.geometry import CaseGeometry, Grid

# Axes run superior, posterior, left, as prepared arrays do; 2 x 1 x 1 mm.
CANONICAL_AFFINE = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]], float)


def write_case(root: pathlib.Path, case_id: str, image: np.ndarray, label: np.ndarray | None) -> Case:
    """Writes one case in the prepared format and returns its manifest entry."""
    shape = image.shape[:3]
    for folder in ("images", "labels", "locations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    np.save(root / "images" / f"{case_id}.npy", image)
    voxels: dict[int, int] = {}
    if label is not None:
        np.save(root / "labels" / f"{case_id}.npy", label)
        values = [int(value) for value in np.unique(label)]
        voxels = {value: int(np.count_nonzero(label == value)) for value in values}
        index = {}
        for value in values:
            if value:
                found = np.argwhere(label == value).astype(np.int32)
                index |= {f"voxels_{value}": found, f"slices_{value}": np.unique(found[:, 0])}
        np.savez(root / "locations" / f"{case_id}.npz", **index)
    return Case(
        id=case_id,
        patient=case_id.partition("_")[0],
        image=f"images/{case_id}.npy",
        label=None if label is None else f"labels/{case_id}.npy",
        shape=shape,
        channels=image.shape[-1],
        spacing_mm=(2.0, 1.0, 1.0),
        affine=CANONICAL_AFFINE,
        geometry=CaseGeometry.of(Grid(shape, CANONICAL_AFFINE)),
        sources=(SourceFile(f"{case_id}.nii", "0"),),
        voxels=voxels,
    )


def write_collection(root: pathlib.Path, cases: Mapping[str, tuple[np.ndarray, np.ndarray | None]]) -> pathlib.Path:
    """A prepared collection with labels 0, 1 liver, 2 tumor."""
    entries = tuple(write_case(root, case_id, image, label) for case_id, (image, label) in cases.items())
    labels = {0: "background", 1: "liver", 2: "tumor"}
    save_manifest(root, Manifest("test", labels, ["CT"], {"kind": "unit"}, entries))
    return root


def numbered_volume(
    depth: int, height: int = 6, width: int = 8, *, first: float = 0.0, channels: int = 1
) -> np.ndarray:
    """Float16 volume whose slice `d` holds `first + d` everywhere, plus 0.5 per further channel."""
    slices = first + np.arange(depth, dtype=np.float16)
    volume = np.broadcast_to(slices[:, None, None, None], (depth, height, width, channels))
    return (volume + 0.5 * np.arange(channels)).astype(np.float16)


def write_picture(path: pathlib.Path, picture: np.ndarray) -> pathlib.Path:
    """Writes grey or RGB(A) values with OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    cv2.imwrite(str(path), picture if picture.ndim == 2 else picture[..., order[picture.shape[2]]])
    return path
