"""walkthrough.ipynb runs from top to bottom on a tiny collection of its own: prepared, trained twice, compared."""

import pytest

nbformat = pytest.importorskip("nbformat")

TINY = """
experiment=demo VERBOSE=0 INPUT.HEIGHT=32 INPUT.WIDTH=32 MODEL.FILTERS=[4,4,4,4,4] HYPER_PARAMETERS.EPOCHS=1
HYPER_PARAMETERS.STEPS_PER_EPOCH=2 HYPER_PARAMETERS.BATCH_SIZE=2 DATA_PREPARATION.PHANTOM.CASES=4
DATA_PREPARATION.PHANTOM.SIZE=[12,32,32] DATA_PREPARATION.PHANTOM.SPACING_MM=[14,10,10] DATA_PREPARATION.WORKERS=1
DATA_GENERATOR_TYPE=SEQUENCE LOSS.TYPE=dice_ce
"""


@pytest.mark.slow
def test_it_runs_and_shows_the_figures_of_the_pages(project, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("WALKTHROUGH_COMMON", f"WORK_DIR={tmp_path} {' '.join(TINY.split())}")
    monkeypatch.setenv("WALKTHROUGH_CHANGE", "SEED=6")
    notebook = nbformat.read(project / "walkthrough.ipynb", as_version=4)
    resources = {"metadata": {"path": str(project)}}
    nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    # Intensities; distributions, calibration and cases of the second run; the comparison.
    assert [text.count("<img") > 0 for text in shown] == [True] * 5
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    said = "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")
    assert said.count("Dice of liver") == 2
    (page,) = (tmp_path / "outputs" / "comparisons").glob("*/report.html")
    assert str(page) in said
    assert len(list((tmp_path / "outputs").glob("walkthrough_*/evaluation/report.html"))) == 2
