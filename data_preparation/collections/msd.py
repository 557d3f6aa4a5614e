"""Medical Segmentation Decathlon: a folder `TaskNN_Name` with `dataset.json`, any task.

M. Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13, 2022,
https://doi.org/10.1038/s41467-022-30695-9. Files of several channels have a fourth axis.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
    named_patients,
)
from data_preparation.collections.dataset_json import read_dataset_json
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.nnunet_raw import open_nnunet_raw
from imaging.paths import stem_of

FORM = "folder TaskNN_Name with dataset.json, imagesTr and labelsTr"


def open_msd(options: SourceOptions) -> Collection:
    """Finds the training cases that `dataset.json` lists, in its order.

    Raises:
        PreparationError: No folder, no usable `dataset.json`, or none of its files.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    said = read_dataset_json(source)
    found = [_case(source, entry) for entry in said.entry.get("training", [])]
    findings = [finding for _, finding in found if finding is not None]
    cases = [case for case, finding in found if finding is None]
    if not cases:
        raise PreparationError(f"{said.path} lists no training case whose files are there. Type {_typed()}.")
    cases = named_patients(cases, options.patient_pattern)
    return Collection(
        name="msd",
        labels=said.labels,
        channels=said.channels,
        licence=said.licence,
        cases=tuple(cases),
        findings=tuple(findings),
        intensity="planned",
        read_label=LabelReader(said.labels, options.stray_labels, said.ignored),
        regions=said.regions,
    )


def open_task(options: SourceOptions) -> Collection:
    """A task as published, or as nnU-Net stores it, with a file per channel; errors as `open_msd`."""
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    numbered = any((source / "imagesTr").glob("*_0000.*"))
    return open_nnunet_raw(options) if numbered else open_msd(options)


def _case(source: pathlib.Path, entry: str | Mapping[str, Any]) -> tuple[CaseSource, Finding | None]:
    """A listed case, and what is missing of it."""
    image_name = entry if isinstance(entry, str) else str(entry["image"])
    label_name = image_name.replace("imagesTr", "labelsTr") if isinstance(entry, str) else str(entry["label"])
    image, label = source / image_name, source / label_name
    name = stem_of(image)
    case = CaseSource(name, name, (image,), label)
    for kind, path in (("image", image), ("label", label)):
        if not path.exists():
            problem = f"{kind} missing, though dataset.json lists case {name}."
            return case, Finding(str(path), problem, "Copy it there, or take the case out of dataset.json.")
    return case, None


def _typed() -> str:
    return f"DATA_PREPARATION.SOURCE=<{FORM}>"
