"""A picture of what the augmentation recipe does, at the start of a run."""

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

GALLERY = "augmentation.png"
_LOG = logging.getLogger("train")


def draw_augmentation(cfg: DictConfig, loader: Any, run: pathlib.Path, *, class_names: Sequence[str]) -> None:
    """Writes `augmentation.png` into a run, once, where samples are augmented; a failure ends nothing.

    Args:
        cfg: `SHOW_CENTER_CHANNEL_IMAGE` says whether three channels are colours.
        loader: Of training.
        run: The run's folder.
        class_names: Foreground classes in order.
    """
    from data_generators.augmentation import Augmentation
    from data_generators.augmentation.examples import augmented_examples
    from reports.gallery import draw_gallery

    augment = getattr(loader, "augment", None)
    if not isinstance(augment, Augmentation) or (run / GALLERY).exists():
        return
    names = dict(enumerate(class_names, start=1))
    try:
        rows = augmented_examples(loader.source, augment, seed=cfg.SEED)
        draw_gallery(rows, run / GALLERY, names=names, colour=not cfg.SHOW_CENTER_CHANNEL_IMAGE)
    except (ValueError, OSError) as error:
        _LOG.warning("No picture of the augmentation: %s", error)
