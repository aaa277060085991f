"""What all tests share: where the real data sets lie, when they are there."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# how long one example takes says more about who else uses the machine than about the code
hypothesis.settings.register_profile("clvlib", deadline=None)
hypothesis.settings.load_profile("clvlib")

ROOT = Path(__file__).parents[1]


def shared_data(name: str) -> Path:
    """Folder of a real data set, outside the project; the test skips, visibly, where it is absent."""
    folder = Path(os.environ.get("CLVLIB_SHARED_DATA", ROOT.parent / "shared" / "data")) / name
    if not folder.is_dir():
        pytest.skip(f"the real data set {name} is not on this machine (CLVLIB_SHARED_DATA says where)")
    return folder


@pytest.fixture
def sample() -> Path:
    """The sample shop that ships with the project."""
    return ROOT / "data" / "sample"
