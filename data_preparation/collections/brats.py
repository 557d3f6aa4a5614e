"""Brain tumours in four MRI modalities: the BraTS challenges of 2013 to 2023, and task 1 of the Decathlon.

B. H. Menze et al., The Multimodal Brain Tumor Image Segmentation Benchmark, IEEE TMI 34, 2015,
https://doi.org/10.1109/TMI.2014.2377694; U. Baid et al., https://arxiv.org/abs/2107.02314 (2021 to 2022); task 1,
https://doi.org/10.1038/s41467-022-30695-9. Label values differ between the years and stay as published:

    Decathlon    1 edema, 2 non-enhancing tumor, 3 enhancing tumor
    2013 - 2015  1 necrosis, 2 edema, 3 non-enhancing tumor, 4 enhancing tumor
    2017 - 2022  1 non-enhancing tumor (with necrosis), 2 edema, 4 enhancing tumor
    2023         1 non-enhancing tumor (necrosis), 2 edema, 3 enhancing tumor

Regions are WT (all), TC (all but the edema) and ET (enhancing).
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    PreparationError,
    SourceOptions,
    existing_folder,
    named_patients,
    read_channels,
)
from data_preparation.collections.brats_files import MODALITIES, brats_cases, modality_of
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.msd import open_task
from data_preparation.collections.parts import with_drawn_test, with_published_parts
from imaging import Volume

FORM = "folder of BraTS cases, or Task01_BrainTumour"
LICENCE = "BraTS: terms of the year's challenge; research use, cite the challenge papers"
EDEMA, SOLID, DEAD, ENHANCING = "edema", "non-enhancing tumor", "necrosis", "enhancing tumor"
LABELS: Mapping[str, Mapping[int, str]] = {
    "decathlon": {0: "background", 1: EDEMA, 2: SOLID, 3: ENHANCING},
    "2013": {0: "background", 1: DEAD, 2: EDEMA, 3: SOLID, 4: ENHANCING},
    "2017": {0: "background", 1: SOLID, 2: EDEMA, 4: ENHANCING},
    "2023": {0: "background", 1: SOLID, 2: EDEMA, 3: ENHANCING},
}


def open_brats(options: SourceOptions) -> Collection:
    """Finds the cases; `channels` of the options picks modalities, by any of their names.

    The Decathlon's cases have the test part that UNETR++ reports, and its left-out cases validate; of other years'
    patients 15 % are drawn as test part.

    Raises:
        PreparationError: No folder, no case, an unknown modality, or one that no case has; says what to type.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    wanted = tuple(modality_of(name, key="DATA_PREPARATION.CHANNELS") for name in options.channels) or MODALITIES
    if len(set(wanted)) < len(wanted):
        raise PreparationError(f"DATA_PREPARATION.CHANNELS={list(options.channels)} names a modality twice.")
    if (source / "dataset.json").is_file():
        return _decathlon(options, wanted)
    found = brats_cases(source, wanted, form=FORM)
    labels = LABELS[found.year]
    return Collection(
        name="brats",
        labels=labels,
        channels=wanted,
        licence=LICENCE,
        cases=with_drawn_test(named_patients(found.cases, options.patient_pattern)),
        findings=found.findings,
        intensity="planned",
        read_label=LabelReader(labels, options.stray_labels),
        regions=regions_of(labels),
    )


def regions_of(labels: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """The challenge's three regions as label values, the outermost first."""
    tumor = tuple(value for value in labels if value)
    core = tuple(value for value in tumor if labels[value] != EDEMA)
    return {"WT": tumor, "TC": core, "ET": tuple(value for value in tumor if labels[value] == ENHANCING)}


def read_some(case: CaseSource, *, places: Sequence[int]) -> Volume:
    """Some channels of the image of a case, in this order."""
    volume = read_channels(case)
    if volume.array.ndim != 4 or volume.array.shape[-1] <= max(places):
        return volume  # its channels are counted, and the case refused, by who asked for it
    return dataclasses.replace(volume, array=volume.array[..., list(places)])


def _decathlon(options: SourceOptions, wanted: tuple[str, ...]) -> Collection:
    task = open_task(options)
    known = {modality_of(name, key="dataset.json"): place for place, name in enumerate(task.channels)}
    missing = [name for name in wanted if name not in known]
    if missing:
        raise PreparationError(
            f"{options.source}: dataset.json has no {', '.join(missing)}; it has {', '.join(known)}. Type "
            f"DATA_PREPARATION.CHANNELS=[{','.join(name for name in wanted if name in known)}]."
        )
    labels = LABELS["decathlon"]
    every = wanted == tuple(known)
    return dataclasses.replace(
        task,
        name="brats",
        labels=labels,
        channels=wanted,
        cases=with_published_parts(task.cases, "brats", name="unetr_plusplus"),
        read_image=read_channels if every else functools.partial(read_some, places=[known[name] for name in wanted]),
        read_label=LabelReader(labels, options.stray_labels),
        regions=regions_of(labels),
    )
