"""nnU-Net's raw format, version 2: `imagesTr/CASE_0000.nii.gz`, one file per channel, `labelsTr/CASE.nii.gz`.

F. Isensee et al., https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md. Also the explicit
list `dataset` in `dataset.json`, regions, the ignored label, and `modality` of version 1.
"""

import os
import pathlib
import re
from collections import defaultdict
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
from data_preparation.collections.dataset_json import DatasetJson, read_dataset_json
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.spacing import ChannelReader
from imaging.paths import suffix_of

FORM = "folder DatasetNNN_Name with dataset.json, imagesTr and labelsTr"
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


def open_nnunet_raw(options: SourceOptions) -> Collection:
    """Finds the training cases, in the order of their names.

    Raises:
        PreparationError: No folder, no usable `dataset.json`, or no case.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    said = read_dataset_json(source)
    explicit = said.entry.get("dataset")
    cases, findings = _listed(source, said, explicit) if isinstance(explicit, dict) else _named(source, said)
    if not cases:
        problems = " ".join(str(finding) for finding in findings[:3])
        raise PreparationError(
            f"{source}: no complete training case. {problems} Type DATA_PREPARATION.SOURCE=<{FORM}>."
        )
    cases = named_patients(cases, options.patient_pattern)
    return Collection(
        name="nnunet_raw",
        labels=said.labels,
        channels=said.channels,
        licence=said.licence,
        cases=tuple(cases),
        findings=tuple(findings),
        intensity="planned",
        read_image=ChannelReader(options.spacing_mm),
        read_label=LabelReader(said.labels, options.stray_labels, said.ignored),
        regions=said.regions,
    )


def _named(source: pathlib.Path, said: DatasetJson) -> tuple[list[CaseSource], list[Finding]]:
    """Cases by the names of their files."""
    ending = str(said.entry.get("file_ending") or "")
    files: dict[str, dict[int, pathlib.Path]] = defaultdict(dict)
    for path in sorted((source / "imagesTr").glob("*")):
        name = path.name.removesuffix(ending or suffix_of(path))
        match = _CHANNEL.fullmatch(name)
        if path.name.startswith(".") or not path.name.endswith(ending) or match is None:
            continue
        files[match["case"]][int(match["channel"])] = path
    cases: list[CaseSource] = []
    findings: list[Finding] = []
    for name, channels in sorted(files.items()):
        images = tuple(path for _, path in sorted(channels.items()))
        label = source / "labelsTr" / f"{name}{ending or suffix_of(images[0])}"
        missing = [index for index in range(len(said.channels)) if index not in channels]
        # A single file may hold all channels, as colour pictures do: its own channels are counted when it is read.
        if missing and list(channels) != [0]:
            problem = f"case {name} lacks channel {', '.join(f'{index:04d}' for index in missing)}."
            remedy = f"Add {name}_{missing[0]:04d}{ending}, or take the case out."
            findings.append(Finding(str(images[0]), problem, remedy))
        elif not label.exists():
            findings.append(Finding(str(images[0]), f"label missing for case {name}.", f"Add labelsTr/{label.name}."))
        else:
            cases.append(CaseSource(name, name, images, label))
    return cases, findings + _lonely(source, set(files), ending)


def _lonely(source: pathlib.Path, known: set[str], ending: str) -> list[Finding]:
    """Labels without an image."""
    labels = [path for path in sorted((source / "labelsTr").glob(f"*{ending}")) if not path.name.startswith(".")]
    lonely = [path for path in labels if path.name.removesuffix(ending or suffix_of(path)) not in known]
    remedy = "Add the image to imagesTr, or take the label away."
    return [Finding(str(path), "image missing.", remedy) for path in lonely if path.suffix != ".json"]


def _listed(
    source: pathlib.Path, said: DatasetJson, explicit: dict[str, Any]
) -> tuple[list[CaseSource], list[Finding]]:
    """Cases of the explicit list: paths relative to the folder or absolute, environment variables expanded."""
    cases: list[CaseSource] = []
    findings: list[Finding] = []
    for name, entry in sorted(explicit.items()):
        images = tuple(source / os.path.expandvars(path) for path in entry["images"])
        label = source / os.path.expandvars(entry["label"])
        missing = [path for path in (*images, label) if not path.exists()]
        if missing:
            problem = f"does not exist, though dataset.json lists it for case {name}."
            findings.append(Finding(str(missing[0]), problem, "Correct dataset.json, or put the file there."))
        elif len(images) not in (1, len(said.channels)):
            problem = f"case {name} has {len(images)} files for {len(said.channels)} channels."
            findings.append(Finding(str(said.path), problem, "List one file per channel."))
        else:
            cases.append(CaseSource(name, name, images, label))
    return cases, findings
