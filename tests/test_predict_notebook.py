"""predict.ipynb runs from top to bottom on a run of its own, and is committed without outputs."""

import nbformat
import pytest
from inference_cases import SIZE, overrides, write_case

from configs import compose
from configs.runs import save_config
from imaging import Volume, write_volume


def test_it_is_committed_without_outputs(project):
    notebook = nbformat.read(project / "predict.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def make_trained_run(work):
    """The run folder that training leaves behind, with untrained weights of a tiny network."""
    from models import build_model

    cfg = compose(overrides(work, "RUN_NAME=run"))
    run = work / "outputs" / "run"
    (run / "checkpoints").mkdir(parents=True)
    save_config(cfg, run)
    network = build_model("unet3plus", input_shape=(SIZE, SIZE, 3), num_classes=2, filters=[4, 4, 4, 4, 4])
    network.save_weights(run / "checkpoints" / "best.weights.h5")


def write_picture(path, rng, high):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = rng.integers(0, high, (1, SIZE, SIZE)).astype("uint8")
    write_volume(path, Volume(array, [[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], has_geometry=False))


@pytest.mark.slow
def test_it_runs_in_both_modes_and_on_a_volume(project, tmp_path, rng, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    make_trained_run(tmp_path)
    for index in range(2):
        write_picture(tmp_path / "images" / f"image_{index}.png", rng, 255)
        write_picture(tmp_path / "mask" / f"mask_{index}.png", rng, 2)
    write_case(tmp_path / "ct", 0)
    monkeypatch.setenv("PREDICT_OVERRIDES", " ".join(f"'{text}'" for text in overrides(tmp_path, "RUN_NAME=run")))
    monkeypatch.setenv("PREDICT_IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("PREDICT_MASKS", str(tmp_path / "mask"))
    monkeypatch.setenv("PREDICT_VOLUME", str(tmp_path / "ct" / "volume-0.nii.gz"))
    notebook = nbformat.read(project / "predict.ipynb", as_version=4)
    resources = {"metadata": {"path": str(project)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    texts = "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")
    # Two pictures with masks, the same two without, one volume.
    assert len(pictures) == 5
    assert texts.count("2 results in") == 2
    assert "1 results in" in texts
    assert (tmp_path / "outputs" / "run" / "predictions" / "volume-0.nii.gz").is_file()
