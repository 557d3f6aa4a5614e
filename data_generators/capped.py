"""Patches of prepared pictures of which no class takes nearly everything."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_generators.patches import PatchSource, random_corner, read_label_region
from data_generators.records import IGNORE, Case
from data_generators.sources import open_array


class CappedPatchSource(PatchSource):
    """`PatchSource` whose random patches are drawn again while one class takes too much of them.

    With thin things such as vessels this is a kind of foreground sampling; mmsegmentation calls it `cat_max_ratio`.
    Patches around a foreground voxel are kept as they are. Departure: there the cut is judged after the picture was
    scaled, here before.

    Args:
        max_class_share: A patch of which one class takes this share or more is drawn again.
        attempts: How often; the last patch is kept as it is.
        arguments: Of `PatchSource`.
    """

    def __init__(self, *arguments: Any, max_class_share: float, attempts: int = 10, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.max_class_share = max_class_share
        self.attempts = attempts

    def _corner(self, case: Case, rng: np.random.Generator, *, foreground: bool) -> list[int]:
        corner = super()._corner(case, rng, foreground=foreground)
        if foreground or case.label is None:
            return corner
        labels = open_array(self.root / case.label)
        for _ in range(self.attempts):
            if self._is_mixed(labels, corner):
                break
            corner = random_corner(rng, self._box, case.shape)
        return corner

    def _is_mixed(self, labels: np.ndarray, corner: Sequence[int]) -> bool:
        cut = read_label_region(labels, corner, self._box, table=self.label_table, outside=IGNORE)
        counts = np.bincount(cut.ravel(), minlength=256)[:IGNORE]
        return bool(np.count_nonzero(counts) > 1 and counts.max() < self.max_class_share * counts.sum())
