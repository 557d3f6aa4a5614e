"""The page of an evaluation: everything in one file, tables and pictures there, nothing loaded."""

import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from page_helpers import read_page

from metrics.cases import case_metrics
from reports.evaluation import Evaluation
from reports.evaluation_page import write_evaluation
from reports.panels import BUDGETS, CaseView, fitting_budget, plane_gallery, slice_slider
from reports.plots import agreement, volume_differences

NAMES = {0: "background", 1: "liver"}
BROWSER = pathlib.Path("/usr/bin/chromium")


def view_of(number, shape=(6, 20, 24)):
    """A box of liver; the prediction of case n is shifted by n rows."""
    reference, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    reference[:, 4:12, 6:14] = 1
    prediction[:, 4 + number : 12 + number, 6:14] = 1
    image = np.random.default_rng(number).normal(size=shape).astype(np.float32)
    return CaseView(image, prediction, reference, (5.0, 1.0, 1.0))


def evaluation_of(count, **more):
    """Cases case0 (right) to the worst."""
    scores = {}
    for number in range(count):
        view = view_of(number)
        scores[f"case{number}"] = case_metrics(
            view.reference, view.prediction, spacing_mm=view.spacing_mm, labels={1: "liver"}
        )
    facts = {"part": "phantom, test cases"}
    return Evaluation(
        scores, {}, {name: name for name in scores}, notes=["Empty masks: not scored."], facts=facts, **more
    )


def write(folder, count=4, *, pictures=1, run=None, **more):
    evaluation = evaluation_of(count, **more)
    show = lambda case: view_of(int(case.removeprefix("case")))  # noqa: E731
    return write_evaluation(evaluation, folder, view=show, names=NAMES, pictures=pictures, run=run)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "history.csv").write_text("epoch,loss,val_dice\n1,2.0,0.5\n2,1.0,0.7\n")
    (folder / "run.json").write_text('{"seed": 7, "sessions": [{"versions": {"keras": "3.15"}, "git_commit": "abc"}]}')
    (folder / "config.yaml").write_text("MODEL:\n  TYPE: <unet>\n")
    failed = {"case9": "no file <case9>: predict it"}
    return write(folder / "evaluation", run=folder, failed=failed)


def test_the_summary_holds_the_statistics_of_every_metric(page):
    table = read_page(page).tables[0]
    assert table[0] == ["class", "metric", "mean", "sd", "median", "quartiles", "95 % interval of the mean", "cases"]
    # Shifted by n of 8 rows: Dice 1, 7/8, 6/8, 5/8.
    dice = next(row for row in table if row[1] == "Dice")
    assert dice[:3] == ["liver", "Dice", "0.812"]
    assert dice[4:6] == ["0.812", "0.719 to 0.906"]
    assert dice[-1] == "4"


def test_cases_are_listed_worst_first(page):
    table = read_page(page).tables[1]
    assert [row[0] for row in table[1:]] == ["case3", "case2", "case1", "case0"]


def test_sections_in_reading_order_failures_first(page):
    assert read_page(page).titles == [
        "1 failed",
        "Summary",
        "Distributions over cases",
        "Agreement of volumes",
        "Worst, median and best cases",
        "Every case",
        "Training",
        "Configuration and environment",
        "How it was measured",
    ]


def test_what_files_say_is_text_and_not_markup(page):
    text = page.read_text()
    assert "&lt;unet&gt;" in text and "<unet>" not in text
    assert "no file &lt;case9&gt;" in text


def test_every_shown_case_has_twelve_planes_and_a_slider(page):
    pictures = [source for source in read_page(page).pictures if source.startswith("data:image/webp")]
    # Worst, median and best: 3 planes x 4 pictures and the strip of slices each.
    assert len(pictures) == 3 * (12 + 1)
    assert page.read_text().count('type="range"') == 3


def test_policy_versions_and_seed_are_told(page):
    words = " ".join(read_page(page).words)
    for told in ("Empty masks: not scored.", "numpy", "surface-distance", "keras 3.15", "abc"):
        assert told in words


def test_pictures_are_also_kept_as_files(page):
    names = sorted(path.name for path in (page.parent / "pictures").iterdir())
    assert names == ["best_1_case0.png", "median_1_case2.png", "worst_1_case3.png"]


def test_a_page_without_any_score_says_so(tmp_path):
    page = write(tmp_path, 0, failed={"case0": "unreadable"})
    assert "No case could be scored." in page.read_text()
    assert read_page(page).titles[0] == "1 failed"


