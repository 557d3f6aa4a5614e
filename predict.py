"""Segments pictures and volumes with a trained run.

python predict.py MODEL.TYPE=unet3plus INPUT_PATH=<file, folder or [a.png,b.png]>
python predict.py MODEL.TYPE=unet3plus DATASET.VAL.IMAGES_PATH=<folder> DATASET.VAL.MASK_PATH=None
python predict.py MODEL.TYPE=unet FOLD=all TTA=True INPUT_PATH=<folder>      # mean over folds and mirror images

Files called CASE_0000, CASE_0001 and so on are the channels of a case; so are those of a list in the list. Pictures
give a mask of class indices and an overlay; volumes (NIfTI, NRRD, DICOM) give a NIfTI label on the grid of the input
and a preview; statistics.csv the volumes of all. Results lie in the run's folder, or in PREDICTION_PATH. Finished
inputs are not repeated.
"""

import dataclasses
import logging
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from configs.entry import entry
from configs.facts import class_count, model_choice, network_input, place, places, plain
from configs.runs import Trained, cross_validation, find_trained, known_cross_validation, weights_folders
from data_generators.labels import label_lut
from data_generators.manifest import fold_count, load_facts, load_manifest
from data_generators.records import Manifest
from data_generators.regions import class_regions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from imaging import Volume
    from inference.cohort import CohortResult
    from inference.decision import Decision
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
    channels: tuple[str, ...]
    weights: tuple[pathlib.Path, ...]


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
    from reports.progress import progress
    from reports.volumes import class_volumes, write_volumes

    trained = find_trained(cfg, folds=fold_count(_prepared(cfg)))
    job = _job(cfg, trained)
    cfg = trained[0].cfg
    images, masks = _paths(cfg)
    items = find_items(images, masks, channels=job.channels)
    ledger = Ledger(
        job.folder / "predictions.json",
        {
            "weights": [stamp(path) for path in job.weights],
            "application": dataclasses.asdict(job.segmenter.application),
            "masks": masks is not None,
            "centre_only": job.centre_only,
            "heads": plain(cfg.INFERENCE.HEADS),
        },
    )
    kept: list[tuple[str, Figure]] = []

    def write(item: "Item", answer: "tuple[Loaded, Volume]") -> None:
        files, figure = _write(job, item, *answer)
        ledger.add(item.name, item.files, files, facts={"volumes": class_volumes(answer[1], job.names)})
        if len(kept) < figures:
            kept.append((item.name, figure))

    steps = Steps(
        name=lambda item: item.name,
        read=lambda item: load(item, job.rules),
        predict=lambda item, loaded: (loaded, segment(loaded, job.segmenter, source=str(item.path))),
        write=write,
        done=lambda item: not figures and ledger.finished(item.name, *item.files),
    )
    with progress("Predicting", len(items), silent=cfg.VERBOSE == 0) as advance:
        result = run_cohort(items, steps, on_case=advance)
    done = {item.name: ledger.facts(item.name) for item in items if item.name not in result.failed}
    write_volumes(job.folder, {name: facts["volumes"] for name, facts in done.items() if facts}, names=job.names)
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


def _paths(cfg: DictConfig) -> tuple[Any, Any]:
    """Images and masks. With `INPUT_PATH`, masks are only used where they were typed as well."""
    typed = any(str(override).startswith("DATASET.VAL.MASK_PATH=") for override in cfg.OVERRIDES)
    if cfg.INPUT_PATH is not None:
        return _input_places(cfg, cfg.INPUT_PATH), places(cfg, cfg.DATASET.VAL.MASK_PATH) if typed else None
    return _input_places(cfg, cfg.DATASET.VAL.IMAGES_PATH), places(cfg, cfg.DATASET.VAL.MASK_PATH)


def _input_places(cfg: DictConfig, value: Any) -> Any:
    """`places`, where a list may hold a list of the channels of a case."""
    if value is None or isinstance(value, str):
        return places(cfg, value)
    return [place(cfg, item) if isinstance(item, str) else places(cfg, item) for item in plain(value)]


def _job(cfg: DictConfig, trained: list[Trained]) -> _Job:
    """The trained networks and how inputs are read."""
    from inference.loading import averaged, checkpoint_path
    from inference.reading import Rules, picture_options

    main_cfg, run = trained[0].cfg, trained[0].runs[0]
    manifest = _manifest(main_cfg, run)
    table, names = label_lut(manifest.labels if manifest else {}, plain(main_cfg.DATASET.LABELS))
    regions = class_regions(plain(main_cfg.DATASET.REGIONS), manifest=manifest, table=table, names=names)
    modalities = tuple(manifest.channels) if manifest else ("",)
    weights = [
        [checkpoint_path(folder, model.cfg.CHECKPOINT) for folder in weights_folders(model)] for model in trained
    ]
    decision = _decision(cfg, trained, weights)
    opened = [
        segmenter
        for model, files in zip(trained, weights, strict=True)
        for segmenter in _segmenters(model.cfg, files, names, regions, len(modalities))
    ]
    segmenter = averaged(opened)
    if decision is not None:
        _LOG.info("%s", decision.sentence())
        segmenter = segmenter.with_largest_of(decision.largest_of)
    recipe = _recipe(main_cfg, manifest, len(modalities))
    size = (recipe.height, recipe.width) if recipe.height and recipe.width else None
    if main_cfg.DATASET.PREPARED_PATH is None:
        size = None
    channels = network_input(main_cfg, len(modalities))[0][-1]
    channels = channels if channels in (1, 3) else 1  # of a picture; the network refuses another number
    pictures = picture_options(plain(main_cfg.PREPROCESS_DATA), channels=channels, table=table, size=size)
    return _Job(
        segmenter=segmenter,
        rules=Rules(recipe, pictures, table),
        names=dict(enumerate(names)),
        folder=_folder(main_cfg, trained),
        centre_only=bool(main_cfg.SHOW_CENTER_CHANNEL_IMAGE),
        channels=modalities,
        weights=tuple(path for files in weights for path in files),
    )


