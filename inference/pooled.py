"""Two classes over a whole set of pictures: pooled scores of the network, and of a second observer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from imaging import Volume
from inference.probabilities import Probabilities, segment_recorded
from inference.reading import Loaded
from inference.segmenter import Segmenter
from inference.tasks import Task
from metrics.pooling import PooledPixels, pooled_sentence


class PooledAnswer:
    """Answers tasks as `segment` does, and counts all pixels on the way.

    Args:
        segmenter: Of two classes, or of one sigmoid.
        second: The second observer's label of a case, classes, by the case's name; None where there is none.
    """

    def __init__(self, segmenter: Segmenter, second: Callable[[str], np.ndarray | None] | None = None) -> None:
        self.segmenter = segmenter
        self.second = second
        self.pixels: PooledPixels | None = None
        self.observers: PooledPixels | None = None
        self.compared = 0

    def __call__(self, task: Task, loaded: Loaded) -> Volume:
        """The label of a task; see `recorded`."""
        return self.recorded(task, loaded)[0]

    def recorded(self, task: Task, loaded: Loaded) -> tuple[Volume, Probabilities]:
        """The label of a task, and its probabilities.

        Raises:
            ValueError: The network has more than two classes.
        """
        label, kept = segment_recorded(loaded, self.segmenter, source=task.name)
        probabilities = kept.array
        if probabilities.shape[-1] > 2 or self.segmenter.regions is not None:
            raise ValueError("EVALUATION.POOLED is for one foreground class: type EVALUATION.POOLED=False.")
        reference = task.reference().array
        # Where the network saw another size, the decision on the file's grid stands for the probability.
        fits = probabilities.shape[:-1] == reference.shape
        self._add("pixels", PooledPixels.of(reference, probabilities[..., -1] if fits else label.array))
        other = None if self.second is None else self.second(task.name)
        if other is not None:
            self._add("observers", PooledPixels.of(np.where(other == 255, 255, reference), other > 0))
            self.compared += 1
        return label, kept

    def report(self) -> dict[str, Any]:
        """Scores of the network and of the second observer, the threshold that suits these cases, and all in words."""
        if self.pixels is None:
            return {}
        threshold = self.segmenter.application.threshold
        said: dict[str, Any] = {"pooled": self.pixels.scores(threshold)}
        best = self.pixels.best_threshold()
        said["best_threshold"] = {"threshold": best, "dice": self.pixels.scores(best)["dice"]}
        if self.observers is not None:
            said["second_observer"] = self.observers.scores()
        return {**said, "sentences": self._sentences(said)}

    def _sentences(self, said: dict[str, Any]) -> list[str]:
        best = said["best_threshold"]
        lines = [
            f"All pixels together, ignored ones left out: {pooled_sentence(said['pooled'])}.",
            f"Best threshold on these cases: {best['threshold']:.3f} (Dice {best['dice']:.4f}). Choose it on "
            "EVALUATION.SPLIT=validation, then type INFERENCE.THRESHOLD= for the test part.",
        ]
        if "second_observer" in said:
            scores = pooled_sentence(said["second_observer"])
            lines.append(f"Second observer against the first, {self.compared} images: {scores}.")
        return lines

    def _add(self, name: str, pixels: PooledPixels) -> None:
        before = getattr(self, name)
        setattr(self, name, pixels if before is None else before + pixels)
