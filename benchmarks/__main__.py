"""Runs a benchmark: `python -m benchmarks NAME [options]`; without a name, lists them; `all` runs each in turn.

A benchmark is a module with `run(arguments: Sequence[str]) -> dict`, whose result is plain JSON.
"""

import argparse
import difflib
import importlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

BENCHMARKS: Mapping[str, str] = {
    "preparation": "benchmarks.preparation",
    "loader": "benchmarks.loader",
    "augmentation": "benchmarks.augmentation",
    "inference": "benchmarks.inference",
    "pruning": "benchmarks.pruning",
    "train_step": "benchmarks.train_step",
    "depthwise": "benchmarks.depthwise",
}
WITH_PEERS = ("augmentation", "inference")


def main(arguments: Sequence[str]) -> int:
    """Runs the named benchmark and prints its JSON; `--out FILE` also writes it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", help=", ".join(BENCHMARKS))
    parser.add_argument("--out", type=pathlib.Path, help="also write the JSON to this file")
    known, rest = parser.parse_known_args(arguments)
    if known.name is None:
        print("\n".join(BENCHMARKS))
        return 0
    if known.name != "all" and known.name not in BENCHMARKS:
        close = difflib.get_close_matches(known.name, BENCHMARKS, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        print(f"{known.name} is no benchmark.{hint} Type one of {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    names = BENCHMARKS if known.name == "all" else (known.name,)
    results = {name: _run(name, rest, alone=known.name != "all") for name in names}
    result = json.dumps(results if known.name == "all" else results[known.name], indent=1)
    print(result)
    if known.out:
        known.out.parent.mkdir(parents=True, exist_ok=True)
        known.out.write_text(result + "\n", encoding="utf-8")
    return 0


def _run(name: str, options: Sequence[str], *, alone: bool) -> dict[str, object]:
    """One benchmark's result; among all of them, options reach only those that compare with peers."""
    chosen = options if alone or name in WITH_PEERS else ()
    return importlib.import_module(BENCHMARKS[name]).run(chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
