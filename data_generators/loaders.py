"""From the word in the configuration to a loader."""

import difflib
import importlib.util
import pathlib

LOADERS = {"SEQUENCE": "sequence", "TF_GENERATOR": "sequence", "DALI": "dali", "DALI_GENERATOR": "dali"}


class LoaderError(ValueError):
    """A loader that does not exist or cannot run here; the message is one line with the remedy."""


def choose_loader(kind: str, *, gpu: bool) -> str:
    """Which loader `DATA_GENERATOR_TYPE` means on this machine.

    Args:
        kind: `SEQUENCE` (or `TF_GENERATOR`), `DALI` (or `DALI_GENERATOR`), or `AUTO`, which takes DALI where there is
            a GPU and DALI is installed.
        gpu: Whether the training runs on a GPU.

    Returns:
        `"sequence"` or `"dali"`.

    Raises:
        LoaderError: Another word, or DALI is asked for and not installed.
    """
    word = kind.upper()
    if word == "AUTO":
        return "dali" if gpu and dali_installed() else "sequence"
    if word not in LOADERS:
        close = difflib.get_close_matches(word, [*LOADERS, "AUTO"], 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise LoaderError(f"DATA_GENERATOR_TYPE={kind} is no loader: use {', '.join(LOADERS)} or AUTO.{hint}")
    if LOADERS[word] == "dali" and not dali_installed():
        raise LoaderError(
            f"DATA_GENERATOR_TYPE={kind} needs NVIDIA DALI, which is not installed: run `make setup`, or "
            "`pip install --no-build-isolation -r requirements-dali.txt`, or set DATA_GENERATOR_TYPE=SEQUENCE."
        )
    return LOADERS[word]


def dali_installed() -> bool:
    """Whether DALI, its TensorFlow plugin and TensorFlow are installed; imports none of them."""
    nvidia = importlib.util.find_spec("nvidia")
    folders = [pathlib.Path(folder) for folder in (nvidia.submodule_search_locations or [])] if nvidia else []
    both = all(any((folder / name).is_dir() for folder in folders) for name in ("dali", "dali_tf_plugin"))
    return both and importlib.util.find_spec("tensorflow") is not None
