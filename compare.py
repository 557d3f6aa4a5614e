"""Compares evaluated runs case by case.

python compare.py outputs/RUN_A outputs/RUN_B        # per class: difference, interval, test; which cases changed most
python compare.py A_SEED1 A_SEED2 B_SEED1 B_SEED2     # runs that differ only in seed or fold are taken together
python compare.py A0,A1,A2 B0,B1,B2                  # or say so with commas

A run is a folder, or a name in OUTPUT_PATH, that `evaluate.py` has scored. Every run, or group, after the first is
compared with the first. Writes report.html, comparison.json and differences.csv to OUTPUT_PATH/comparisons.
"""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from configs import ConfigError, entry
from configs.facts import place, plain
from configs.runs import CONFIG_FILE

if TYPE_CHECKING:
    from reports.comparison import Difference
    from reports.runs import Evaluated

SAME = ("SEED", "FOLD", "RUN_NAME", "OVERRIDES", "RESUME", "WORK_DIR", "OUTPUT_PATH", "VERBOSE", "DEBUG")
"""Keys in which runs of the same experiment may differ."""


def main(cfg: DictConfig) -> int:
    """Prints the table and where the page is."""
    from rich.console import Console

    groups, found, page = compare(cfg)
    console = Console()
    for group, entries in zip(groups[1:], found, strict=True):
        _show(console, groups[0], group, entries)
    if len(groups) == 1:
        console.print(f"One experiment, {len(groups[0].members)} runs together: {len(groups[0].cases)} cases.")
    console.print(f"Page: {page}", soft_wrap=True, highlight=False)
    return 0


def compare(cfg: DictConfig) -> "tuple[list[Evaluated], list[list[Difference]], pathlib.Path]":
    """Compares the runs of `cfg.RUNS`.

    Returns:
        The runs or groups, the differences of each after the first, and the page.

    Raises:
        ValueError: Fewer than two runs, a run that is not evaluated, or runs without a case in common.
    """
    from reports.comparison import differences, write_comparison

    groups = find_groups(cfg)
    found = [differences(groups[0], group) for group in groups[1:]]
    name = "-vs-".join(_file_name(group.name) for group in groups[:3])
    folder = place(cfg, cfg.OUTPUT_PATH) / "comparisons" / name
    return groups, found, write_comparison(folder, groups, found)


def find_groups(cfg: DictConfig) -> "list[Evaluated]":
    """What is compared: the given groups, or of more than two runs those that differ only in seed and fold."""
    from reports.runs import common_name, grouped, read_evaluated, together

    given = [item if isinstance(item, list) else str(item).split(",") for item in plain(cfg.RUNS) or []]
    folders = [[_folder(cfg, str(name)) for name in names] for names in given]
    if sum(map(len, folders)) < 2:
        raise ConfigError("Give two evaluated runs: type `python compare.py outputs/RUN_A outputs/RUN_B`.")
    if any(len(names) > 1 for names in folders):
        read = [[read_evaluated(folder) for folder in names] for names in folders]
        return [
            runs[0] if len(runs) == 1 else together(runs, name=common_name([run.name for run in runs])) for runs in read
        ]
    flat = [names[0] for names in folders]
    runs = [read_evaluated(folder) for folder in flat]
    return runs if len(runs) == 2 else grouped(runs, [_identity(folder) for folder in flat])


def _folder(cfg: DictConfig, name: str) -> pathlib.Path:
    """A run's folder: as typed, below WORK_DIR, or below OUTPUT_PATH."""
    places = [pathlib.Path(name).expanduser(), place(cfg, name), place(cfg, cfg.OUTPUT_PATH) / name]
    for folder in places:
        if folder.is_dir():
            return folder.resolve()
    root = place(cfg, cfg.OUTPUT_PATH)
    there = sorted(path.parents[1].name for path in root.glob("*/evaluation/metrics.csv"))
    hint = f" Evaluated runs: {', '.join(there[-5:])}." if there else " Train and evaluate one first."
    raise ConfigError(f"There is no run {name}, neither here nor in {root}.{hint}")


def _identity(folder: pathlib.Path) -> str:
    """The configuration without what runs of one experiment may differ in; the folder itself where there is none."""
    run = folder.parent if folder.name == "evaluation" else folder
    if not (run / CONFIG_FILE).is_file():
        return str(folder)
    stored: Any = OmegaConf.to_container(OmegaConf.load(run / CONFIG_FILE), resolve=False)
    return json.dumps({key: value for key, value in stored.items() if key not in SAME}, sort_keys=True, default=str)


def _show(console: Any, first: "Evaluated", second: "Evaluated", found: "Sequence[Difference]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    from reports.comparison import COLUMNS, comparison_rows

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place_of, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if place_of < 2 else "right", no_wrap=True)
    for row in comparison_rows(found):
        table.add_row(*row)
    console.print(f"First:  {first.name}\nSecond: {second.name}", highlight=False, soft_wrap=True)
    # A narrow terminal breaks lines; no number is cut.
    wide = Measurement.get(console, console.options.update(width=500), table).maximum
    Console(width=max(wide, console.width), file=console.file).print(table)
    for one in found:
        if one.metric == "dice":
            changed = ", ".join(f"{case} {value:+.3f}" for case, value in list(one.cases.items())[:5])
            console.print(f"Changed most, Dice of {one.label}: {changed}", highlight=False, soft_wrap=True)


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).strip("_")[:80]


def positional(arguments: Sequence[str]) -> list[str]:
    """Runs typed as plain words become `RUNS=[...]`; everything else stays."""
    runs = [word for word in arguments if "=" not in word and not word.startswith("-")]
    if not runs:
        return list(arguments)
    quoted = ["'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'" for word in runs]
    return [*(word for word in arguments if word not in runs), f"RUNS=[{','.join(quoted)}]"]


if __name__ == "__main__":
    sys.argv[1:] = positional(sys.argv[1:])
    entry(main)
