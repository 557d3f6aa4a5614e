"""What the four collections of retinal vessels share: photographs, one or two observers, a field of view.

A collection is a `Layout`: which names are photographs, which are the observers' and the field of view's, who is the
patient, and which part of the official split a photograph belongs to. Outside the field of view a label is 255, which
no loss and no metric sees. Masks are read as 0 and 1 whatever they are stored as: 1 bit, 0/255, palette GIF.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data_preparation.collections.base import (
    CaseSource,
    Collection,
    Finding,
    PreparationError,
    SourceOptions,
    existing_folder,
)
from data_preparation.collections.members import Member, members_below, members_beside, read_member
from imaging import ImageError, Volume

IGNORE = 255
LABELS: Mapping[int, str] = {0: "background", 1: "vessel", IGNORE: "ignore"}
SMALLEST = 16
_LOSSY = (".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Names in a collection; every pattern is searched in a whole path and has a group `id`.

    Attributes:
        name: Of the collection.
        licence: Terms in words.
        form: What the user should give, for messages.
        image: Photographs.
        observers: Masks of the first observer, and of the second where there is one.
        field: Masks of the field of view, or None.
        patient: From a photograph's id to the patient.
        parts: From all ids, in natural order, to the part of the official split of each.
    """

    name: str
    licence: str
    form: str
    image: str
    observers: tuple[str, ...]
    field: str | None
    patient: Callable[[str], str]
    parts: Callable[[Sequence[str]], Mapping[str, str]]


def open_retina(options: SourceOptions, layout: Layout) -> Collection:
    """Finds photographs with their first observer's masks below `source`; archives stay packed.

    Raises:
        PreparationError: Nothing was given, or no photograph was found.
    """
    source = existing_folder(options.source, key="DATA_PREPARATION.SOURCE", holds=layout.form)
    members = members_below(source)
    images, doubled = _by_id(members, layout.image)
    masks, again = _by_id(members, layout.observers[0])
    if not images:
        raise PreparationError(
            f"{source}: no photograph of {layout.name} in it. Type DATA_PREPARATION.SOURCE=<{layout.form}>."
        )
    findings = doubled + again
    for name, member in images.items():
        if name not in masks:
            findings.append(Finding(member.path, "label missing.", "Put the first observer's mask beside it."))
    for name, member in masks.items():
        if name not in images:
            findings.append(Finding(member.path, "image missing.", "Put the photograph beside it, or move it away."))
    paired = [name for name in images if name in masks]
    parts = layout.parts(paired)
    cases = tuple(
        CaseSource(name, layout.patient(name), (images[name].file,), masks[name].file, parts[name]) for name in paired
    )
    return Collection(
        name=layout.name,
        labels=LABELS,
        channels=("red", "green", "blue"),
        licence=layout.licence,
        cases=cases,
        findings=tuple(findings),
        intensity="unit",
        read_image=functools.partial(read_photograph, layout=layout),
        read_label=functools.partial(read_observer, layout=layout),
    )


def read_photograph(case: CaseSource, *, layout: Layout) -> Volume:
    """The photograph of a case, RGB."""
    volume = read_member(_find(case.images[0], layout.image, case.id))
    if volume.channels != 3:
        raise ImageError(f"{volume.source}: has {volume.channels} channels: a fundus photograph has 3. Save it as RGB.")
    if min(volume.shape[1:]) < SMALLEST:
        raise ImageError(f"{volume.source}: is {volume.shape[1]} x {volume.shape[2]} pixels, too small: leave it out.")
    return volume


def read_observer(case: CaseSource, *, layout: Layout, observer: int = 1) -> Volume | None:
    """An observer's vessels: 1, with 255 outside the field of view where the collection has one.

    Args:
        case: The case; its `label` is the file or archive of the first observer.
        layout: Of its collection.
        observer: 1 or 2.

    Returns:
        None where there is no such observer, or not for this case.
    """
    if case.label is None or observer > len(layout.observers):
        return None
    try:
        member = _find(case.label, layout.observers[observer - 1], case.id)
    except FileNotFoundError:
        return None
    mask = binary(member)
    if layout.field is None:
        return mask
    field = binary(_find(case.label, layout.field, case.id))
    if field.shape != mask.shape:
        raise ImageError(
            f"{field.source}: is {field.shape[1:]}, the mask {mask.shape[1:]}: they are of one photograph."
        )
    return mask.with_array(np.where(field.array > 0, mask.array, IGNORE).astype(np.uint8))


def binary(member: Member) -> Volume:
    """A mask as 0 and 1.

    Raises:
        ImageError: It is a JPEG, or holds values of more than two kinds.
    """
    if member.name.lower().endswith(_LOSSY):
        raise ImageError(f"{member.path}: is a JPEG, whose values are not exact: use the masks as published.")
    volume = read_member(member, indices=True)
    grey = volume.array if volume.array.ndim == 3 else volume.array[..., : min(volume.channels, 3)].max(axis=-1)
    values = np.unique(grey)
    # Some published masks are 0/255 with a few values near them; 0/1 and palette indices are what they are.
    threshold = 127 if values[-1] > 1 else 0
    if len(values) > 2 and np.mean((grey > 10) & (grey < 245)) > 0.01:
        raise ImageError(
            f"{member.path}: holds {len(values)} grey values, a mask holds two: save it as black and white."
        )
    return volume.with_array((grey > threshold).astype(np.uint8))


def _by_id(members: Sequence[Member], pattern: str) -> tuple[dict[str, Member], list[Finding]]:
    expression, found, findings = re.compile(pattern, re.IGNORECASE), dict[str, Member](), list[Finding]()
    for member in members:
        match = expression.search(member.path)
        if match and match["id"] in found:
            said = f"the same again: {found[match['id']].path}."
            findings.append(Finding(member.path, said, "Keep one of them."))
        elif match:
            found[match["id"]] = member
    return found, findings


def _find(place: pathlib.Path, pattern: str, name: str) -> Member:
    """The member of a case: in the file itself, beside it, in a sibling folder or a sibling archive.

    Raises:
        FileNotFoundError: There is none.
    """
    for search in (members_below, members_beside):
        found = _ids(search, place, pattern).get(name)
        if found is not None:
            return found
    raise FileNotFoundError(f"{place}: no file of {name} in it or beside it that fits {pattern}: put it there.")


@functools.lru_cache(maxsize=256)
def _ids(search: Callable[[pathlib.Path], list[Member]], place: pathlib.Path, pattern: str) -> Mapping[str, Member]:
    return _by_id(search(place), pattern)[0]


def halves(first: int) -> Callable[[Sequence[str]], dict[str, str]]:
    """The first so many trains, the others test."""
    return lambda names: {name: "train" if place < first else "test" for place, name in enumerate(names)}
