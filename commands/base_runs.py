"""The run that domains are added to."""

import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from commands.domains import trained_names
from configs import ConfigError
from configs.facts import model_choice, place
from configs.runs import CONFIG_FILE, Trained, weights_folders, with_run

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class BaseRun:
    """A trained network of many domains: its run, its weights, and the configuration it was trained with."""

    cfg: DictConfig
    folder: pathlib.Path
    weights: pathlib.Path


def find_base(cfg: DictConfig) -> BaseRun:
    """The run that `ADD_TO`, or else `CHECKPOINT`, names: by its name, its folder, or a weights file in it.

    Raises:
        ConfigError: None is named, there is none, or its network takes no more domains.
    """
    said = str(cfg.ADD_TO or cfg.CHECKPOINT)
    known = _runs(cfg)
    listed = f" There are {', '.join(known)}." if known else ""
    if said in ("best", "last"):
        raise ConfigError(
            f"ADD_DOMAINS={cfg.ADD_DOMAINS} needs the run whose network gets more domains: type CHECKPOINT=<run>."
            f"{listed}"
        )
    places = [place(cfg, cfg.OUTPUT_PATH) / said, place(cfg, said)]
    folders = [folder for path in places for folder in (path, path.parent, path.parent.parent)]
    exists = any(path.exists() for path in places)
    folder = next((folder for folder in folders if exists and (folder / CONFIG_FILE).is_file()), None)
    if folder is None:
        what = f"has no {CONFIG_FILE} beside it" if exists else "does not exist"
        raise ConfigError(f"CHECKPOINT={said} {what}: type the name of a run of universal_unet.{listed}")
    plainly = cfg.copy()
    plainly.OVERRIDES = []
    trained = with_run(plainly, folder)
    _check(trained, folder, listed)
    file = next((path for path in places if path.is_file()), None)
    weights = file or weights_folders(Trained(trained, (folder,)))[0] / "best.weights.h5"
    if not weights.is_file():
        raise ConfigError(f"{folder} has no {weights.name} yet: train it to the end of an epoch first.{listed}")
    return BaseRun(trained, folder, weights)


def base_network(base: BaseRun) -> "keras.Model":
    """The trained network.

    Raises:
        ValueError: The weights are not of this network, or have no adapters of domains.
    """
    from inference.loading import load_model

    return load_model(model_choice(base.cfg), input_shape=(None, None, None, None), num_classes=0, weights=base.weights)


def _check(cfg: DictConfig, folder: pathlib.Path, listed: str) -> None:
    kind, mode = str(cfg.MODEL.TYPE), cfg.MODEL.get("MODE", "separable")
    if kind != "universal_unet" or not trained_names(cfg):
        raise ConfigError(
            f"{folder.name} is a {kind} without adapters of domains, which takes no more of them: type CHECKPOINT=<run "
            f"of universal_unet>.{listed}"
        )
    if mode == "independent":
        raise ConfigError(f"{folder.name} has MODEL.MODE=independent, which shares nothing: type another CHECKPOINT.")


def _runs(cfg: DictConfig) -> list[str]:
    """Names of the runs of networks for many domains."""
    files = sorted(place(cfg, cfg.OUTPUT_PATH).glob(f"*/{CONFIG_FILE}"), key=lambda file: file.stat().st_mtime)
    kinds = {file.parent.name: OmegaConf.select(OmegaConf.load(file), "MODEL.TYPE") for file in files}
    return [name for name, kind in kinds.items() if kind == "universal_unet"][-5:]
