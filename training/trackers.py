"""MLflow and Weights & Biases as observers: off unless asked for, imported only then, local unless told otherwise."""

import importlib
import importlib.util
import math
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.checkpoints import Progress

_PACKAGES = {
    "MLFLOW": ("mlflow", "pip install mlflow-skinny sqlalchemy alembic"),
    "WANDB": ("wandb", "pip install wandb"),
}
LONGEST = 250
"""Characters of a parameter that every MLflow server takes."""


class TrackerError(ValueError):
    """A tracker that cannot be used; one line with the remedy."""


def check_trackers(callbacks: Mapping[str, Any]) -> None:
    """Looks whether the packages of the wanted trackers are installed, without importing them.

    Args:
        callbacks: Plain values of the configuration's CALLBACKS section.

    Raises:
        TrackerError: One is not installed; says how to install it.
    """
    for name, (package, command) in _PACKAGES.items():
        if callbacks[name]["VALUE"] and importlib.util.find_spec(package) is None:
            raise TrackerError(f"CALLBACKS.{name}.VALUE=True needs the package {package}: type `{command}`.")


def trackers(folder: pathlib.Path, settings: Mapping[str, Any]) -> "list[MLflow | WeightsAndBiases]":
    """The trackers that are wanted.

    Args:
        folder: The run's folder.
        settings: Plain values of the whole configuration; its CALLBACKS section decides.
    """
    mlflow, wandb = settings["CALLBACKS"]["MLFLOW"], settings["CALLBACKS"]["WANDB"]
    found: list[MLflow | WeightsAndBiases] = []
    if mlflow["VALUE"]:
        found.append(MLflow(folder, settings, experiment=mlflow["EXPERIMENT"], uri=mlflow["URI"]))
    if wandb["VALUE"]:
        found.append(WeightsAndBiases(folder, settings, project=wandb["PROJECT"], mode=wandb["MODE"]))
    return found


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys, such as `MODEL.TYPE`; lists stay."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


class MLflow:
    """A run of MLflow: the settings as parameters, every row of the history as metrics.

    Args:
        folder: The run's folder; its name is the run's, and runs are written beside it where `uri` is None.
        settings: What the run was started with.
        experiment: Of MLflow.
        uri: Tracking server or folder; None: the file `mlflow.db` beside the run's folder.
    """

    def __init__(
        self, folder: pathlib.Path, settings: Mapping[str, Any], *, experiment: str, uri: str | None = None
    ) -> None:
        self.folder, self.settings, self.experiment = folder, settings, experiment
        self.uri = uri or f"sqlite:///{folder.resolve().parent / 'mlflow.db'}"
        self._mlflow: Any = None

    def started(self, progress: "Progress", epochs: int | None) -> None:
        """Opens a run; a continued training goes on in its own."""
        del progress, epochs
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it reports its use otherwise
        self._mlflow = importlib.import_module("mlflow")
        self._mlflow.set_tracking_uri(self.uri)
        self._mlflow.set_experiment(self.experiment)
        told = self.folder / "mlflow_run_id"
        self._mlflow.start_run(
            run_id=told.read_text("utf-8").strip() if told.is_file() else None, run_name=self.folder.name
        )
        if not told.is_file():
            told.write_text(self._mlflow.active_run().info.run_id, encoding="utf-8")
            self._mlflow.log_params({name: str(value)[:LONGEST] for name, value in flat(self.settings).items()})

    def batch(self, step: int, steps: int, logs: Mapping[str, Any]) -> None:
        """A batch is done."""

    def epoch(self, row: Mapping[str, float], progress: "Progress") -> None:
        """Logs a row."""
        self._mlflow.log_metrics(measured(row), step=progress.epoch)

    def finished(self) -> None:
        """Closes the run."""
        if self._mlflow is not None:
            self._mlflow.end_run()


class WeightsAndBiases:
    """A run of Weights & Biases: the settings, and every row of the history.

    Args:
        folder: The run's folder; files of the tracker are written there.
        settings: What the run was started with.
        project: Of Weights & Biases.
        mode: `offline` writes files only, `online` sends them.
    """

    def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any], *, project: str, mode: str) -> None:
        self.folder, self.settings, self.project, self.mode = folder, settings, project, mode
        self._run: Any = None

    def started(self, progress: "Progress", epochs: int | None) -> None:
        """Opens a run; a continued training goes on in its own."""
        del progress, epochs
        name = self.folder.name
        self._run = importlib.import_module("wandb").init(
            project=self.project,
            name=name,
            id="".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name),
            resume="allow" if self.mode == "online" else None,
            mode=self.mode,
            dir=str(self.folder),
            config=flat(self.settings),
        )

    def batch(self, step: int, steps: int, logs: Mapping[str, Any]) -> None:
        """A batch is done."""

    def epoch(self, row: Mapping[str, float], progress: "Progress") -> None:
        """Logs a row."""
        self._run.log(measured(row), step=progress.epoch)

    def finished(self) -> None:
        """Closes the run."""
        if self._run is not None:
            self._run.finish()


def measured(row: Mapping[str, float]) -> dict[str, float]:
    """The finite values of a row of the history, without its number."""
    return {name: float(value) for name, value in row.items() if name != "epoch" and math.isfinite(value)}
