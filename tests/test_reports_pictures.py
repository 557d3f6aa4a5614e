"""Figures: planes the right way up, files written whole, nothing left open."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.curves import draw_curves, read_history
from reports.figures import panels, save_figure
from reports.montage import case_figure, plane, plane_aspect, slice_montage


@pytest.fixture
def volume():
    """Canonical 4 x 5 x 6: each voxel holds 100 d + 10 h + w."""
    d, h, w = np.meshgrid(range(4), range(5), range(6), indexing="ij")
    return 100 * d + 10 * h + w


def test_axial_rows_run_back_and_columns_left(volume):
    assert plane(volume, "axial", 2)[1, 3] == 213


def test_coronal_and_sagittal_have_the_head_up(volume):
    # Row 0 is the last, most superior slice.
    assert plane(volume, "coronal", 4)[0, 2] == 342
    assert plane(volume, "sagittal", 5)[0, 1] == 315
    assert plane(volume, "sagittal", 5)[3, 0] == 5


def test_an_unknown_plane_is_refused(volume):
    with pytest.raises(ValueError, match="axial, coronal, sagittal"):
        plane(volume, "frontal", 0)


def test_pixels_are_as_high_as_the_spacing_says():
    assert plane_aspect("axial", (5.0, 0.8, 0.8)) == 1.0
    assert plane_aspect("coronal", (5.0, 0.8, 0.5)) == 10.0
    assert plane_aspect("sagittal", (5.0, 0.8, 0.5)) == 6.25


def axes_count(figure):
    return len(figure.axes)


def test_a_case_with_reference_shows_three_planes_in_four_columns(volume):
    label = (volume % 7 == 0).astype(np.uint8)
    assert axes_count(case_figure(volume, label, reference=label, names={1: "liver"}, title="case")) == 12


def test_a_case_without_reference_shows_two_columns(volume):
    assert axes_count(case_figure(volume, np.zeros_like(volume))) == 6


def test_a_flat_case_shows_one_plane(volume):
    assert axes_count(case_figure(volume[:1], np.zeros_like(volume[:1]))) == 2


def test_arrays_on_different_grids_are_refused(volume):
    with pytest.raises(ValueError, match="one grid"):
        case_figure(volume, np.zeros((4, 6, 5), np.uint8))


def test_a_montage_shows_the_labelled_part(volume):
    label = np.zeros_like(volume)
    label[1:3] = 1
    figure = slice_montage(volume, label, count=8)
    assert [axes.get_title() for axes in figure.axes] == ["slice 1", "slice 2"]


def test_a_montage_of_an_empty_label_shows_the_volume(volume):
    assert axes_count(slice_montage(volume, np.zeros_like(volume), count=3)) == 3


def test_a_figure_is_written_whole(tmp_path):
    figure = panels([("a", np.zeros((4, 4, 3), np.uint8)), ("b", np.zeros((4, 4, 3), np.uint8))], title="t")
    path = save_figure(figure, tmp_path / "deep" / "a.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_nothing_uses_pyplot(tmp_path, volume):
    save_figure(case_figure(volume, np.zeros_like(volume)), tmp_path / "a.png")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def history(figures):
    return {
        "epoch": [0, 1, 2],
        "loss": [3.0, 2.0, 1.0],
        "val_loss": [3.5, float("nan"), 2.0],
        "dice": [0.1, 0.5, 0.7],
        "val_dice": [0.1, 0.4, 0.6],
        "learning_rate": [1e-3, 5e-4, 1e-4],
    }


def test_curves_have_a_panel_each_for_loss_scores_and_rate(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), path.write_bytes(b""))[1])
    draw_curves(history(1), tmp_path / "curves.png")
    titles = {axes.get_title(): sorted(line.get_label() for line in axes.lines) for axes in drawn[0].axes}
    assert titles == {
        "loss": ["loss", "val_loss"],
        "scores": ["dice", "val_dice"],
        "learning rate": ["learning_rate"],
    }


def test_curves_are_drawn_from_a_csv_file_with_gaps(tmp_path):
    file = tmp_path / "history.csv"
    file.write_text("epoch,loss,val_dice,note\n0,1.5,,a\n1,1.0,0.25,b\n")
    assert read_history(file)["loss"] == [1.5, 1.0]
    assert "note" not in read_history(file)
    assert draw_curves(file, tmp_path / "curves.png").stat().st_size > 1000


def test_an_empty_history_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train for one epoch"):
        draw_curves({"epoch": [], "loss": []}, tmp_path / "curves.png")
