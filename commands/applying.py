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
    model: Trained,
    names: Sequence[str],
    *,
    regions: Mapping[str, Sequence[int]],
    modalities: int,
    joined: bool = False,
) -> "list[Segmenter]":
    """One segmenter for each run of a model.

    Args:
        model: The runs, and the configuration they were trained with.
        names: Classes, background first.
        regions: Classes of each overlapping region; empty where classes exclude one another.
        modalities: Channels of a case.
        joined: Images have what the first stage of a cascade found as a last channel.
    """
    from inference.cascade import for_joined
    from inference.loading import open_segmenters

    shape, slices = network_input(model.cfg, modalities)
    further = len(names) - 1 if model.cfg.CASCADE else 0
    segmenters = open_segmenters(
        model_choice(model.cfg),
        weights=weights_files(model),
        input_shape=(*shape[:-1], shape[-1] + further),
        num_classes=class_count(model.cfg, names[1:], regions=len(regions)),
        application=make_application(model.cfg, len(names), modalities=modalities),
        regions=list(regions.values()) or None,
    )
    return [for_joined(one, classes=further, slices=slices) for one in segmenters] if joined or further else segmenters


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
