"""The suite notices the classic faults: each is planted in a copy of the sources, and its tests must fail."""

import os
import shutil
import subprocess
import sys

import pytest

FAULTS = {
    "swapped axes": ("imaging/volume.py", 'CANONICAL = "SPL"', 'CANONICAL = "SLP"', "test_imaging_volume.py"),
    "background counted in a Dice loss": (
        "losses/encoding.py",
        "return channels[..., 1:] if self.exclusive else channels",
        "return channels",
        "test_losses_values.py",
    ),
    "background counted in a score": (
        "metrics/streaming.py",
        "ops.arange(1, self.num_classes",
        "ops.arange(0, self.num_classes",
        "test_metrics_streaming.py",
    ),
    "missing float32": ("losses/encoding.py", 'ops.cast(y_pred, "float32")', "y_pred", "test_losses_objective.py"),
    "interpolated labels": (
        "data_generators/augmentation/spatial.py",
        "cv2.INTER_NEAREST",
        "cv2.INTER_LINEAR",
        "test_generators_augmentation.py",
    ),
    "leaked patient": (
        "data_preparation/splits.py",
        "if seen.setdefault(patient, part) != part:",
        "if seen.setdefault(patient, part) is None:",
        "test_preparation_splits.py",
    ),
}


def answer(folder, test: str) -> int:
    """Exit code of pytest on one file: 0 passed, 1 failed."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{test}", "-m", "not slow"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(fault, project, tmp_path):
    path, right, wrong, test = FAULTS[fault]
    ignored = shutil.ignore_patterns(".*", "data", "outputs", "__pycache__", "docs")
    copy = shutil.copytree(project, tmp_path / "main", ignore=ignored)
    text = (copy / path).read_text()
    assert right in text, f"{path} no longer says {right!r}: plant the fault where it is now"
    (copy / path).write_text(text.replace(right, wrong))
    assert answer(copy, test) == 1
