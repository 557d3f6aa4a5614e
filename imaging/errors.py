"""The one error of this room, and how foreign errors become it."""

import contextlib
import os
import struct
import zlib
from collections.abc import Generator
from xml.parsers.expat import ExpatError

FOREIGN_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ArithmeticError,
    SyntaxError,
    MemoryError,
    ExpatError,
    struct.error,
    zlib.error,
)
"""What the format libraries raise on damaged files: Pillow really raises SyntaxError, and a damaged size asks for more
memory than there is."""


class ImageError(ValueError):
    """A file that cannot be used: names the file, what is wrong with it and what to do, in one line."""


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], *, remedy: str) -> Generator[None, None, None]:
    """Turns whatever a format library raises inside the block into one `ImageError` about `path`.

    Args:
        path: The file being read; it starts the message.
        remedy: What the user can do, a sentence fragment; it ends the message.

    Raises:
        ImageError: Unchanged where it is one already, otherwise made of the first words of the foreign error.
    """
    try:
        yield
    except ImageError:
        raise
    except FOREIGN_ERRORS as error:
        raise ImageError(f"{os.fspath(path)}: cannot be read ({_first_words(error)}): {remedy}.") from error


def _first_words(error: BaseException) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 160 else words[:157] + "..."
