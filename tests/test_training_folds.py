"""A cross-validation that was killed goes on: no finished fold is repeated, none is lost."""

import signal
import subprocess
import time

import pytest
from training_commands import PROJECT, TINY, command, environment, rows, run, write_squares

from commands.folds import folds_to_train
from configs import compose
from configs.runs import save_config


@pytest.fixture
def started(tmp_path):
    """Fold 1 was started with settings of its own."""
    cfg = compose([f"WORK_DIR={tmp_path}", "MODEL.FILTERS=[4,8]", "HYPER_PARAMETERS.EPOCHS=7", "FOLD=1"])
    (tmp_path / "outputs" / "cv_fold1").mkdir(parents=True)
    save_config(cfg, tmp_path / "outputs" / "cv_fold1")
    return tmp_path


def planned(cfg):
    cfg.HYPER_PARAMETERS.BATCH_SIZE = 11
    return cfg


@pytest.mark.parametrize("name", [[], ["RUN_NAME=cv"]])
def test_started_folds_go_on_and_the_others_start_like_them(started, name):
    cfg = compose([f"WORK_DIR={started}", "FOLD=all", "RESUME=True", "HYPER_PARAMETERS.LEARNING_RATE=0.5", *name])
    folds = folds_to_train(cfg, 3, planned)
    assert [(fold.FOLD, fold.RESUME) for fold in folds] == [(0, False), (1, True), (2, False)]
    assert [fold.RUN_NAME for fold in folds] == ([f"cv_fold{n}" for n in range(3)] if name else [None] * 3)
    for new in (folds[0], folds[2]):
        assert (list(new.MODEL.FILTERS), new.HYPER_PARAMETERS.EPOCHS) == ([4, 8], 7)
        assert new.HYPER_PARAMETERS.LEARNING_RATE == 0.5


def test_where_no_fold_was_started_all_of_them_start(tmp_path):
    for words in ([], ["RESUME=True"]):
        folds = folds_to_train(compose([f"WORK_DIR={tmp_path}", "FOLD=all", *words]), 2, planned)
        assert [(fold.FOLD, fold.RESUME, fold.HYPER_PARAMETERS.BATCH_SIZE) for fold in folds] == [
            (0, False, 11),
            (1, False, 11),
        ]


@pytest.mark.slow
def test_killed_in_the_second_fold_and_continued(tmp_path):
    folder = write_squares(tmp_path)
    words = [
        *TINY,
        "MODEL.TYPE=unet",
        "MODEL.FILTERS=[4,8]",
        "HYPER_PARAMETERS.EPOCHS=1",
        "DETERMINISTIC=True",
        "FOLD=all",
        "RUN_NAME=cv",
    ]
    runs = [folder / "outputs" / f"cv_fold{number}" for number in range(5)]
    with subprocess.Popen(command("train.py", folder, *words), cwd=PROJECT, env=environment()) as process:
        while not (runs[1] / "config.yaml").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finished = {path: path.read_bytes() for path in (runs[0] / "checkpoints").iterdir()}
    run("train.py", folder, "RESUME=True", "FOLD=all", "RUN_NAME=cv")
    assert [len(rows(fold)) for fold in runs] == [1] * 5
    assert {path: path.read_bytes() for path in (runs[0] / "checkpoints").iterdir()} == finished
    # All folds hold the same cases here, so the killed one must end as the first one did.
    assert rows(runs[1])[0]["loss"] == rows(runs[0])[0]["loss"]
