"""Folds and seeds as jobs: the Slurm launcher composes, and submitit runs what it is given."""

import subprocess
import sys

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from training_commands import PROJECT, TINY, environment, rows, write_squares

from configs import compose
from configs.compose import FOLDER
from configs.runs import new_run

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="hydra-submitit-launcher is not installed")


def test_the_slurm_launcher_composes_with_our_defaults():
    words = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "FOLD=0"]
    with hydra.initialize_config_dir(str(FOLDER), version_base="1.3"):
        cfg = hydra.compose("config", overrides=words, return_hydra_config=True)
    GlobalHydra.instance().clear()
    launcher = cfg.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.tasks_per_node) == ("gpu", 1, 1)
    assert launcher.timeout_min == 24 * 60


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(tmp_path):
    cfg = compose([f"WORK_DIR={tmp_path}"])
    assert len({new_run(cfg) for _ in range(5)}) == 5


@pytest.mark.slow
def test_submitit_trains_two_folds(tmp_path):
    folder = write_squares(tmp_path)
    words = [*TINY, "MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "HYPER_PARAMETERS.EPOCHS=1", f"WORK_DIR={folder}"]
    words += ["FOLD=0,1", "hydra/launcher=submitit_local", f"hydra.launcher.submitit_folder={folder}/jobs/%j"]
    done = subprocess.run(
        [sys.executable, "train.py", "--multirun", *words],
        cwd=PROJECT,
        env=environment("jax"),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runs = sorted((folder / "outputs").iterdir())
    assert ["_fold0-" in runs[0].name, "_fold1-" in runs[1].name] == [True, True]
    assert [len(rows(run)) for run in runs] == [1, 1]
