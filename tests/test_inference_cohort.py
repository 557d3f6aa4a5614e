"""A cohort: every case once, failures listed, nothing repeated, reading and writing beside the network."""

import threading

import pytest

from inference.cohort import Steps, run_cohort


def steps(written, *, read=lambda item: item, predict=lambda item, data: data, write=None, done=lambda item: False):
    def keep(item, answer):
        written[item] = answer

    return Steps(name=str, read=read, predict=predict, write=write or keep, done=done)


def test_every_case_is_read_predicted_and_written_in_order():
    written = {}
    result = run_cohort(range(5), steps(written, read=lambda i: i * 10, predict=lambda i, data: data + 1))
    assert written == {0: 1, 1: 11, 2: 21, 3: 31, 4: 41}
    assert result.finished == ["0", "1", "2", "3", "4"]
    assert result.exit_code == 0


@pytest.mark.parametrize("stage", ["read", "predict", "write"])
def test_a_failing_case_is_named_and_the_others_go_on(stage):
    written = {}

    def fail(item, *rest):
        if item == 1:
            raise ValueError("volume-1.nii is\ntruncated")
        if stage == "write":
            written[item] = rest[0]
        return item

    result = run_cohort(range(3), steps(written, **{stage: fail}))
    assert result.failed == {"1": "volume-1.nii is truncated"}
    assert result.finished == ["0", "2"]
    assert sorted(written) == [0, 2]
    assert result.exit_code == 1


def test_finished_cases_are_not_repeated():
    written = {0: "old"}
    result = run_cohort(range(2), steps(written, done=lambda item: item in (0,)))
    assert written == {0: "old", 1: 1}
    assert result.skipped == ["0"]


def test_reading_goes_on_while_the_network_works():
    second_read = threading.Event()

    def read(item):
        if item == 1:
            second_read.set()
        return item

    def predict(item, data):
        # Case 1 must be read before case 0 is predicted to its end, else this waits in vain.
        return second_read.wait(5)

    written = {}
    run_cohort(range(2), steps(written, read=read, predict=predict))
    assert written == {0: True, 1: True}


def test_a_bug_is_not_an_outcome():
    def bug(item, data):
        raise TypeError("bug")

    with pytest.raises(TypeError):
        run_cohort(range(2), steps({}, predict=bug))


def test_progress_names_every_case():
    seen = []
    run_cohort(range(3), steps({}, done=lambda item: item == 0), on_case=seen.append)
    assert seen == ["0", "1", "2"]
