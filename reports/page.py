"""One self-contained HTML page: blocks of tables, pictures and words; nothing is loaded from anywhere.

The page forbids every request by its content security policy, holds its pictures as `data:` URIs and reads without a
script; a few lines of script move the slice sliders.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jinja2

from imaging.atomic import replacing
from reports.palette import Colour

TEMPLATES = pathlib.Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Text:
    """Paragraphs; `tone` is `"plain"`, `"quiet"`, `"good"` or `"bad"`."""

    kind: ClassVar[str] = "text"
    lines: Sequence[str]
    tone: str = "plain"


@dataclass(frozen=True)
class Listing:
    """A list of names, each with what is said about it; `tone` as in `Text`."""

    kind: ClassVar[str] = "listing"
    entries: Mapping[str, str]
    tone: str = "plain"


@dataclass(frozen=True)
class Table:
    """A table. The first `words` columns hold words, the others numbers; wide ones scroll sideways on a phone."""

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    caption: str = ""


@dataclass(frozen=True)
class Tile:
    """A number that is seen first: what, how much, and a line of small print."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Tiles:
    """Numbers side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Picture:
    """A picture as a `data:` URI, with the line below it."""

    uri: str
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side.

    Attributes:
        pictures: In reading order.
        columns: Pictures in a row on a wide screen (2 on a phone); 0 for plots, as many as fit, 1 on a phone.
    """

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]
    columns: int = 0


@dataclass(frozen=True)
class Slider:
    """Slices to move through.

    Attributes:
        strip: All slices below each other, a `data:` URI.
        names: What each is called, in order.
        ratio: Width over height of one slice.
        start: The slice shown first.
    """

    kind: ClassVar[str] = "slider"
    strip: str
    names: Sequence[str]
    ratio: float
    start: int = 0


@dataclass(frozen=True)
class Legend:
    """Names and colours."""

    kind: ClassVar[str] = "legend"
    colours: Mapping[str, Colour]


@dataclass(frozen=True)
class Heading:
    """A heading inside a section, with a line of small print."""

    kind: ClassVar[str] = "heading"
    title: str
    detail: str = ""


@dataclass(frozen=True)
class Folded:
    """Long plain text that opens on a click."""

    kind: ClassVar[str] = "folded"
    title: str
    text: str


Block = Text | Listing | Table | Tiles | Gallery | Slider | Legend | Heading | Folded


@dataclass(frozen=True)
class Section:
    """A part of the page with its title; without blocks it is left out."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page: title, a line below it, sections, and a last line."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    footer: str = ""


def render(page: Page) -> str:
    """The page as HTML; every text is escaped."""
    sections = [section for section in page.sections if section.blocks]
    return _template().render(page=page, sections=sections)


def write_page(path: pathlib.Path, page: Page) -> pathlib.Path:
    """Writes the page in one step and returns its path."""
    with replacing(path) as partial:
        partial.write_text(render(page), encoding="utf-8")
    return path


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html")
