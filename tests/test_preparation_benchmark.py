"""The benchmark of the preparation runs and says what it measured."""

from benchmarks.preparation import run


def test_every_side_is_measured():
    result = run(["--volumes", "3", "--size", "8", "48", "48", "--repeats", "1"])
    assert set(result["sides"]) == {"reference", "ours", "ours_png", "ours_one_worker"}
    assert result["ratio"].keys() == {"ours", "ours_png", "ours_one_worker"}
    for side in result["sides"].values():
        assert side["median_seconds"] > 0
        assert side["peak_megabytes"] > 10
