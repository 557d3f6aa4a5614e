"""Segments pictures and volumes with a trained run.

python predict.py MODEL.TYPE=unet3plus INPUT_PATH=<file, folder or [a.png,b.png]>
python predict.py MODEL.TYPE=unet3plus DATASET.VAL.IMAGES_PATH=<folder> DATASET.VAL.MASK_PATH=None
python predict.py MODEL.TYPE=unet FOLD=all TTA=True INPUT_PATH=<folder>      # mean over folds and mirror images
python predict.py experiment=universal_unet DOMAIN=heart INPUT_PATH=<folder> # one domain of a network for many

Files called CASE_0000, CASE_0001 and so on are the channels of a case; so are those of a list in the list. Pictures
give a mask of class indices and an overlay; volumes (NIfTI, NRRD, DICOM) give a NIfTI label on the grid of the input
and a preview; statistics.csv and statistics.json the volumes of all. INFERENCE.SAVE_PROBABILITIES=True and
INFERENCE.SAVE_ENTROPY=True give maps beside them. Results lie in the run's folder, or in PREDICTION_PATH. Finished
inputs are not repeated. JSON=True prints one JSON document instead of words: folder, files, volumes, failures.

Exit code 0: all inputs are predicted; 1: some failed, they are listed, the others are there; 2: the command, the run or
the input does not fit, nothing was done; 130: interrupted, the same command goes on.
"""

import dataclasses
import json
import logging
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from commands.domain_runs import check_network, find_models, narrowed
from commands.predicting import Job, make_job, prepared_here
from configs.entry import entry
from configs.facts import place, places, plain
from data_generators.manifest import fold_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from imaging import Volume
    from inference.cohort import CohortResult
    from inference.inputs import Item
    from inference.probabilities import Probabilities
    from inference.reading import Loaded

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What `predict` did.

    Attributes:
        folder: Where the results are.
        result: Names of finished, skipped and failed inputs.
        figures: Name and picture of the first inputs, where they were asked for.
        cases: Name of every input that is there to its `files` and `volumes`.
    """

    folder: pathlib.Path
    result: "CohortResult"
    figures: list[tuple[str, "Figure"]]
    cases: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict[str, dict[str, Any]])

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON types."""
        result = self.result
        return {
            "folder": str(self.folder),
            "predicted": result.finished,
            "finished_before": result.skipped,
            "failed": result.failed,
            "cases": self.cases,
            "exit_code": result.exit_code,
        }


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
    from inference.probabilities import segment_recorded
    from inference.reading import load, segment
    from reports.progress import progress
    from reports.volumes import class_volumes, write_volumes

    trained = find_models(cfg, folds=fold_count(prepared_here(narrowed(cfg))))
    job = make_job(cfg, trained)
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
            "maps": [cfg.INFERENCE.SAVE_PROBABILITIES, cfg.INFERENCE.SAVE_ENTROPY],
        },
    )
    recorded = cfg.INFERENCE.SAVE_PROBABILITIES or cfg.INFERENCE.SAVE_ENTROPY
    kept: list[tuple[str, Figure]] = []

    def answer(item: "Item", loaded: "Loaded") -> "tuple[Loaded, Volume, Probabilities | None]":
        joined, source = job.joined(loaded), str(item.path)
        if recorded:
            return (loaded, *segment_recorded(joined, job.segmenter, source=source))
        return loaded, segment(joined, job.segmenter, source=source), None

    def write(item: "Item", answered: "tuple[Loaded, Volume, Probabilities | None]") -> None:
        loaded, label, probabilities = answered
        files, figure = _write(job, item, loaded, label)
        if probabilities is not None:
            files += _write_maps(cfg, job, item, probabilities)
        volumes = class_volumes(label, job.names, regions=job.regions)
        ledger.add(item.name, item.files, files, facts={"volumes": volumes})
        if len(kept) < figures:
            kept.append((item.name, figure))

    steps = Steps(
        name=lambda item: item.name,
        read=lambda item: load(item, job.rules),
        predict=answer,
        write=write,
        done=lambda item: not figures and ledger.finished(item.name, *item.files),
    )
    with progress("Predicting", len(items), silent=cfg.VERBOSE == 0) as advance:
        result = run_cohort(items, steps, on_case=advance)
    there = [item.name for item in items if item.name not in result.failed]
    volumes = {name: ledger.facts(name).get("volumes", {}) for name in there}
    write_volumes(job.folder, volumes, names=job.names)
    cases = {name: {"files": [str(path) for path in ledger.files(name)], "volumes": volumes[name]} for name in there}
    return Predictions(job.folder, result, kept, cases)


def check(cfg: DictConfig) -> None:
    """Answers a misspelt network or option before anything slow is imported."""
    check_network(cfg)


def main(cfg: DictConfig) -> int:
    """Predicts, says where the results are (as words or as JSON), lists what failed; 1 if anything did."""
    predictions = predict(cfg)
    result = predictions.result
    if cfg.JSON:
        print(json.dumps(predictions.document(), indent=1, ensure_ascii=False))
        return result.exit_code
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


def _write(job: Job, item: "Item", loaded: "Loaded", label: "Volume") -> "tuple[list[pathlib.Path], Figure]":
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


def _write_maps(cfg: DictConfig, job: Job, item: "Item", probabilities: "Probabilities") -> list[pathlib.Path]:
    """Maps of probabilities and of entropy, where they are asked for."""
    from inference.kept import ENTROPY, PROBABILITIES, write_entropy, write_probabilities

    files: list[pathlib.Path] = []
    if cfg.INFERENCE.SAVE_PROBABILITIES:
        files += write_probabilities(job.folder / PROBABILITIES, item.name, probabilities, classes=job.classes)
    if cfg.INFERENCE.SAVE_ENTROPY:
        files.append(write_entropy(job.folder / ENTROPY, item.name, probabilities))
    return files


if __name__ == "__main__":
    entry(main, checks=(check,))
