"""The page of a collection: suspicious cases first, then sizes, spacings, intensities, volumes and every case."""

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.statistics import summary
from reports.encoding import figure_uri, picture_uri, sized
from reports.overlays import grey_picture, overlay
from reports.page import Block, Gallery, Heading, Legend, Listing, Page, Picture, Section, Table, Text, Tile, Tiles
from reports.palette import label_colour
from reports.plots import distribution_figure, histogram_figure
from reports.tables import cell

AXES = ("depth", "height", "width")
THUMBNAILS, LISTED, BINS = 600, 400, 80


@dataclass(frozen=True)
class DatasetCase:
    """One case of a collection.

    Attributes:
        id: Case.
        patient: Patient.
        shape: `(d, h, w)`.
        spacing_mm: Of `(d, h, w)`.
        codes: Orientation of the file.
        samples: Channel to class name to some of its intensities.
        volumes_ml: Class name to volume.
        thumbnail: A slice, uint8 `(h, w)`, and its label.
        aspect: Height of its pixels over their width.
        findings: What was found, with the remedy; makes the case suspicious.
    """

    id: str
    patient: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    codes: str
    samples: Sequence[Mapping[str, np.ndarray]]
    volumes_ml: Mapping[str, float]
    thumbnail: tuple[np.ndarray, np.ndarray]
    aspect: float = 1.0
    findings: Sequence[str] = ()


def dataset_page(
    name: str,
    cases: Sequence[DatasetCase],
    *,
    labels: Mapping[int, str],
    channels: Sequence[str],
    other_findings: Mapping[str, str] | None = None,
    parts: Mapping[str, int] | None = None,
    licence: str = "",
) -> Page:
    """The page as blocks.

    Args:
        name: Of the collection.
        cases: In order.
        labels: Label value to class name.
        channels: Names of the channels.
        other_findings: File to finding, for files that belong to no case that could be read.
        parts: Part of the split to its number of cases.
        licence: Note on the collection's licence.
    """
    others = dict(other_findings or {})
    suspects = [case for case in cases if case.findings]
    told = [Tile("cases", str(len(cases))), Tile("patients", str(len({case.patient for case in cases})))]
    told += [Tile(part, str(count), "cases") for part, count in (parts or {}).items()]
    told.append(Tile("suspicious", str(len(suspects) + len(others)), "cases and files"))
    sections = [
        Section("At a glance", [Tiles(told), Listing({"channels": ", ".join(channels), **_note("licence", licence)})]),
        Section("Suspicious", _suspects(suspects, others, labels)),
        Section("Sizes and spacings", _geometry(cases) if cases else []),
        Section("Intensities", [_histograms(cases, channels)] if cases else []),
        Section("Volumes of the classes", _volumes(cases) if cases else []),
        Section("Every case", [*_legend(labels), _thumbnails(cases, labels), _listing(cases)] if cases else []),
    ]
    made = f"Written {datetime.datetime.now():%Y-%m-%d %H:%M}. This file holds everything it shows."
    return Page(f"Collection {name}", f"{len(cases)} cases", sections, made)


