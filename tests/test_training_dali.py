"""DALI feeds training: the same batches to one device and to several, from any position."""

import pytest
from training_commands import TINY, rows, run, write_squares

pytestmark = [pytest.mark.dali, pytest.mark.slow]
pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed: make setup")

TWO = {"devices": 2}
SHARED = [*TINY, "MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]", "USE_MULTI_GPUS.VALUE=True", "DETERMINISTIC=True"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("work"))


def assert_same_history(collection, name: str, other: str, *, epochs: int) -> None:
    """Equal but for rounding: what the metrics of several devices hold is added up in another order."""
    ours, theirs = (
        [
            {key: float(value) for key, value in row.items() if key != "seconds"}
            for row in rows(collection / "outputs" / run)
        ]
        for run in (name, other)
    )
    assert len(ours) == len(theirs) == epochs
    for one, two in zip(ours, theirs, strict=True):
        assert one == pytest.approx(two, abs=1e-6)


def test_two_devices_see_what_the_sequence_loader_gives_them(collection):
    # Ten slices in batches of 2 on each of two devices: two full batches an epoch, two slices left out.
    words = [*SHARED, "HYPER_PARAMETERS.EPOCHS=3", "OPTIMIZATION.XLA=True"]
    for name, loader in (("by_dali", "DALI"), ("by_sequence", "SEQUENCE")):
        said = run("train.py", collection, *words, f"RUN_NAME={name}", f"DATA_GENERATOR_TYPE={loader}", **TWO)
        assert "2 devices share each batch" in said
    assert_same_history(collection, "by_dali", "by_sequence", epochs=3)


def test_a_run_goes_on_within_an_epoch_at_the_batch_it_left(collection):
    words = [*SHARED, "DATA_GENERATOR_TYPE=DALI", "augmentation=nnunet_2d", "HYPER_PARAMETERS.STEPS_PER_EPOCH=4"]
    words += ["HYPER_PARAMETERS.EPOCHS=2"]
    run("train.py", collection, *words, "RUN_NAME=whole", **TWO)
    stop = collection / "outputs" / "cut" / "STOP"
    stop.parent.mkdir()
    stop.touch()
    assert "Go on with" in run("train.py", collection, *words, "RUN_NAME=cut", **TWO)
    assert "Continuing in epoch 1 after batch 1" in run("train.py", collection, "RESUME=True", "RUN_NAME=cut", **TWO)
    assert_same_history(collection, "cut", "whole", epochs=2)


def test_epochs_that_are_smaller_than_a_batch_are_answered_before_training(collection):
    words = [*SHARED, "DATA_GENERATOR_TYPE=DALI", "HYPER_PARAMETERS.BATCH_SIZE=8"]
    said = run("train.py", collection, *words, code=2, **TWO)
    assert "10 samples is no multiple of 16" in said
    assert "STEPS_PER_EPOCH" in said
