"""Trained networks, ready to be applied."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from commands.domain_runs import chosen_network, unified_size
from configs.facts import class_count, network_input, plain
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
    from inference.unified import unified

    (*patch, _), slices = network_input(model.cfg, modalities)
    further = len(names) - 1 if model.cfg.CASCADE else 0
    outputs = class_count(model.cfg, names[1:], regions=len(regions))
    size = unified_size(model)
    segmenters = open_segmenters(
        chosen_network(model.cfg, channels=modalities, outputs=outputs),
        weights=weights_files(model),
        input_shape=(*(size or patch), modalities * slices + further),
        num_classes=outputs,
        application=make_application(model.cfg, names, modalities=modalities),
        regions=list(regions.values()) or None,
    )
    if size is not None:
        return [unified(one, (patch[0], patch[1], patch[2])) for one in segmenters]
    return [for_joined(one, classes=further, slices=slices) for one in segmenters] if joined or further else segmenters


def make_application(cfg: DictConfig, names: Sequence[str], *, modalities: int) -> "Application":
    """How the network is applied to cases of these classes, background first."""
    from inference.segmenter import Application
    from inference.universal import PUBLISHED, published_cleaning

    shape, slices = network_input(cfg, modalities)
    classes = range(1, len(names))
    how = Application.from_options(
        plain(cfg.INFERENCE), rank=len(shape) - 1, classes=classes, slices=slices, mirror=cfg.TTA
    )
    if cfg.INFERENCE.POSTPROCESSING != PUBLISHED:
        return how
    return dataclasses.replace(how, postprocessing=published_cleaning(names, domain=cfg.DOMAIN))


def weights_files(model: Trained) -> list[pathlib.Path]:
    """The weights file of each run."""
    from inference.loading import checkpoint_path

    return [checkpoint_path(folder, model.cfg.CHECKPOINT) for folder in weights_folders(model)]
