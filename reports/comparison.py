"""Two runs against each other, case by case: differences with intervals and tests, as table, JSON and page."""

import datetime
import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metrics.provenance import provenance
from metrics.statistics import Comparison, by_patient, compare
from reports.encoding import figure_uri
from reports.evaluation import summarise
from reports.page import Block, Gallery, Heading, Listing, Page, Picture, Section, Table, Text, write_page
from reports.plots import difference_figure
from reports.runs import Evaluated, RunsError
from reports.sections import is_share, metric_title, summary_table
from reports.tables import cell, write_csv, write_json

COMPARED = ("dice", "iou", "precision", "recall", "boundary_iou", "hd95", "assd")
FURTHER = ("ece", "lesion_dice")
CHANGED = 10
_QUIET = (
    "Differences are second minus first, over the cases that both have, averaged per patient. Intervals: bootstrap, "
    "95 %. p: Wilcoxon signed-rank, two-sided, not corrected for the number of rows."
)


@dataclass(frozen=True)
class Difference:
    """One class and metric of two runs.

    Attributes:
        label: Class.
        metric: Metric.
        first: Mean of the first run over the compared patients.
        second: Mean of the second run over them.
        result: Over patients.
        cases: Case to difference, largest change first.
    """

    label: str
    metric: str
    first: float
    second: float
    result: Comparison
    cases: dict[str, float]

    @property
    def verdict(self) -> str:
        """What the second run is at a level of 5 %: `better`, `worse`, or a dash where no difference was found."""
        if not self.result.p_value < 0.05:
            return "–"
        return "better" if (self.result.mean > 0) == is_share(self.metric) else "worse"


def differences(first: Evaluated, second: Evaluated, *, resamples: int = 9999) -> list[Difference]:
    """Every class and metric that both runs have.

    Raises:
        RunsError: The runs share no case, or no class.
    """
    shared = [case for case in first.cases if case in second.cases]
    if not shared:
        raise RunsError(
            f"{first.name} and {second.name} share no case: evaluate both on the same part, EVALUATION.SPLIT=..."
        )
    labels = [label for label in first.cases[shared[0]] if label in second.cases[shared[0]]]
    if not labels:
        raise RunsError(f"{first.name} and {second.name} share no class: give runs with the same DATASET.LABELS.")
    found: list[Difference] = []
    for label in labels:
        present = first.cases[shared[0]][label].keys() & second.cases[shared[0]][label].keys()
        metrics = [metric for metric in COMPARED if metric in present]
        metrics += sorted(metric for metric in present if metric.startswith("nsd_"))
        further = sorted(metric for metric in present if metric in FURTHER or metric.startswith("lesion_f1_"))
        metrics += [metric for metric in further if _is_known(first, label, metric) or _is_known(second, label, metric)]
        found += [_difference(first, second, label=label, metric=metric, resamples=resamples) for metric in metrics]
    return found


def _is_known(run: Evaluated, label: str, metric: str) -> bool:
    """Whether the run has the metric of the class in any case; of organs no lesions are counted."""
    return not all(math.isnan(value) for value in run.column(label, metric).values())


def _difference(first: Evaluated, second: Evaluated, *, label: str, metric: str, resamples: int) -> Difference:
    columns = first.column(label, metric), second.column(label, metric)
    by_case = {case: columns[1][case] - value for case, value in columns[0].items() if case in columns[1]}
    known = [case for case, value in by_case.items() if not math.isnan(value)]
    patients = {**first.patients, **second.patients}
    one, two = (by_patient({case: column[case] for case in known}, patients) for column in columns)
    changed = sorted(known, key=lambda case: -abs(by_case[case]))
    return Difference(
        label=label,
        metric=metric,
        first=sum(one.values()) / len(one) if one else math.nan,
        second=sum(two.values()) / len(two) if two else math.nan,
        result=compare(one, two, resamples=resamples),
        cases={case: by_case[case] for case in changed},
    )


def comparison_rows(found: Sequence[Difference]) -> list[list[str]]:
    """One row per class and metric, as words: see `COLUMNS`."""
    rows: list[list[str]] = []
    for entry in found:
        result, (low, high) = entry.result, entry.result.interval
        row = [entry.label, metric_title(entry.metric), cell(entry.first), cell(entry.second), signed(result.mean)]
        row += [f"{signed(low)} to {signed(high)}", p_text(result.p_value), f"{len(entry.cases)}", entry.verdict]
        rows.append(row)
    return rows


COLUMNS = ("class", "metric", "first", "second", "difference", "95 % interval", "p", "cases", "second is")


