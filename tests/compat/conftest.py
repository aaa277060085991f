"""The lifetimes package as the reference, and CDNOW's sample as a transaction log."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clvlib.compat.lifetimes.datasets import (
    load_cdnow_summary_data_with_monetary_value,
    load_dataset,
    load_donations,
)


def quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of lifetimes, which warns of much on today's pandas and NumPy."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


@pytest.fixture(scope="session")
def theirs() -> SimpleNamespace:
    """Modules of lifetimes; its datasets cannot be imported any more."""

    def modules() -> SimpleNamespace:
        import lifetimes
        from lifetimes import fitters, generate_data, plotting, utils

        return SimpleNamespace(
            top=lifetimes, fitters=fitters, generate_data=generate_data, plotting=plotting, utils=utils
        )

    return quietly(modules)


@pytest.fixture(scope="session")
def customers() -> pd.DataFrame:
    """CDNOW's 2,357 customers, in weeks, with monetary_value."""
    return load_cdnow_summary_data_with_monetary_value()


@pytest.fixture(scope="session")
def donors() -> pd.DataFrame:
    return load_donations()


@pytest.fixture(scope="session")
def log() -> pd.DataFrame:
    """CDNOW's sample: id, date, spent, several rows a day here and there."""
    names = ["master", "id", "date", "cds", "spent"]
    frame = load_dataset("CDNOW_sample.txt", sep=r"\s+", header=None, names=names, dtype={"date": str})
    return frame.assign(date=pd.to_datetime(frame["date"], format="%Y%m%d"))[["id", "date", "spent"]]
