"""Trained networks, ready to be applied."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from configs.facts import class_count, model_choice, network_input, plain
from configs.runs import Trained, weights_folders

if TYPE_CHECKING:
    from inference.segmenter import Application, Segmenter


def open_model(
    model: Trained, names: Sequence[str], *, regions: Mapping[str, Sequence[int]], modalities: int
) -> "list[Segmenter]":
    """One segmenter for each run of a model.

    Args:
        model: The runs, and the configuration they were trained with.
        names: Classes, background first.
        regions: Classes of each overlapping region; empty where classes exclude one another.
        modalities: Channels of a case.
    """
    from inference.loading import open_segmenters

    shape, _ = network_input(model.cfg, modalities)
    return open_segmenters(
        model_choice(model.cfg),
        weights=weights_files(model),
        input_shape=shape,
        num_classes=class_count(model.cfg, names[1:], regions=len(regions)),
        application=make_application(model.cfg, len(names), modalities=modalities),
        regions=list(regions.values()) or None,
    )


def make_application(cfg: DictConfig, classes: int, *, modalities: int) -> "Application":
    """How the network is applied to cases of so many classes, background among them."""
    from inference.segmenter import Application

    shape, slices = network_input(cfg, modalities)
    return Application.from_options(
        plain(cfg.INFERENCE), rank=len(shape) - 1, classes=range(1, classes), slices=slices, mirror=cfg.TTA
    )


def weights_files(model: Trained) -> list[pathlib.Path]:
    """The weights file of each run."""
    from inference.loading import checkpoint_path

    return [checkpoint_path(folder, model.cfg.CHECKPOINT) for folder in weights_folders(model)]
