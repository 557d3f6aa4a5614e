"""What a run was: `run.json` with versions, hardware, seed, data and commit."""

import datetime
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from training.checkpoints import write_atomically
from training.loop import Outcome
from training.runtime import Runtime

_PACKAGES = ("keras", "tensorflow", "jax", "jaxlib", "numpy", "scipy", "opencv-python-headless", "nvidia-dali-cuda120")


def write_record(path: pathlib.Path, runtime: Runtime, *, facts: Mapping[str, Any], root: pathlib.Path) -> None:
    """Writes `run.json`; a continued run adds a session and keeps the earlier ones.

    Args:
        path: File to write.
        runtime: What the session runs on.
        facts: More to remember, such as `data_sha256` and `parameters`; plain JSON values.
        root: The program's checkout, for its commit.
    """
    before: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    session = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "hardware": hardware(runtime),
        "runtime": {
            "backend": runtime.backend,
            "precision": runtime.precision,
            "xla": runtime.xla,
            "deterministic": runtime.deterministic,
            "processes": runtime.process[1],
        },
        "git_commit": commit(root),
    }
    record = {"seed": runtime.seed, **facts, "sessions": [*before.get("sessions", []), session]}
    text = json.dumps(record, indent=2) + "\n"
    write_atomically(path, lambda temporary: write_text(temporary, text))


def report(outcome: Outcome, run: pathlib.Path, log: logging.Logger) -> int:
    """Says how the run ended and what to type next; the exit code."""
    if outcome.interrupted is not None:
        log.info("Stopped (%s). Go on with: python train.py RESUME=True RUN_NAME=%s", outcome.interrupted, run.name)
        return 128 + outcome.signal if outcome.signal else 0
    best = outcome.progress.best
    log.info(
        "Trained %d epochs%s. Evaluate with: python evaluate.py RUN_NAME=%s",
        outcome.progress.epoch,
        "" if best is None else f"; best validation {best:.4f}",
        run.name,
    )
    return 0


def versions() -> dict[str, str]:
    """Python and the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware(runtime: Runtime) -> dict[str, Any]:
    """Machine and devices; no names of people or hosts."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
        "devices": list(runtime.devices),
    }


def commit(root: pathlib.Path) -> str | None:
    """The checkout's commit, `-changed` added where files differ from it; `None` without git."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=-changed", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def fingerprint(parts: Iterable[str]) -> str:
    """SHA-256 of texts in their order, such as the hashes of all source files."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes UTF-8."""
    path.write_text(text, encoding="utf-8")


def start_log(path: pathlib.Path, *, quiet: bool) -> None:
    """Messages go to the terminal, only warnings where `quiet`, and all of them to a file with their times."""
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.WARNING if quiet else logging.INFO)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[terminal, file], force=True)
    for chatty in ("absl", "tensorflow", "jax", "h5py", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