def _segmenters(
    cfg: DictConfig, weights: list[pathlib.Path], names: tuple[str, ...], regions: Any, modalities: int
) -> "list[Segmenter]":
    """One for every set of weights of a model."""
    from inference.loading import open_segmenters
    from inference.segmenter import Application

    shape, slices = network_input(cfg, modalities)
    application = Application.from_options(
        plain(cfg.INFERENCE), rank=len(shape) - 1, classes=range(1, len(names)), slices=slices, mirror=cfg.TTA
    )
    return open_segmenters(
        model_choice(cfg),
        weights=weights,
        input_shape=shape,
        num_classes=class_count(cfg, names[1:], regions=len(regions)),
        application=application,
        regions=list(regions.values()) or None,
    )


def _decision(cfg: DictConfig, trained: list[Trained], weights: list[list[pathlib.Path]]) -> "Decision | None":
    """The post-processing that was asked for, or that the cross-validation of these very weights decided."""
    from inference.decision import load_decision
    from inference.ledger import stamp

    wanted = trained[0].cfg.INFERENCE.POSTPROCESSING
    if wanted not in (None, "auto"):
        return load_decision(place(cfg, wanted))[0]
    folder = known_cross_validation(cfg, trained) if wanted == "auto" and cfg.FOLD == "all" else None
    if folder is None or not (folder / "postprocessing.json").is_file():
        return None
    decision, facts = load_decision(folder / "postprocessing.json")
    if facts.get("settings") != [[stamp(path) for path in files] for files in weights]:
        _LOG.warning("%s was decided with other weights: type `python evaluate.py ... FOLD=all` again.", folder)
        return None
    return decision


def _folder(cfg: DictConfig, trained: list[Trained]) -> pathlib.Path:
    """Where results go; an absolute folder need not exist yet. Those of folds lie beside their cross-validation."""
    if cfg.PREDICTION_PATH is None:
        several = cfg.FOLD == "all" or len(trained) > 1
        return (cross_validation(cfg, trained) if several else trained[0].runs[0]) / "predictions"
    wanted = pathlib.Path(cfg.PREDICTION_PATH).expanduser()
    return wanted if wanted.is_absolute() else place(cfg, wanted)


def _manifest(cfg: DictConfig, run: pathlib.Path) -> Manifest | None:
    """The collection the run was trained on, or what the run remembers of it."""
    folder = _prepared(cfg)
    return load_manifest(folder) if folder else load_facts(run) if cfg.DATASET.PREPARED_PATH is not None else None


def _prepared(cfg: DictConfig) -> pathlib.Path | None:
    """The prepared collection, where it is at hand."""
    folder = None if cfg.DATASET.PREPARED_PATH is None else place(cfg, cfg.DATASET.PREPARED_PATH)
    return folder if folder is not None and (folder / "manifest.json").is_file() else None


def _recipe(cfg: DictConfig, manifest: Manifest | None, modalities: int) -> "InputRecipe":
    """What was done to the training cases: the manifest says it, and without one the run's configuration."""
    from inference.prepare import InputRecipe

    preparation, given = plain(cfg.DATA_PREPARATION), plain(cfg.DATA_PREPARATION.SPACING_MM)
    spacing = None if given is None else (float(given[0]), float(given[1]), float(given[2]))
    if manifest is not None:
        size = manifest.preparation.get("height"), manifest.preparation.get("width")
        return InputRecipe(*size, intensity=manifest.intensity, channels=modalities, spacing_mm=spacing)
    window = [preparation["SCAN_MIN_VALUE"], preparation["SCAN_MAX_VALUE"]]
    size = preparation["RESIZED_HEIGHT"], preparation["RESIZED_WIDTH"]
    intensity = {"kind": "window", "window_hu": window}
    return InputRecipe(*size, intensity=intensity, channels=modalities, spacing_mm=spacing)


def _write(job: _Job, item: "Item", loaded: "Loaded", label: "Volume") -> "tuple[list[pathlib.Path], Figure]":
    from imaging import write_volume
    from inference.reading import as_shown
    from reports.figures import save_figure
    from reports.results import picture_figure, volume_figure

    seen = as_shown(label, loaded)
    common: dict[str, Any] = {"names": job.names, "title": item.name, "reference": loaded.reference}
    if loaded.geometry is None:
        figure = picture_figure(loaded.shown, seen, centre_only=job.centre_only, **common)
    else:
        figure = volume_figure(loaded.grey(), seen, spacing_mm=loaded.spacing_mm, **common)
    if item.kind == "picture":
        picture = save_figure(figure, job.folder / "overlays" / f"{item.name}.png")
        return [write_volume(job.folder / "masks" / f"{item.name}.png", label), picture], figure
    picture = save_figure(figure, job.folder / "previews" / f"{item.name}.png")
    return [write_volume(job.folder / f"{item.name}.nii.gz", label, labels=job.names), picture], figure


if __name__ == "__main__":
    entry(main, checks=(check,))