def histograms(cases: Iterable[DatasetCase], channel: int) -> tuple[list[float], dict[str, list[float]]]:
    """Bins over the middle 99 % of all intensities of a channel, and each class's shares in them.

    Every case weighs the same. Classes without any voxel are left out.
    """
    pooled: dict[str, list[np.ndarray]] = {}
    for case in cases:
        for name, values in case.samples[channel].items() if channel < len(case.samples) else ():
            if values.size:
                pooled.setdefault(name, []).append(values)
    everything = np.concatenate([values for found in pooled.values() for values in found] or [np.zeros(1)])
    low, high = np.percentile(everything, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = {
        name: np.mean([np.histogram(np.clip(values, low, high), edges)[0] / values.size for values in found], axis=0)
        for name, found in pooled.items()
    }
    return edges.tolist(), {name: column.tolist() for name, column in shares.items()}


def _suspects(suspects: Sequence[DatasetCase], others: Mapping[str, str], labels: Mapping[int, str]) -> list[Block]:
    if not suspects and not others:
        return [Text(["Nothing was found."], tone="good")]
    blocks: list[Block] = [Listing(others, tone="bad")] if others else []
    for case in suspects[:THUMBNAILS]:
        blocks += [Heading(case.id), Text(case.findings, tone="bad"), Gallery([_thumbnail(case, labels)], columns=4)]
    return blocks


def _geometry(cases: Sequence[DatasetCase]) -> list[Block]:
    spacings = {axis: [case.spacing_mm[place] for case in cases] for place, axis in enumerate(AXES)}
    sizes = {axis: [float(case.shape[place]) for case in cases] for place, axis in enumerate(AXES)}
    lengths = {axis: [n * mm for n, mm in zip(sizes[axis], spacings[axis], strict=True)] for axis in AXES}
    rows: list[list[str]] = []
    for title, columns in (("voxels", sizes), ("voxel size, mm", spacings), ("extent, mm", lengths)):
        for axis, values in columns.items():
            told = summary(values)
            rows.append([title, axis, *(cell(told[name]) for name in ("least", "median", "largest"))])
    codes = sorted({case.codes for case in cases})
    counted = ", ".join(f"{code} ({sum(case.codes == code for case in cases)})" for code in codes)
    figures = [("voxel size, mm", spacings), ("voxels", sizes)]
    pictures = [Picture(figure_uri(distribution_figure(v, title=title)), title) for title, v in figures]
    return [
        Gallery(pictures),
        Table(["", "axis", "least", "median", "largest"], rows, words=2),
        Listing({"orientation of the files (cases)": counted}),
    ]


def _histograms(cases: Sequence[DatasetCase], channels: Sequence[str]) -> Gallery:
    pictures: list[Picture] = []
    for place, channel in enumerate(channels):
        edges, shares = histograms(cases, place)
        figure = histogram_figure(edges, shares, title=channel, label="intensity as stored")
        pictures.append(Picture(figure_uri(figure), f"Histogram of {channel} per class"))
    return Gallery(pictures)


def _volumes(cases: Sequence[DatasetCase]) -> list[Block]:
    names = dict.fromkeys(name for case in cases for name in case.volumes_ml)
    volumes = {name: [case.volumes_ml.get(name, 0.0) for case in cases] for name in names}
    present = {name: [value if value > 0 else math.nan for value in column] for name, column in volumes.items()}
    rows: list[list[str]] = []
    for name, column in present.items():
        told = summary(column)
        numbers = [cell(told[key]) for key in ("mean", "sd", "least", "median", "largest")]
        rows.append([name, f"{int(told['n'])} of {len(cases)}", *numbers])
    pictures = [
        Picture(figure_uri(distribution_figure({name: column}, title=f"{name}, ml")), f"Volumes of {name}")
        for name, column in present.items()
        if any(math.isfinite(value) for value in column)
    ]
    columns = ["class", "cases with it", "mean, ml", "sd", "least", "median", "largest"]
    return [Gallery(pictures[:16]), Table(columns, rows, words=1)] if rows else []


def _listing(cases: Sequence[DatasetCase]) -> Table:
    names = list(dict.fromkeys(name for case in cases for name in case.volumes_ml))
    ordered = sorted(cases, key=lambda case: not case.findings)[:LISTED]
    rows = [
        [
            case.id,
            case.patient,
            " × ".join(map(str, case.shape)),
            " × ".join(f"{step:.3g}" for step in case.spacing_mm),
            case.codes,
            *(cell(case.volumes_ml.get(name)) for name in names),
        ]
        for case in ordered
    ]
    caption = "" if len(ordered) == len(cases) else f"The first {LISTED} of {len(cases)} cases, suspicious ones first."
    columns = ["case", "patient", "voxels", "voxel size, mm", "axes", *(f"{name}, ml" for name in names)]
    return Table(columns, rows, words=2, caption=caption)


def _thumbnails(cases: Sequence[DatasetCase], labels: Mapping[int, str]) -> Gallery:
    ordered = sorted(cases, key=lambda case: not case.findings)[:THUMBNAILS]
    return Gallery([_thumbnail(case, labels) for case in ordered], columns=6)


def _thumbnail(case: DatasetCase, labels: Mapping[int, str]) -> Picture:
    grey, label = case.thumbnail
    known = np.where(np.isin(label, list(labels)), label, 0)
    picture = overlay(grey_picture(grey, window=(0, 255)), known, opacity=0.25)
    return Picture(picture_uri(sized(picture, aspect=case.aspect, longest=160), quality=60), case.id)


def _legend(labels: Mapping[int, str]) -> list[Block]:
    return [Legend({name: label_colour(value) for value, name in labels.items() if 0 < value < 255})]


def _note(name: str, text: str) -> dict[str, str]:
    return {name: text} if text else {}
