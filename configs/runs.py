"""Run folders: a new one, the newest that fits, and the configuration a run was trained with."""

import copy
import dataclasses
import datetime
import json
import pathlib
import shlex
from typing import Any, NamedTuple, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from configs.compose import GROUPS, OPEN, REPLACED
from configs.errors import ConfigError
from configs.facts import checkpoint_folder, place, plain, prepared_at
from configs.members import member

CONFIG_FILE, CROSS_VALIDATION = "config.yaml", "crossvalidation.json"
ALIKE = ("MODEL", "INPUT", "OUTPUT.CLASSES", "DATASET.LABELS", "DATASET.REGIONS", "DATASET.PREPARED_PATH", "CASCADE")
OPEN_SECTIONS = (*OPEN, *REPLACED)
FOREIGN = ("RUN_NAME", "OUTPUT_PATH", "WORK_DIR")


def new_run(cfg: DictConfig) -> pathlib.Path:
    """Makes the folder of a new run: `RUN_NAME`, or dataset, model, fold and time.

    Raises:
        ConfigError: `RUN_NAME` names a run that exists.
    """
    root = place(cfg, cfg.OUTPUT_PATH)
    if cfg.RUN_NAME is not None:
        run = root / cfg.RUN_NAME
        if (run / CONFIG_FILE).exists():
            raise ConfigError(f"The run {run} exists. Type RESUME=True to continue it, or another RUN_NAME.")
    else:
        return _new_folder(root / f"{_stem(cfg)}-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    run.mkdir(parents=True, exist_ok=True)
    return run


def _new_folder(wanted: pathlib.Path, number: int = 1) -> pathlib.Path:
    """Makes the folder, or with a number behind its name where another job made it in the same second."""
    folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return _new_folder(wanted, number + 1)
    return folder


def save_config(cfg: DictConfig, run: pathlib.Path) -> None:
    """Writes the whole configuration, interpolations resolved, to the run's `config.yaml`."""
    OmegaConf.save(OmegaConf.create(plain(cfg)), run / CONFIG_FILE)


def find_run(cfg: DictConfig) -> pathlib.Path:
    """The run that is meant: `RUN_NAME`, or the newest with the same dataset, model, encoder, configuration and fold.

    Raises:
        ConfigError: There is none; names those that exist.
    """
    root = place(cfg, cfg.OUTPUT_PATH)
    if cfg.RUN_NAME is not None:
        run = root / cfg.RUN_NAME
        if not (run / CONFIG_FILE).is_file():
            raise ConfigError(f"There is no run {run}.{_existing(root)}")
        return run
    fitting = [run for run in _runs(root) if _fits(_identity(_load(run)), _identity(cfg))]
    if not fitting:
        raise ConfigError(f"No run of {_stem(cfg)} in {root}. Train it first, or type RUN_NAME=...{_existing(root)}")
    return fitting[-1]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model: one run, or the runs of its folds in order, and the configuration they were trained with."""

    cfg: DictConfig
    runs: tuple[pathlib.Path, ...]


def find_trained(cfg: DictConfig, *, folds: int) -> list[Trained]:
    """What is meant to predict: the run or, with `FOLD=all`, the newest run of every fold; then those of `ENSEMBLE`.

    Args:
        cfg: A composed configuration. `ENSEMBLE` lists run names, or with `FOLD=all` what `members.member` reads.
        folds: How many there are.

    Returns:
        The main model first.

    Raises:
        ConfigError: A run or a fold is not there; says what to type.
    """
    found, root = [_trained(cfg, folds)], place(cfg, cfg.OUTPUT_PATH)
    for name in map(str, plain(cfg.ENSEMBLE) or ()):
        is_run = cfg.FOLD != "all" or any(run.name.startswith(f"{name}_fold") for run in _runs(root))
        found.append(_trained(member(cfg, name, is_run=is_run), folds))
    places = {str(prepared_at(model.cfg)) for model in found}
    if len(places) > 1:
        raise ConfigError(
            f"These models read different arrays, {' and '.join(sorted(places))}: average models of one prepared "
            "collection, not 3d_lowres with others."
        )
    return found


def find_folds(cfg: DictConfig, count: int) -> list[pathlib.Path]:
    """The newest run of each fold, or `<RUN_NAME>_fold<n>`.

    Raises:
        ConfigError: Folds are not trained; names all of them with the command to type.
    """
    root = place(cfg, cfg.OUTPUT_PATH)
    newest: dict[str, pathlib.Path] = {}
    known = {run: _identity(_load(run)) for run in _runs(root)}
    wanted = _identity(cfg)
    if wanted.configuration is None:
        # Folds of one configuration: that of the newest run.
        fitting = [found for found in known.values() if found.fold is not None and _fits(found, wanted, fold=False)]
        wanted = wanted._replace(configuration=fitting[-1].configuration if fitting else None)
    for run, identity in known.items():
        if cfg.RUN_NAME is not None:
            if run.name.startswith(f"{cfg.RUN_NAME}_fold"):
                newest[run.name.removeprefix(f"{cfg.RUN_NAME}_fold")] = run
        elif identity._replace(fold=None) == wanted._replace(fold=None):
            newest[str(identity.fold)] = run
    missing = [fold for fold in range(count) if str(fold) not in newest]
    if missing:
        told = "; ".join(command(cfg, "train.py", f"FOLD={fold}") for fold in missing)
        several = "s" * (len(missing) > 1)
        names = ", ".join(map(str, missing))
        raise ConfigError(f"Fold{several} {names} of {_stem(cfg)} in {root}: not trained. Type: {told}")
    return [newest[str(fold)] for fold in range(count)]


def complete_folds(cfg: DictConfig, count: int) -> list[str]:
    """Networks, with their configuration of the plan, of which every fold of the collection is trained.

    Returns:
        `unet`, or `unet/3d_fullres` where arrays were planned, in the order of their first runs.
    """
    found: dict[str, set[str | None]] = {}
    for run in _runs(place(cfg, cfg.OUTPUT_PATH)):
        identity = _identity(_load(run))
        if identity.dataset == str(cfg.DATASET.NAME) and identity.backbone is None:
            name = "/".join(filter(None, (identity.model, identity.configuration)))
            found.setdefault(name, set()).add(identity.fold)
    return [name for name, folds in found.items() if {str(fold) for fold in range(count)} <= folds]


def weights_folders(model: Trained) -> list[pathlib.Path]:
    """Where the checkpoints of each run lie."""
    return [checkpoint_folder(model.cfg, run) for run in model.runs]


def known_cross_validation(cfg: DictConfig, trained: list[Trained]) -> pathlib.Path | None:
    """The newest folder of a cross-validation of these runs, or None."""
    root = place(cfg, cfg.OUTPUT_PATH)
    files = sorted(root.glob(f"*/{CROSS_VALIDATION}"), key=lambda file: file.stat().st_mtime, reverse=True)
    wanted = _members(cfg, trained)
    return next((file.parent for file in files if json.loads(file.read_text("utf-8")) == wanted), None)


def cross_validation(cfg: DictConfig, trained: list[Trained]) -> pathlib.Path:
    """The folder of the cross-validation of these runs: the newest there is, else a new one."""
    found = known_cross_validation(cfg, trained)
    if found is not None:
        return found
    root = place(cfg, cfg.OUTPUT_PATH)
    first, *others = [_identity(model.cfg) for model in trained]
    stem = "+".join([_named(first), *["_".join(filter(None, other[1:-1])) for other in others]])
    kind = "foldall" if cfg.FOLD == "all" else "ensemble"
    folder = root / f"{stem}_{kind}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CROSS_VALIDATION).write_text(json.dumps(_members(cfg, trained), indent=1) + "\n", "utf-8")
    return folder


def _members(cfg: DictConfig, trained: list[Trained]) -> dict[str, Any]:
    domain = trained[0].cfg.get("DOMAIN")
    members = {"runs": [[run.name for run in model.runs] for model in trained], "checkpoint": str(cfg.CHECKPOINT)}
    return members if domain is None else {**members, "domain": str(domain)}


def command(cfg: DictConfig, script: str, *more: str) -> str:
    """A command line for the same data and model: what was typed, less what only this script was told.

    Args:
        cfg: Says what was typed.
        script: Such as `train.py`.
        more: Further words.
    """
    left_out = ["FOLD=", "INPUT_PATH=", "PREDICTION_PATH=", "TTA=", "EVALUATION."]
    left_out += ["CHECKPOINT=", "ENSEMBLE=", "INFERENCE."] if script == "train.py" else []
    kept = [str(text) for text in cfg.OVERRIDES if not str(text).startswith(tuple(left_out))]
    return shlex.join(["python", script, *kept, *more])


def _trained(cfg: DictConfig, folds: int) -> Trained:
    if cfg.FOLD != "all":
        run = find_run(cfg)
        return Trained(with_run(cfg, run), (run,))
    runs = find_folds(cfg, folds)
    configurations = [with_run(cfg, run) for run in runs]
    for run, other in zip(runs, configurations, strict=True):
        for section in ALIKE:
            mine, theirs = (plain(OmegaConf.select(c, section)) for c in (configurations[0], other))
            if mine != theirs:
                raise ConfigError(
                    f"{run.name} was trained with another {section} than {runs[0].name}: train one of them again, or "
                    "type RUN_NAME=<the part of the names before _fold0>."
                )
    return Trained(configurations[0], tuple(runs))


def with_run(cfg: DictConfig, run: pathlib.Path) -> DictConfig:
    """The configuration a run was trained with, changed by what was typed now.

    Args:
        cfg: The configuration of this command line.
        run: A run folder.

    Returns:
        The run's configuration. Values typed now replace its own; another `dataset` typed now replaces that section;
        what says where runs lie is taken from `cfg`.
    """
    stored = _load(run)
    base = copy.deepcopy(cfg)
    OmegaConf.set_struct(base, False)
    trained = cast("DictConfig", OmegaConf.merge(base, stored))
    with open_dict(trained):
        for section in OPEN_SECTIONS:
            # A run of an earlier version may not have the section yet.
            known = OmegaConf.select(stored, section, default=OmegaConf.select(base, section))
            OmegaConf.update(trained, section, known, merge=False)
        for name in FOREIGN:
            trained[name] = cfg[name]
        for override in OverridesParser.create().parse_overrides(list(cfg.OVERRIDES)):
            name = override.key_or_group
            if name == "CASCADE":
                continue  # a run's first stage is the one that it was trained on
            if name not in GROUPS:
                OmegaConf.update(trained, name, OmegaConf.select(cfg, name), merge=False)
            elif name == "dataset" and cfg.DATASET.NAME != stored.DATASET.NAME:
                OmegaConf.update(trained, "DATASET", cfg.DATASET, merge=False)
        trained.OVERRIDES = cfg.OVERRIDES
    OmegaConf.set_struct(trained, True)
    return trained


def _load(run: pathlib.Path) -> DictConfig:
    return cast("DictConfig", OmegaConf.load(run / CONFIG_FILE))


class _Identity(NamedTuple):
    """What tells runs apart that have no name."""

    dataset: str
    model: str
    backbone: str | None
    configuration: str | None
    fold: str | None


def _stem(cfg: DictConfig) -> str:
    identity = _identity(cfg)
    return _named(identity) if identity.fold is None else f"{_named(identity)}_fold{identity.fold}"


def _named(identity: _Identity) -> str:
    return "_".join(part for part in identity[:-1] if part is not None)


def _identity(cfg: DictConfig) -> _Identity:
    fold = None if cfg.FOLD is None else str(cfg.FOLD)
    configuration = cfg.DATA_PREPARATION.get("CONFIGURATION")
    return _Identity(str(cfg.DATASET.NAME), str(cfg.MODEL.TYPE), cfg.MODEL.BACKBONE.get("TYPE"), configuration, fold)


def _fits(found: _Identity, wanted: _Identity, *, fold: bool = True) -> bool:
    """Whether a run is what is wanted; of the plan any configuration is, where none was typed."""
    if wanted.configuration is None:
        found = found._replace(configuration=None)
    return found == wanted if fold else found._replace(fold=None) == wanted._replace(fold=None)


def _runs(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        (path.parent for path in root.glob(f"*/{CONFIG_FILE}")), key=lambda run: (run / CONFIG_FILE).stat().st_mtime
    )


def _existing(root: pathlib.Path) -> str:
    names = [run.name for run in _runs(root)][-5:]
    return f" Newest runs: {', '.join(names)}." if names else ""
