"""TensorFlow's import says nothing before the scripts do, and everything where it fails."""

import os
import subprocess
import sys

import pytest

from configs.quiet import held_back

IMPORTS = (
    "from configs.quiet import quiet_tensorflow; quiet_tensorflow(); import tensorflow, sys; sys.stderr.write('ours')"
)


def said(project, code: str, folder) -> str:
    paths = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=paths, capture_output=True, check=True)
    return done.stderr.decode()


@pytest.mark.parametrize(("ending", "expected"), [("", "ours"), ("raise ImportError('broken')", "chatter")])
def test_the_import_is_silent_unless_it_fails(project, tmp_path, ending, expected):
    # A TensorFlow that writes as the real one does: past Python, to the file descriptor.
    (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, b'chatter')\n{ending}\n")
    found = said(project, IMPORTS if not ending else f"try:\n {IMPORTS}\nexcept ImportError: pass", tmp_path)
    assert found == expected


def test_nothing_is_lost_after_the_block(capfd):
    with held_back():
        os.write(2, b"kept")
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


@pytest.mark.slow
def test_the_real_tensorflow_is_silent(project, tmp_path):
    assert said(project, IMPORTS, tmp_path) == "ours"
