"""Lung tumours in CT, task 6 of the Medical Segmentation Decathlon: `Task06_Lung`, or nnU-Net's raw form of it.

M. Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13, 2022,
https://doi.org/10.1038/s41467-022-30695-9. The 13 cases that UNETR++ reports are the test part.
"""

import dataclasses

from data_preparation.collections.base import Collection, PreparationError, SourceOptions
from data_preparation.collections.msd import open_task
from data_preparation.collections.parts import with_published_parts

VALUES = (0, 1)


def open_lung(options: SourceOptions) -> Collection:
    """Finds the cases; their ids are those of the files, `lung_NNN`.

    Raises:
        PreparationError: As `open_msd`, or another task's labels.
    """
    task = open_task(options)
    if tuple(sorted(task.labels)) != VALUES or len(task.channels) != 1:
        held = ", ".join(f"{value} = {name}" for value, name in sorted(task.labels.items()))
        raise PreparationError(
            f"{options.source} holds {held}, the lung task has 1 = cancer alone: type DATA_PREPARATION.SOURCE="
            "<Task06_Lung>, or dataset=msd for another task."
        )
    cases = with_published_parts(task.cases, "lung", name="unetr_plusplus")
    return dataclasses.replace(task, name="lung", channels=("CT",), cases=cases)