def test_pictures_without_millimetres_have_no_volumes(tmp_path):
    evaluation = evaluation_of(2)
    page = write_evaluation(evaluation, tmp_path, view=lambda _: view_of(0), names=NAMES, pictures=0, unit="pixels")
    found = read_page(page)
    assert "Agreement of volumes" not in found.titles
    assert "HD95 (pixels)" in [row[1] for row in found.tables[0]]
    assert not [row for row in found.tables[0] if "ml" in row[1]]


@pytest.mark.parametrize("shown", [9, 60, 180])
def test_any_number_of_shown_cases_fits_into_eight_megabytes(shown):
    # Noise at full size is the worst that a case can be; half a megabyte is left for plots and tables.
    noise = np.random.default_rng(0)
    image = noise.normal(size=(40, 200, 200)).astype(np.float32)
    label = np.zeros(image.shape, np.uint8)
    label[5:35, 40:160, 60:170] = 1
    view = CaseView(image, label, np.roll(label, 9, axis=2), (3.0, 1.0, 1.0))
    budget = fitting_budget(view, shown)
    size = sum(len(picture.uri) for picture in plane_gallery(view, budget).pictures)
    slider = slice_slider(view, budget)
    size += len(slider.strip) if slider else 0
    assert shown * size < 7.5e6
    assert fitting_budget(view, 1) == BUDGETS[0]


def test_the_slider_starts_at_the_fullest_slice_and_stays_near_the_label():
    reference = np.zeros((100, 8, 8), np.uint8)
    reference[40:60, 2:4, 2:4] = 1
    reference[50, 2:6, 2:6] = 1
    view = CaseView(np.zeros((100, 8, 8)), np.zeros_like(reference), reference)
    slider = slice_slider(view, BUDGETS[0])
    numbers = [int(name.removeprefix("slice ")) for name in slider.names]
    assert (numbers[0], numbers[-1], len(numbers)) == (30, 69, 24)
    assert abs(numbers[slider.start] - 50) <= 1


def test_a_flat_case_has_one_plane_and_no_slider():
    view = view_of(0, shape=(1, 20, 24))
    assert len(plane_gallery(view, BUDGETS[0]).pictures) == 4
    assert slice_slider(view, BUDGETS[0]) is None


def test_limits_of_agreement_by_hand():
    # Differences 1, 3 (the pair with NaN is left out): mean 2, sd sqrt(2).
    mean, difference = volume_differences([10, 20, float("nan")], [11, 23, 5])
    assert mean.tolist() == [10.5, 21.5]
    assert agreement(difference) == pytest.approx((2, 2 - 1.96 * 2**0.5, 2 + 1.96 * 2**0.5))


@pytest.mark.skipif(not BROWSER.is_file(), reason="no /usr/bin/chromium (Debian package chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_every_picture_and_nothing_is_too_wide(page, tmp_path, width):
    # The page is shown in a frame of that width; the probe reads it from the same folder of files.
    probe = """<script>addEventListener("load", () => { const own = document.documentElement;
      const broken = [...document.images].filter((image) => !image.naturalWidth).length;
      const moved = document.querySelector(".slider input"); moved.value = 1; moved.dispatchEvent(new Event("input"));
      document.title = JSON.stringify([document.images.length, broken, own.scrollWidth, innerWidth,
        document.querySelector(".slider output").textContent, performance.getEntriesByType("resource")
        .filter((entry) => !entry.name.startsWith("data:")).length]); });</script></body>"""
    shown = tmp_path / "shown.html"
    shown.write_text(page.read_text().replace("</body>", probe))
    frame = tmp_path / "frame.html"
    frame.write_text(f'<body><iframe src="shown.html" style="width:{width}px;height:900px;border:0"></iframe></body>')
    title = _title_in_browser(shown if width > 600 else frame, tmp_path, width)
    count, broken, wide, inner, said, loaded = title
    assert count == len(read_page(page).pictures) and broken == 0
    assert wide <= inner
    assert said == "slice 1"
    assert loaded == 0


def _title_in_browser(path, folder, width):
    """What the probe wrote into the title; of a frame, its document is printed by way of the parent."""
    import json

    if path.name == "frame.html":
        text = path.read_text().replace(
            "</body>",
            """<script>addEventListener("load", () => setTimeout(() => { document.title =
            document.querySelector("iframe").contentDocument.title; }, 300));</script></body>""",
        )
        path.write_text(text)
    done = subprocess.run(
        [
            str(shutil.which("chromium") or BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            f"--user-data-dir={folder}/profile",
            f"--window-size={width},900",
            "--virtual-time-budget=4000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return json.loads(re.search(r"<title>(\[.*?\])</title>", done.stdout).group(1).replace("&quot;", '"'))