def signed(value: float) -> str:
    """A difference with its sign."""
    text = cell(value)
    return f"+{text}" if value > 0 else text.replace("-", "−")


def p_text(value: float) -> str:
    """A p-value as it is printed."""
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def write_comparison(
    folder: pathlib.Path, groups: Sequence[Evaluated], found: Sequence[list[Difference]]
) -> pathlib.Path:
    """Writes `comparison.json`, `differences.csv` (a row per case, class and metric) and `report.html`.

    Args:
        folder: Made if missing.
        groups: What was compared; every one after the first with the first.
        found: Differences of each group after the first.

    Returns:
        The page.
    """
    rows: list[dict[str, Any]] = [
        {"second": group.name, "case": case, "label": entry.label, "metric": entry.metric, "difference": value}
        for group, entries in zip(groups[1:], found, strict=True)
        for entry in entries
        for case, value in entry.cases.items()
    ]
    write_csv(folder / "differences.csv", rows)
    summaries = [summarise(group.cases, group.patients) for group in groups]
    content = {
        "groups": [
            {"name": group.name, "runs": group.members, "part": group.notes, "classes": summary}
            for group, summary in zip(groups, summaries, strict=True)
        ],
        "comparisons": [
            {"first": groups[0].name, "second": group.name, "differences": [_as_json(entry) for entry in entries]}
            for group, entries in zip(groups[1:], found, strict=True)
        ],
        "tools": provenance(),
    }
    write_json(folder / "comparison.json", content)
    sections = [
        Section(f"{group.name} against {groups[0].name}", _comparison_blocks(groups[0], group, entries))
        for group, entries in zip(groups[1:], found, strict=True)
    ]
    sections += [
        Section(group.name, [_members(group), summary_table(summary)])
        for group, summary in zip(groups, summaries, strict=True)
    ]
    sections.append(Section("How it was measured", [Text([_QUIET]), Listing(provenance())]))
    made = f"Written {datetime.datetime.now():%Y-%m-%d %H:%M}. This file holds everything it shows."
    title = "Comparison" if len(groups) > 1 else "Runs together"
    return write_page(folder / "report.html", Page(title, " · ".join(group.name for group in groups), sections, made))


def _comparison_blocks(first: Evaluated, second: Evaluated, found: Sequence[Difference]) -> list[Block]:
    rows = comparison_rows(found)
    blocks: list[Block] = [Listing({"first": first.name, "second": second.name}), Table(COLUMNS, rows, words=2)]
    pictures: list[Picture] = []
    for metric in ("dice", "hd95"):
        values = {entry.label: list(entry.cases.values()) for entry in found if entry.metric == metric}
        if values:
            figure = difference_figure(values, title=f"{metric_title(metric)}: second − first, sorted")
            pictures.append(Picture(figure_uri(figure), f"Differences of {metric_title(metric)} case by case"))
    blocks += [Text([_QUIET], tone="quiet"), Gallery(pictures), Heading("Cases that changed most", "by Dice")]
    changed = [
        [case, entry.label, *(cell(run.column(entry.label, "dice")[case]) for run in (first, second)), signed(value)]
        for entry in found
        if entry.metric == "dice"
        for case, value in list(entry.cases.items())[:CHANGED]
    ]
    changed.sort(key=lambda row: -abs(float(row[-1].replace("−", "-"))))
    blocks.append(Table(["case", "class", "first", "second", "difference"], changed, words=2))
    left = sorted(set(first.cases) ^ set(second.cases))
    if left:
        blocks.append(Listing({f"{len(left)} cases that only one of them has": ", ".join(left)}))
    return blocks


def _members(group: Evaluated) -> Listing:
    facts = {"evaluated": group.notes, "cases": str(len(group.cases))}
    if len(group.members) > 1:
        facts["runs, a case's score is the mean over those that have it"] = ", ".join(group.members)
    return Listing({name: value for name, value in facts.items() if value})


def _as_json(entry: Difference) -> dict[str, Any]:
    return {
        "label": entry.label,
        "metric": entry.metric,
        "first": entry.first,
        "second": entry.second,
        "difference": entry.result.mean,
        "interval_95": list(entry.result.interval),
        "p_value": entry.result.p_value,
        "better": entry.result.better if is_share(entry.metric) else entry.result.worse,
        "worse": entry.result.worse if is_share(entry.metric) else entry.result.better,
        "verdict": entry.verdict,
        "changed_most": dict(list(entry.cases.items())[:CHANGED]),
    }
