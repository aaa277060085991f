"""lifetimes.datasets: the small data sets that the lifetimes package carries, read without importing it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clvlib.data.datasets import lifetimes_file

__all__ = [
    "load_cdnow_summary",
    "load_cdnow_summary_data_with_monetary_value",
    "load_dataset",
    "load_donations",
    "load_transaction_data",
]


def load_dataset(filename: str, **kwargs: Any) -> pd.DataFrame:
    """Read one of the files inside the lifetimes package.

    Parameters
    ----------
    filename : str
        For example "CDNOW_sample.txt".
    **kwargs
        For :func:`pandas.read_csv`.

    Raises
    ------
    DataError
        The lifetimes package, which carries the files, is not installed.
    """
    frame: pd.DataFrame = pd.read_csv(lifetimes_file(filename), **kwargs)
    return frame


def load_cdnow_summary(**kwargs: Any) -> pd.DataFrame:
    """Return CDNOW's 2,357 customers, in weeks: ID, frequency, recency, T."""
    return load_dataset("cdnow_customers_summary.csv", **kwargs)


def load_cdnow_summary_data_with_monetary_value(**kwargs: Any) -> pd.DataFrame:
    """Return CDNOW's 2,357 customers, in weeks, by customer_id: frequency, recency, T, monetary_value."""
    frame = load_dataset("cdnow_customers_summary_with_transactions.csv", **kwargs)
    frame.columns = pd.Index(["customer_id", "frequency", "recency", "T", "monetary_value"])
    return frame.set_index("customer_id")


def load_donations(**kwargs: Any) -> pd.DataFrame:
    """Return the donations of Fader, Hardie & Shang 2010: frequency, recency, periods, weights."""
    return load_dataset("donations.csv", **kwargs)


def load_transaction_data(**kwargs: Any) -> pd.DataFrame:
    """Return an artificial transaction log of 2014: date, id."""
    return load_dataset("example_transactions.csv", **kwargs)
