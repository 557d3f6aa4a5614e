"""Segments pictures and volumes with a trained run.

python predict.py MODEL.TYPE=unet3plus INPUT_PATH=<file, folder or [a.png,b.png]>
python predict.py MODEL.TYPE=unet3plus DATASET.VAL.IMAGES_PATH=<folder> DATASET.VAL.MASK_PATH=None

Pictures give a mask of class indices and an overlay; volumes (NIfTI, NRRD, DICOM) give a NIfTI label on the grid of the
input and a preview. Results lie in the run's folder, or in PREDICTION_PATH. Finished inputs are not repeated.
"""

import dataclasses
import logging
import pathlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from configs.entry import entry
from configs.facts import class_count, model_choice, place, places, plain, slices_and_channels
from configs.runs import find_run, with_run
from data_generators.labels import label_lut
from data_generators.manifest import load_manifest
from data_generators.records import Manifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from imaging import Volume
    from inference.cohort import CohortResult
    from inference.inputs import Item
    from inference.prepare import InputRecipe
    from inference.reading import Loaded, Rules
    from inference.segmenter import Segmenter

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What `predict` did.

    Attributes:
        folder: Where the results are.
        result: Names of finished, skipped and failed inputs.
        figures: Name and picture of the first inputs, where they were asked for.
    """

    folder: pathlib.Path
    result: "CohortResult"
    figures: list[tuple[str, "Figure"]]


@dataclasses.dataclass(frozen=True)
class _Job:
    """Everything that reading, predicting and writing an input needs."""

    segmenter: "Segmenter"
    rules: "Rules"
    names: dict[int, str]
    folder: pathlib.Path
    centre_only: bool


def predict(cfg: DictConfig, *, figures: int = 0) -> Predictions:
    """Segments what `INPUT_PATH`, or else `DATASET.VAL.IMAGES_PATH`, names.

    Args:
        cfg: A composed configuration, see `configs.compose`.
        figures: Keep the pictures of so many inputs, for a notebook. They are drawn anew even where nothing is left to
            predict.

    Returns:
        The folder of the results, what became of every input, and the kept figures.

    Raises:
        ValueError: There is no such run, no input, or masks that do not fit.
    """
    from inference.cohort import Steps, run_cohort
    from inference.inputs import find_items
    from inference.ledger import Ledger, stamp
    from inference.reading import load, segment

    run = find_run(cfg)
    cfg = with_run(cfg, run)
    images, masks = _paths(cfg)
    items = find_items(images, masks)
    job, weights = _job(cfg, run)
    ledger = Ledger(
        job.folder / "predictions.json",
        {
            "weights": stamp(weights),
            "application": dataclasses.asdict(job.segmenter.application),
            "masks": masks is not None,
            "centre_only": job.centre_only,
            "heads": plain(cfg.INFERENCE.HEADS),
        },
    )
    kept: list[tuple[str, Figure]] = []

    def write(item: "Item", answer: "tuple[Loaded, Volume]") -> None:
        files, figure = _write(job, item, *answer)
        ledger.add(item.name, item.path, files)
        if len(kept) < figures:
            kept.append((item.name, figure))

    steps = Steps(
        name=lambda item: item.name,
        read=lambda item: load(item, job.rules),
        predict=lambda item, loaded: (loaded, segment(loaded, job.segmenter, source=str(item.path))),
        write=write,
        done=lambda item: not figures and ledger.finished(item.name, item.path),
    )
    result = _with_progress(run_cohort, items, steps, silent=cfg.VERBOSE == 0)
    return Predictions(job.folder, result, kept)


def check(cfg: DictConfig) -> None:
    """Answers a misspelt network or option before anything slow is imported."""
    from models import check_options

    check_options(*model_choice(cfg))


def main(cfg: DictConfig) -> int:
    """Predicts, says where the results are, lists what failed; 1 if anything did."""
    predictions = predict(cfg)
    result = predictions.result
    print(f"{len(result.finished)} predicted, {len(result.skipped)} finished before: {predictions.folder}")
    for name, message in result.failed.items():
        print(f"Failed: {name}: {message}", file=sys.stderr)
    return result.exit_code


def _with_progress(run_cohort: Any, items: list[Any], steps: Any, *, silent: bool) -> "CohortResult":
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns, console = (*Progress.get_default_columns(), MofNCompleteColumn()), Console(stderr=True)
    with Progress(*columns, console=console, disable=silent, transient=True) as bar:
        task = bar.add_task("Predicting", total=len(items))
        return run_cohort(items, steps, on_case=lambda _name: bar.advance(task))


def _paths(cfg: DictConfig) -> tuple[Any, Any]:
    """Images and masks. With `INPUT_PATH`, masks are only used where they were typed as well."""
    typed = any(str(override).startswith("DATASET.VAL.MASK_PATH=") for override in cfg.OVERRIDES)
    if cfg.INPUT_PATH is not None:
        return places(cfg, cfg.INPUT_PATH), places(cfg, cfg.DATASET.VAL.MASK_PATH) if typed else None
    return places(cfg, cfg.DATASET.VAL.IMAGES_PATH), places(cfg, cfg.DATASET.VAL.MASK_PATH)


def _job(cfg: DictConfig, run: pathlib.Path) -> tuple[_Job, pathlib.Path]:
    """The trained network and how inputs are read; and its weights file."""
    from inference.loading import checkpoint_path, open_segmenter
    from inference.reading import Rules, picture_options

    manifest = _manifest(cfg)
    table, names = label_lut(manifest.labels if manifest else {}, plain(cfg.DATASET.LABELS))
    modalities = len(manifest.channels) if manifest else 1
    slices, channels = slices_and_channels(cfg, modalities)
    saved = cfg.CALLBACKS.MODEL_CHECKPOINT.PATH
    weights = checkpoint_path(place(cfg, saved) if saved else run / "checkpoints", cfg.CHECKPOINT)
    segmenter = open_segmenter(
        model_choice(cfg),
        weights=weights,
        input_shape=(*(plain(cfg.INPUT.PATCH) or (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH)), channels),
        num_classes=class_count(cfg, names[1:]),
        foreground=len(names) - 1,
        options=plain(cfg.INFERENCE),
        slices=slices,
        mirror=cfg.TTA,
    )
    recipe = _recipe(cfg, manifest, modalities)
    size = (recipe.height, recipe.width) if recipe.height and recipe.width else None
    if cfg.DATASET.PREPARED_PATH is None:
        size = None
    pictures = picture_options(plain(cfg.PREPROCESS_DATA), channels=channels, table=table, size=size)
    job = _Job(
        segmenter=segmenter,
        rules=Rules(recipe, pictures, table),
        names=dict(enumerate(names)),
        folder=_folder(cfg, run),
        centre_only=bool(cfg.SHOW_CENTER_CHANNEL_IMAGE),
    )
    return job, weights


def _folder(cfg: DictConfig, run: pathlib.Path) -> pathlib.Path:
    """Where results go; an absolute folder need not exist yet."""
    if cfg.PREDICTION_PATH is None:
        return run / "predictions"
    wanted = pathlib.Path(cfg.PREDICTION_PATH).expanduser()
    return wanted if wanted.is_absolute() else place(cfg, wanted)


def _manifest(cfg: DictConfig) -> Manifest | None:
    """The collection the run was trained on, where it is still there."""
    folder = None if cfg.DATASET.PREPARED_PATH is None else place(cfg, cfg.DATASET.PREPARED_PATH)
    return load_manifest(folder) if folder is not None and (folder / "manifest.json").is_file() else None


def _recipe(cfg: DictConfig, manifest: Manifest | None, modalities: int) -> "InputRecipe":
    """What was done to the training cases: the manifest says it, and without one the run's configuration."""
    from inference.prepare import InputRecipe

    if manifest is not None:
        size = manifest.preparation.get("height"), manifest.preparation.get("width")
        return InputRecipe(*size, intensity=manifest.intensity, channels=modalities)
    preparation = plain(cfg.DATA_PREPARATION)
    window = [preparation["SCAN_MIN_VALUE"], preparation["SCAN_MAX_VALUE"]]
    size = preparation["RESIZED_HEIGHT"], preparation["RESIZED_WIDTH"]
    return InputRecipe(*size, intensity={"kind": "window", "window_hu": window}, channels=modalities)


