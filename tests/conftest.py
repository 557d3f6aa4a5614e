"""What every test shares: the folder of real data and recorded answers, quiet backends, a seed."""

import os
import pathlib

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

PROJECT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project() -> pathlib.Path:
    """The checkout's root."""
    return PROJECT


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """Real images and recorded answers of the original systems, beside the checkout; absent elsewhere."""
    folder = PROJECT.parent / "shared"
    if not (folder / "fixtures").is_dir():
        pytest.skip("the folder ../shared with recorded answers and real images is not here")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, new for every test."""
    return np.random.default_rng(20)
