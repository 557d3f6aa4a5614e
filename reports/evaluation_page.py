"""The page of an evaluation: what was scored, how well, where it fails, and what it was made with."""

import datetime
import math
import pathlib
from collections.abc import Callable, Mapping

from metrics.provenance import provenance
from reports.details import detail_sections
from reports.evaluation import Evaluation, Summary, case_title, chosen_cases, summarise
from reports.figures import save_figure
from reports.montage import case_figure
from reports.page import Block, Heading, Legend, Listing, Page, Section, Table, Text, Tile, Tiles, write_page
from reports.palette import ERROR_COLOURS, label_colour
from reports.panels import Budget, CaseView, fitting_budget, plane_gallery, slice_slider
from reports.sections import (
    MAIN_METRICS,
    bland_altman_gallery,
    distribution_gallery,
    metric_title,
    run_sections,
    summary_table,
)
from reports.tables import cell, worst_first

PAGE = "report.html"
LISTED = 200
View = Callable[[str], CaseView]


def write_evaluation(
    evaluation: Evaluation,
    folder: pathlib.Path,
    *,
    view: View,
    names: Mapping[int, str],
    pictures: int = 3,
    unit: str = "mm",
    run: pathlib.Path | None = None,
) -> pathlib.Path:
    """Writes scores, pictures of the worst, median and best cases, and `report.html`.

    Args:
        evaluation: Scores and failures.
        folder: Where everything goes.
        view: Reads what is shown of a case; called once per shown case.
        names: Label value to class name, background included.
        pictures: Cases of each kind that are shown.
        unit: Of distances.
        run: Folder of the run that was evaluated, for its curves and configuration.

    Returns:
        The page.
    """
    summary = summarise(evaluation.scores, evaluation.patients)
    evaluation.write(folder, summary=summary)
    shown = _shown_cases(evaluation, folder, view=view, names=names, count=pictures)
    return write_page(folder / PAGE, evaluation_page(evaluation, summary, shown=shown, unit=unit, run=run))


def evaluation_page(
    evaluation: Evaluation,
    summary: Summary,
    *,
    shown: list[Block],
    unit: str = "mm",
    run: pathlib.Path | None = None,
) -> Page:
    """The page as blocks; `shown` are those of the cases that are shown."""
    failures: list[Block] = []
    if evaluation.failed:
        failures = [Listing(evaluation.failed, tone="bad")]
    count = len(evaluation.scores)
    sections = [
        Section(f"{len(evaluation.failed)} failed", failures),
        Section("Summary", _summary_blocks(summary, unit=unit)),
        Section("Distributions over cases", [distribution_gallery(evaluation.scores, unit=unit)] if count else []),
        Section("Agreement of volumes", _volume_blocks(evaluation, unit=unit) if count else []),
        *detail_sections(evaluation.details, evaluation.lesion_iou),
        Section("Worst, median and best cases", shown),
        Section("Every case", _case_blocks(evaluation, unit=unit) if count else []),
        *([] if run is None else run_sections(run)),
        Section("How it was measured", [Text(evaluation.notes), Listing(provenance())]),
    ]
    facts = [f"{value}" for name, value in evaluation.facts.items() if name in ("run", "part", "predictions")]
    subtitle = " · ".join([*facts, f"{count} case{'s' * (count != 1)} scored"])
    made = f"Written {datetime.datetime.now():%Y-%m-%d %H:%M}. This file holds everything it shows."
    return Page("Evaluation", subtitle, sections, made)


def _summary_blocks(summary: Summary, *, unit: str) -> list[Block]:
    if not summary:
        return [Text(["No case could be scored."], tone="bad")]
    tiles: list[Tile] = []
    for label, metrics in summary.items():
        low, high = metrics["dice"]["interval_95"]
        span = "" if math.isnan(low) else f"95 % interval {cell(low)} to {cell(high)}"
        tiles.append(Tile(f"Dice, {label}", cell(metrics["dice"]["mean"]), span))
    table = summary_table(summary, unit=unit)
    quiet = "Intervals are bootstrapped over patients. Cases where a score is not defined are left out and counted."
    return [Tiles(tiles), table, Text([quiet], tone="quiet")]


def _volume_blocks(evaluation: Evaluation, *, unit: str) -> list[Block]:
    if unit != "mm":
        return []
    told = "Difference of each case's volume over the mean of both (Bland-Altman); dashed: 95 % limits of agreement."
    return [bland_altman_gallery(evaluation.scores), Text([told], tone="quiet")]


def _case_blocks(evaluation: Evaluation, *, unit: str) -> list[Block]:
    order = worst_first(evaluation.scores, "dice")
    present = {metric for scores in evaluation.scores.values() for values in scores.values() for metric in values}
    metrics = [metric for metric in MAIN_METRICS if metric in present]
    metrics += sorted(metric for metric in present if metric.startswith("nsd_"))
    rows = [
        [case, label, *(cell(values.get(metric)) for metric in metrics)]
        for case in order[:LISTED]
        for label, values in evaluation.scores[case].items()
    ]
    caption = "Worst first, by the mean Dice of the classes. All metrics: metrics.csv."
    if len(order) > LISTED:
        caption += f" {len(order) - LISTED} better cases are only listed there."
    blocks: list[Block] = [Table(["case", "class", *(metric_title(m, unit=unit) for m in metrics)], rows, 2, caption)]
    if evaluation.pooled:
        kept = ("dice", "iou", "precision", "recall")
        rows = [
            [patient, label, *(cell(values.get(metric)) for metric in kept)]
            for patient, scores in evaluation.pooled.items()
            for label, values in scores.items()
        ]
        columns = ["patient", "class", *(metric_title(metric) for metric in kept)]
        blocks.append(Table(columns, rows, 2, "All of a patient's images together."))
    return blocks


def _shown_cases(
    evaluation: Evaluation, folder: pathlib.Path, *, view: View, names: Mapping[int, str], count: int
) -> list[Block]:
    """Draws the chosen cases, as files and as blocks of the page."""
    chosen = chosen_cases(evaluation.scores, count)
    budget: Budget | None = None
    blocks: list[Block] = []
    for kind, cases in chosen.items():
        for place, case in enumerate(cases, start=1):
            seen, title = view(case), case_title(case, evaluation.scores[case])
            budget = budget or fitting_budget(seen, sum(map(len, chosen.values())))
            figure = case_figure(
                seen.image,
                seen.prediction,
                reference=seen.reference,
                spacing_mm=seen.spacing_mm,
                names=names,
                title=title,
            )
            save_figure(figure, folder / "pictures" / f"{kind}_{place}_{case}.png")
            blocks += [Heading(f"{kind.capitalize()} {place}", title), *_case_pictures(seen, budget)]
    if blocks:
        classes = {name: label_colour(value) for value, name in names.items() if value > 0}
        blocks.insert(0, Legend({**classes, **{f"errors: {name}": c for name, c in ERROR_COLOURS.items()}}))
    return blocks


def _case_pictures(seen: CaseView, budget: Budget) -> list[Block]:
    slider = slice_slider(seen, budget)
    return [plane_gallery(seen, budget), *([] if slider is None else [slider])]
