"""Which program computed each number. The same masks get surface distances 20 % apart from different tools."""

import importlib.metadata
from collections.abc import Mapping

PROJECT = "medical-unets"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "source tree"


def provenance() -> dict[str, str]:
    """Metric (or family of metrics) to the tool, its version and the definition used.

    Returns:
        Sentences without a full stop, ready for a table's header or a JSON file.
    """
    own = f"{PROJECT} {_version(PROJECT)}"
    numpy, scipy = f"numpy {_version('numpy')}", f"scipy {_version('scipy')}"
    surface = f"surface-distance {_version('surface-distance')}"
    counted = f"{own}, {numpy}: exact voxel counts"
    cells = f"{own}, {scipy}, tables of {surface}: equal to surface-distance"
    tools: Mapping[str, str] = {
        "dice, iou, precision, recall, specificity, volumes": counted,
        "boundary_iou": f"{own}, {numpy}: boundary one voxel thick",
        "hd, hd95, nsd": cells,
        "assd": f"{own}, {scipy}: triangulated surfaces (marching cubes), area-weighted, symmetric",
        "lesions": f"{own}, {scipy}: connected components, one-to-one matches by IoU",
        "calibration": f"{own}, {numpy}: bins of equal width",
        "intervals, tests": f"{scipy}: bootstrap (BCa) over patients, Wilcoxon signed-rank",
    }
    return dict(tools)
