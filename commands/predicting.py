"""What predicting an input needs: the networks, how inputs are read, where results go."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from commands.applying import open_model, weights_files
from commands.cascade import cascaded, open_first_stage
from commands.domain_runs import known_facts, results_folder
from configs.facts import network_input, place, plain, prepared_at
from configs.runs import Trained, cross_validation, known_cross_validation
from data_generators.labels import label_lut
from data_generators.manifest import load_manifest
from data_generators.records import Manifest
from data_generators.regions import class_regions

if TYPE_CHECKING:
    from inference.cascade import FirstStage
    from inference.decision import Decision
    from inference.prepare import InputRecipe
    from inference.reading import Loaded, Rules
    from inference.segmenter import Segmenter

_LOG = logging.getLogger("predict")


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that reading, predicting and writing an input needs."""

    segmenter: "Segmenter"
    rules: "Rules"
    names: dict[int, str]
    folder: pathlib.Path
    centre_only: bool
    channels: tuple[str, ...]
    weights: tuple[pathlib.Path, ...]
    first: "FirstStage | None" = None
    regions: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict[str, tuple[int, ...]])

    @property
    def classes(self) -> dict[str, tuple[int, ...]]:
        """Name to class values of what the networks answer: the regions, or else the foreground classes."""
        return dict(self.regions) or {name: (value,) for value, name in self.names.items() if value != 0}

    def joined(self, loaded: "Loaded") -> "Loaded":
        """The input as the networks take it: of a cascade with what the first stage finds."""
        return loaded if self.first is None else self.first.joined(loaded)


def make_job(cfg: DictConfig, trained: list[Trained]) -> Job:
    """The trained networks and how inputs are read."""
    from inference.cascade import FirstStage
    from inference.loading import averaged
    from inference.reading import Rules, picture_options

    main_cfg, run = trained[0].cfg, trained[0].runs[0]
    manifest = _manifest(main_cfg, run)
    table, names = label_lut(manifest.labels if manifest else {}, plain(main_cfg.DATASET.LABELS))
    regions = class_regions(plain(main_cfg.DATASET.REGIONS), manifest=manifest, table=table, names=names)
    modalities = tuple(manifest.channels) if manifest else ("",)
    weights = [weights_files(model) for model in trained]
    decision = _decision(cfg, trained, weights)
    cascade = cascaded(trained)
    first = None if cascade is None else open_first_stage(cascade)
    opened = [
        open_model(model, names, regions=regions, modalities=len(modalities), joined=first is not None)
        for model in trained
    ]
    segmenter = averaged([segmenter for members in opened for segmenter in members])
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
    return Job(
        segmenter=segmenter,
        rules=Rules(recipe, pictures, table, first and _recipe(main_cfg, first.manifest, len(modalities))),
        names=dict(enumerate(names)),
        folder=_folder(main_cfg, trained),
        centre_only=bool(main_cfg.SHOW_CENTER_CHANNEL_IMAGE),
        channels=modalities,
        weights=tuple(path for files in [*weights, first.weights if first else []] for path in files),
        first=None if first is None else FirstStage(first.segmenter),
        regions=regions,
    )


def _decision(cfg: DictConfig, trained: list[Trained], weights: list[list[pathlib.Path]]) -> "Decision | None":
    """The post-processing that was asked for, or that the cross-validation of these very weights decided."""
    from inference.decision import load_decision
    from inference.ledger import stamp
    from inference.universal import PUBLISHED

    wanted = trained[0].cfg.INFERENCE.POSTPROCESSING
    if wanted not in (None, "auto", PUBLISHED):
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
        if cfg.FOLD == "all" or len(trained) > 1:
            return cross_validation(cfg, trained) / "predictions"
        return results_folder(trained[0].runs[0], "predictions", cfg)
    wanted = pathlib.Path(cfg.PREDICTION_PATH).expanduser()
    return wanted if wanted.is_absolute() else place(cfg, wanted)


def _manifest(cfg: DictConfig, run: pathlib.Path) -> Manifest | None:
    """The collection the run was trained on, or what the run remembers of it."""
    folder = prepared_here(cfg)
    return load_manifest(folder) if folder else known_facts(run, cfg) if cfg.DATASET.PREPARED_PATH is not None else None


def prepared_here(cfg: DictConfig) -> pathlib.Path | None:
    """The prepared collection, where it is at hand."""
    return prepared_at(cfg)


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
