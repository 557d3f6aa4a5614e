"""What the benchmarks share: the machine, medians with their spread, processes of their own, a peer's Python."""

import contextlib
import ctypes
import gc
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, cores, memory, and how busy it was: processes running or waiting over the last minute."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def summary(values: Sequence[float], *, digits: int = 3) -> dict[str, Any]:
    """Every value, the median, and the distance of the extremes as a share of it."""
    median = statistics.median(values)
    return {
        "median": round(median, digits),
        "spread": round((max(values) - min(values)) / median, 3) if median else 0.0,
        "all": [round(value, digits) for value in values],
    }


def summaries(entries: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """`summary` of every number of the repeats of one side."""
    return {name: summary([float(entry[name]) for entry in entries]) for name in entries[0]}


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds on the clock, of the processors (of children too), and the peak memory above the start in MB."""
    before = reset_peak_mb()
    clock, processors = time.perf_counter(), _processor_seconds()
    work()
    return {
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": _processor_seconds() - processors,
        "peak_mb": peak_mb() - before,
    }


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def reset_peak_mb() -> float:
    """Starts the peak of this process anew where the system allows it; the peak then, in MB.

    Memory that nothing uses goes back to the system first, where the C library can: it would hide what comes next.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5", "ascii")
    return peak_mb()


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB of 2**20 bytes."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text("ascii").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_turn(
    sides: Mapping[str, Sequence[str]], repeats: int, *, fewer: Mapping[str, int] | None = None, **environment: str
) -> dict[str, list[dict[str, Any]]]:
    """Runs the command of every side in turn, so many times, slow ones fewer; each prints a line of JSON last.

    Raises:
        RuntimeError: A side failed; its last line on standard error.
    """
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for turn in range(repeats):
        for side, command in sides.items():
            if turn < (fewer or {}).get(side, repeats):
                found[side].append(answer(command, **environment))
    return found


def answer(command: Sequence[str], **environment: str) -> dict[str, Any]:
    """The JSON object that a process of its own prints as its last line.

    Raises:
        RuntimeError: It failed; its last line on standard error.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{' '.join(command[:4])} ... failed: {last}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def peer_python(python: str | None, *packages: str) -> str | None:
    """That Python where it has the packages; else `None`, and one line on standard error that says so."""
    if python is None:
        return None
    try:
        found = subprocess.run([python, "-c", f"import {', '.join(packages)}"], check=False, capture_output=True)
    except OSError as error:
        print(f"The peer is left out: {error}.", file=sys.stderr)
        return None
    if found.returncode:
        print(f"The peer is left out: {python} cannot import {' and '.join(packages)}.", file=sys.stderr)
        return None
    return python


def peer_script(name: str) -> str:
    """Path of a program of the peer environment, beside this file."""
    return str(pathlib.Path(__file__).with_name(f"{name}_peer.py"))
