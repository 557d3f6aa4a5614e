"""Tiny folders in the published layouts of Synapse, ACDC, BraTS and the Decathlon."""

import json

import nibabel as nib
import numpy as np
import SimpleITK as sitk

SHAPE = (10, 12, 8)


def label(*values):
    """A label whose planes 2, 3, ... hold the values."""
    array = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        array[2 + index, 3:6, 3:6] = value
    return array


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mha":
        sitk.WriteImage(sitk.GetImageFromArray(array.transpose(2, 1, 0)), str(path))
    else:
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def image(rng, *more):
    return rng.normal(100, 20, (*SHAPE, *more)).astype(np.float32)


def task(folder, entries, *, modalities, labels):
    said = {
        "modality": dict(enumerate(modalities)),
        "labels": dict(enumerate(labels)),
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in entries],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(said))


ABDOMEN = {
    "official": ("RawData/Training/img/img{}.nii.gz", "RawData/Training/label/label{}.nii.gz"),
    "decathlon": ("imagesTr/img{}.nii.gz", "labelsTr/label{}.nii.gz"),
    "nnunet": ("imagesTr/img{}_0000.nii.gz", "labelsTr/img{}.nii.gz"),
}


def abdomen(folder, rng, layout="official", numbers=("0001", "0005", "0006", "0040")):
    for number in numbers:
        for form, array in zip(ABDOMEN[layout], (image(rng), label(1, 8, 13)), strict=True):
            write(folder / form.format(number), array)
    return folder


HEART = {
    "official": (
        "training/patient{0}/patient{0}_frame{1}.nii.gz",
        "training/patient{0}/patient{0}_frame{1}_gt.nii.gz",
    ),
    "nnunet": ("imagesTr/patient{0}_frame{1}_0000.nii.gz", "labelsTr/patient{0}_frame{1}.nii.gz"),
}


def heart(folder, rng, layout="official", patients=("001", "002", "003", "004")):
    for patient in patients:
        for frame in ("01", "12"):
            for form, array in zip(HEART[layout], (image(rng), label(1, 2, 3)), strict=True):
                write(folder / form.format(patient, frame), array)
    return folder


BRATS = {
    "2013": ("HG/{0}/VSD.Brain.XX.O.MR_{1}/VSD.Brain.XX.O.MR_{1}.684.mha", ("Flair", "T1", "T1c", "T2")),
    "2015": ("HGG/brats_tcia_pat101_{0}/VSD.Brain.MR_{1}.51/VSD.Brain.MR_{1}.51.mha", ("Flair", "T1", "T1c", "T2")),
    "2018": ("HGG/Brats18_{0}_1/Brats18_{0}_1_{1}.nii.gz", ("flair", "t1", "t1ce", "t2")),
    "2021": ("BraTS2021_{0}/BraTS2021_{0}_{1}.nii.gz", ("flair", "t1", "t1ce", "t2")),
    "2023": ("BraTS-GLI-{0}-000/BraTS-GLI-{0}-000-{1}.nii.gz", ("t2f", "t1n", "t1c", "t2w")),
}  # fmt: skip
VALUES = {"2013": (1, 2, 3, 4), "2015": (1, 2, 3, 4), "2018": (1, 2, 4), "2021": (1, 2, 4), "2023": (1, 2, 3)}
MSD_BRAIN = {"modalities": ("FLAIR", "T1w", "t1gd", "T2w"), "labels": ("background", "edema", "non-enh", "enh")}


def brats(folder, rng, year, numbers=("0001", "0002", "0003")):
    """Cases whose modalities have the means 1000, 2000, 3000, 4000."""
    form, names = BRATS[year]
    for number in numbers:
        for index, name in enumerate(names):
            write(folder / form.format(number, name), 1000 * (index + 1) + image(rng))
        told = form.replace("_{1}.51", "_3more.OT.52").replace("_{1}", "_3more.OT") if ".mha" in form else form
        write(folder / told.format(number, "seg"), label(*VALUES[year]))
    return folder


def brain_task(folder, rng, names=("BRATS_001.nii.gz", "BRATS_011.nii.gz", "BRATS_058.nii.gz")):
    for name in names:
        channels = [1000 * (index + 1) + image(rng) for index in range(4)]
        write(folder / "imagesTr" / name, np.stack(channels, axis=-1))
        write(folder / "labelsTr" / name, label(1, 2, 3))
    task(folder, names, **MSD_BRAIN)
    return folder


def lungs(folder, rng, names=("lung_053.nii.gz", "lung_022.nii.gz", "lung_058.nii.gz")):
    for name in names:
        write(folder / "imagesTr" / name, image(rng))
        write(folder / "labelsTr" / name, label(1))
    task(folder, names, modalities=("CT",), labels=("background", "cancer"))
    return folder
