"""ISBI 2012: 30 electron microscopy sections 512 x 512 of a fly's nerve cord, `train-volume.tif`, `train-labels.tif`.

Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers in
Neuroanatomy 2015, https://imagej.net/events/isbi-2012-segmentation-challenge. In the file cells are 255 and membranes
0. Here **membrane is class 1**, the thing that is looked for, and cells are background.

Sections are 50 nm apart and nearly alike: six in a row count as one patient, so that validation sees a block of them.
The challenge's test labels are not published, so there is no test part.
"""

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    PreparationError,
    SourceOptions,
    existing_folder,
)
from imaging import ImageError, Volume, read_grid, read_volume

LABELS = {0: "cell", 1: "membrane"}
BLOCK = 6
FORM = "folder with train-volume.tif and train-labels.tif"


def open_isbi2012(options: SourceOptions) -> Collection:
    """Every section is a case, called `section_01` and so on.

    Raises:
        PreparationError: A file is missing, or the two have different numbers of sections.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=FORM)
    images, labels = source / "train-volume.tif", source / "train-labels.tif"
    missing = [path.name for path in (images, labels) if not path.is_file()]
    if missing:
        raise PreparationError(f"{source}: no {' and no '.join(missing)}. Type DATA_PREPARATION.SOURCE=<{FORM}>.")
    sections, labelled = (read_grid(path).shape[0] for path in (images, labels))
    if sections != labelled:
        raise PreparationError(f"{labels} has {labelled} sections, {images.name} {sections}: download both again.")
    cases = [
        CaseSource(f"section_{number + 1:02d}", f"block_{number // BLOCK + 1}", (images,), labels)
        for number in range(sections)
    ]
    return Collection(
        name="isbi2012",
        labels=LABELS,
        channels=("grey",),
        licence="ISBI 2012 EM challenge: research use, terms of the challenge",
        cases=tuple(cases),
        intensity="unit",
        read_image=read_section,
        read_label=read_membranes,
    )


def read_section(case: CaseSource) -> Volume:
    """One section, `(1, h, w)`."""
    return _page(read_volume(case.images[0]), case)


def read_membranes(case: CaseSource) -> Volume | None:
    """Membranes as 1.

    Raises:
        ImageError: The labels are not 0 and 255.
    """
    if case.label is None:
        return None
    page = _page(read_volume(case.label), case)
    if not set(page.array.ravel().tolist()) <= {0, 255}:
        raise ImageError(f"{case.label}: holds other values than 0 and 255: download it again.")
    return page.with_array((page.array == 0).astype("uint8"))


def _page(volume: Volume, case: CaseSource) -> Volume:
    number = int(case.id.removeprefix("section_")) - 1
    return volume.with_array(volume.array[number : number + 1])
