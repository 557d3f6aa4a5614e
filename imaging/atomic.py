"""Writing so that a reader sees the old file or the new one, never half of it."""

import contextlib
import os
import pathlib
import uuid
from collections.abc import Generator


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[pathlib.Path, None, None]:
    """Gives a hidden temporary path beside `path`, moved onto `path` when the block ends without an error.

    The temporary name ends as `path` does, because format libraries choose by suffix. Missing parent folders are
    made. After an error nothing is left behind and `path` is as it was.
    """
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
