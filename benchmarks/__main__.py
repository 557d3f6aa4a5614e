"""Runs a benchmark: `python -m benchmarks NAME [options]`; without a name, lists them; `all` runs each in turn.

A benchmark is a module with `run(arguments: Sequence[str]) -> dict`, whose result is plain JSON: it goes to standard
output, its `table` (a list of rows) to standard error as well. `QUICK` are the arguments of its smallest run.
"""

import argparse
import difflib
import importlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import machine
from benchmarks.tables import show

BENCHMARKS: Mapping[str, str] = {
    "preparation": "benchmarks.preparation",
    "planning": "benchmarks.planning",
    "loader": "benchmarks.loader",
    "augmentation": "benchmarks.augmentation",
    "model": "benchmarks.model",
    "train_step": "benchmarks.train_step",
    "depthwise": "benchmarks.depthwise",
    "inference": "benchmarks.inference",
    "pruning": "benchmarks.pruning",
    "metrics": "benchmarks.metrics",
    "unetr_plusplus": "benchmarks.unetr_plusplus",
}
WITH_PEERS = ("planning", "augmentation", "train_step", "inference", "metrics", "unetr_plusplus")


def main(arguments: Sequence[str]) -> int:
    """Runs the named benchmark and prints its JSON; `--out FILE` also writes it. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, allow_abbrev=False, add_help=False
    )
    parser.add_argument("name", nargs="?", help=", ".join(BENCHMARKS))
    parser.add_argument("--out", type=pathlib.Path, help="also write the JSON to this file")
    parser.add_argument("--quick", action="store_true", help="the smallest run, which only shows that it works")
    known, rest = parser.parse_known_args(arguments)
    if known.name is None:
        print(parser.format_help() if {"-h", "--help"} & set(rest) else "\n".join(BENCHMARKS))
        return 0
    if known.name != "all" and known.name not in BENCHMARKS:
        close = difflib.get_close_matches(known.name, BENCHMARKS, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        print(f"{known.name} is no benchmark.{hint} Type one of {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    alone = known.name != "all"
    results = {
        name: _run(name, rest if alone or name in WITH_PEERS else (), quick=known.quick)
        for name in ((known.name,) if alone else BENCHMARKS)
    }
    result = json.dumps(results[known.name] if alone else results, indent=1)
    print(result)
    if known.out:
        known.out.parent.mkdir(parents=True, exist_ok=True)
        known.out.write_text(result + "\n", encoding="utf-8")
    return 0


def _run(name: str, options: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """One benchmark's result, and the machine it ran on; among all of them, options reach those that have peers."""
    module = importlib.import_module(BENCHMARKS[name])
    busy = machine()
    result = module.run([*(getattr(module, "QUICK", ()) if quick else ()), *options])
    if "table" in result:
        show(name, result["table"])
    return {**result, "machine": busy}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
