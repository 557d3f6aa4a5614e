"""Abdominal CT of "Beyond the Cranial Vault": 30 cases `imgNNNN`, 13 organs. `synapse` and `btcv` split it differently.

B. Landman et al., MICCAI 2015 Multi-Atlas Labeling Beyond the Cranial Vault, https://doi.org/10.7303/syn3193805.
Read are the official folder (`RawData/Training/img/imgNNNN.nii.gz`, `label/labelNNNN.nii.gz`), the Decathlon's form
(`imagesTr/imgNNNN.nii.gz`, `labelsTr/labelNNNN.nii.gz`) and nnU-Net's (`imagesTr/imgNNNN_0000.nii.gz`,
`labelsTr/imgNNNN.nii.gz`): what tells them apart is the names of files and folders alone. TransUNet's slices (npz, h5)
are refused: their intensities are clipped, and they state neither voxel size nor which way is up.
"""

import logging
import pathlib
import re

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
)
from data_preparation.collections.label_values import LabelReader
from data_preparation.collections.parts import with_published_parts
from imaging.paths import NIFTI, stem_of, suffix_of

LABELS = {
    0: "background",
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "esophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal and splenic veins",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}
LICENCE = "Beyond the Cranial Vault: registration at synapse.org (syn3193805)"
FORM = "folder with img/imgNNNN.nii.gz and label/labelNNNN.nii.gz"
_IMAGE = re.compile(r"(img\d{4})(?:_0000)?")
_LABEL = re.compile(r"(?:img|label)(\d{4})")
_log = logging.getLogger(__name__)


def open_synapse(options: SourceOptions) -> Collection:
    """The 30 cases with TransUNet's 12 test cases.

    Raises:
        PreparationError: No folder, or no case in it; says what to type.
    """
    return _open(options, "synapse")


def open_btcv(options: SourceOptions) -> Collection:
    """The 30 cases with six test cases, those of MONAI's UNETR; errors as `open_synapse`."""
    return _open(options, "btcv")


def _open(options: SourceOptions, name: str) -> Collection:
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    images, labels = _files(source)
    findings: list[Finding] = []
    cases: list[CaseSource] = []
    for case_id, image in images.items():
        if case_id in labels:
            cases.append(CaseSource(case_id, case_id, (image,), labels[case_id]))
        else:
            findings.append(
                Finding(str(image), f"label missing for case {case_id}.", f"Add label{case_id[3:]}.nii.gz.")
            )
    lonely = [path for case_id, path in labels.items() if case_id not in images]
    findings += [Finding(str(path), "image missing.", "Add it, or take the label away.") for path in lonely]
    if not cases:
        problem = str(findings[0]) if findings else _refusal(source)
        raise PreparationError(f"{source}: no imgNNNN with its label. {problem} Type DATA_PREPARATION.SOURCE=<{FORM}>.")
    return Collection(
        name=name,
        labels=LABELS,
        channels=("CT",),
        licence=LICENCE,
        cases=with_published_parts(cases, name, name="unetr_plusplus"),
        findings=tuple(findings),
        intensity="planned",
        read_label=LabelReader(LABELS, options.stray_labels),
    )


def _files(source: pathlib.Path) -> tuple[dict[str, pathlib.Path], dict[str, pathlib.Path]]:
    """Images and labels by case id; images of the challenge's test set, which has no labels, are left out."""
    images: dict[str, pathlib.Path] = {}
    labels: dict[str, pathlib.Path] = {}
    unlabelled = 0
    for path in sorted(source.rglob("*.nii*")):
        folders = [part.lower() for part in path.relative_to(source.parent).parts[:-1]]
        stem = stem_of(path)
        image, label = _IMAGE.fullmatch(stem), _LABEL.fullmatch(stem)
        if path.name.startswith(".") or suffix_of(path) not in NIFTI:
            continue
        if label is not None and (stem.startswith("label") or folders[-1].startswith("label")):
            _keep(labels, f"img{label[1]}", path)
        elif image is not None and (folders[-1] == "imagests" or "testing" in folders):
            unlabelled += 1
        elif image is not None:
            _keep(images, image[1], path)
    if unlabelled:
        _log.info("%s: %d test images without published labels are left out.", source, unlabelled)
    return images, labels


def _keep(found: dict[str, pathlib.Path], case_id: str, path: pathlib.Path) -> None:
    if case_id in found:
        raise PreparationError(
            f"{path} and {found[case_id]} are both case {case_id}: type DATA_PREPARATION.SOURCE=<one of the folders>."
        )
    found[case_id] = path


def _refusal(source: pathlib.Path) -> str:
    if any(source.rglob("case*.npz")) or any(source.rglob("case*.h5")):
        return "TransUNet's files (npz, h5) state no voxel size and are clipped: take the published RawData."
    if any(source.rglob("*.zip")):
        return "There is an archive: unpack it."
    return ""