def _write(job: _Job, item: "Item", loaded: "Loaded", label: "Volume") -> "tuple[list[pathlib.Path], Figure]":
    from imaging import write_volume
    from inference.reading import as_shown
    from reports.figures import save_figure

    seen = as_shown(label, loaded)
    if item.kind == "picture":
        figure = _picture_figure(job, item, loaded, seen)
        picture = save_figure(figure, job.folder / "overlays" / f"{item.name}.png")
        return [write_volume(job.folder / "masks" / f"{item.name}.png", label), picture], figure
    figure = _volume_figure(job, item, loaded, seen)
    picture = save_figure(figure, job.folder / "previews" / f"{item.name}.png")
    return [write_volume(job.folder / f"{item.name}.nii.gz", label, labels=job.names), picture], figure


def _volume_figure(job: _Job, item: "Item", loaded: "Loaded", seen: np.ndarray) -> "Figure":
    from reports.montage import case_figure, slice_montage

    if loaded.reference is None and seen.shape[0] > 1:
        return slice_montage(loaded.grey(), seen, names=job.names, title=item.name)
    return case_figure(
        loaded.grey(),
        seen,
        reference=loaded.reference,
        spacing_mm=loaded.spacing_mm,
        names=job.names,
        title=item.name,
    )


def _picture_figure(job: _Job, item: "Item", loaded: "Loaded", seen: np.ndarray) -> "Figure":
    """Image, true mask where there is one, prediction: as the predecessor showed them."""
    from reports.figures import add_label_legend, panels
    from reports.overlays import display_window, grey_picture, overlay

    image = loaded.shown
    if job.centre_only or image.shape[-1] == 1:
        image = image[..., image.shape[-1] // 2]
    stored = (0.0, 255.0) if 1 < loaded.shown.max() <= 255 else display_window(image)
    picture = grey_picture(image, window=stored)
    shown = [("image", picture), ("prediction", overlay(picture, seen[0]))]
    if loaded.reference is not None:
        shown.insert(1, ("true mask", overlay(picture, loaded.reference[0])))
    figure = panels(shown, title=item.name)
    add_label_legend(figure, job.names)
    return figure


if __name__ == "__main__":
    entry(main, checks=(check,))
