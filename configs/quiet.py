"""TensorFlow's import without what its C++ libraries say on the way: no environment variable silences it (TF 2.21)."""

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Generator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def quiet_tensorflow() -> None:
    """Makes the first `import tensorflow` of this process silent, whoever does it; nothing is imported here."""
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def held_back(descriptor: int = 2) -> Generator[None]:
    """Keeps what is written to a file descriptor; it is shown only where an error ends the block."""
    with tempfile.TemporaryFile() as kept:
        terminal = os.dup(descriptor)
        os.dup2(kept.fileno(), descriptor)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, descriptor)
            os.close(terminal)


class _Finder(MetaPathFinder):
    """Steps in once, at TensorFlow's import, and leaves the finding to the others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec of TensorFlow, its execution held back; `None` for all other modules."""
        del path, target
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with held_back():
                    execute(module)

            loader.exec_module = exec_module
        return spec
