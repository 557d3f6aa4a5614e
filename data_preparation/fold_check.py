"""Classes that a fold does not see: nothing is learnt of them, or nothing can be scored."""

from collections.abc import Mapping, Sequence

from data_generators.manifest import Splits
from data_preparation.collections.base import Finding

IGNORE = 255
_SHOWN = 5


def empty_classes(splits: Splits, labels: Mapping[int, str], voxels: Mapping[str, Mapping[int, int]]) -> list[Finding]:
    """Folds whose training or validation cases hold no voxel of a class.

    Args:
        splits: Of the collection.
        labels: Names by value.
        voxels: Number of voxels by value, for each case that could be read.
    """
    folds = [(f"fold {index}", fold) for index, fold in enumerate(splits.folds)]
    return [
        finding
        for value in sorted(labels)
        for where, fold in folds
        for finding in empty_in(fold, where, {value: labels[value]}, voxels)
    ]


def empty_in(
    parts: Mapping[str, Sequence[str]], where: str, labels: Mapping[int, str], voxels: Mapping[str, Mapping[int, int]]
) -> list[Finding]:
    """Parts of one split whose cases hold no voxel of a class.

    Args:
        parts: Case ids by part.
        where: What the split is called.
        labels: As in `empty_classes`.
        voxels: Likewise.
    """
    findings: list[Finding] = []
    for value, name in sorted(labels.items()):
        if value in (0, IGNORE):
            continue
        holding = [case_id for case_id, counts in voxels.items() if counts.get(value, 0)]
        said = f"it occurs in {_some(holding)}" if holding else "no case holds it"
        remedy = (
            "Leave it out of DATASET.LABELS, merge it with another class there, or give other folds by "
            f"DATASET.SPLIT=<file> ({said})."
        )
        for part, ids in parts.items():
            known = [case_id for case_id in ids if case_id in voxels]
            if known and not set(known) & set(holding):
                problem = f"no {part} case holds {name} ({value})"
                findings.append(Finding(where, f"{problem}, among {_some(known)}.", remedy))
    return findings


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
