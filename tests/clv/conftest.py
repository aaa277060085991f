"""CDNOW's 1/10 sample, computed here from the raw file so that the models' tests lean on nothing else of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import clvlib as clv
from clvlib.data.connect import Shop
from tests.conftest import Once, shared_data

SPLIT = pd.Timestamp("1997-09-30")
END = pd.Timestamp("1998-06-30")


def cdnow_orders() -> pd.DataFrame:
    """Orders of the sample, one row per customer and day."""
    path = shared_data("cdnow") / "CDNOW_sample.txt"
    raw = pd.read_csv(
        path, sep=r"\s+", header=None, names=["master", "customer_id", "date", "cds", "amount"], dtype=str
    )
    raw["date"] = pd.to_datetime(raw["date"], format="%Y%m%d")
    raw["amount"] = raw["amount"].astype(float)
    return raw.groupby(["customer_id", "date"], as_index=False)["amount"].sum()


def customer_summary(orders: pd.DataFrame, end: pd.Timestamp, per: float = 7.0) -> pd.DataFrame:
    """Frequency, recency, T, monetary_value as lifetimes defines them, time in units of ``per`` days."""
    seen = orders[orders["date"] <= end]
    first = seen.groupby("customer_id")["date"].transform("min")
    repeat = seen[seen["date"] > first].groupby("customer_id")
    dates = seen.groupby("customer_id")["date"].agg(["min", "max"])
    frame = pd.DataFrame(
        {
            "frequency": repeat.size().reindex(dates.index, fill_value=0),
            "recency": (dates["max"] - dates["min"]).dt.days / per,
            "T": (end - dates["min"]).dt.days / per,
            "monetary_value": repeat["amount"].mean().reindex(dates.index, fill_value=0.0),
        }
    )
    frame.attrs["clvlib"] = {"unit": "W" if per == 7 else "D", "collapse": "D", "as_of": str(end.date())}
    return frame


@pytest.fixture(scope="session")
def orders() -> pd.DataFrame:
    return cdnow_orders()


@pytest.fixture(scope="session")
def cdnow(orders: pd.DataFrame) -> pd.DataFrame:
    """Calibration to 1997-09-30 in weeks, with the purchases of the next 39 weeks."""
    frame = customer_summary(orders, SPLIT)
    later = orders[orders["date"] > SPLIT].groupby("customer_id")["amount"]
    frame["frequency_holdout"] = later.size().reindex(frame.index, fill_value=0)
    frame["monetary_value_holdout"] = later.mean().reindex(frame.index, fill_value=0.0)
    frame["duration_holdout"] = (END - SPLIT).days / 7
    return frame


@pytest.fixture(scope="session")
def larger_shop(once: Once) -> Iterator[Shop]:
    """A made up shop of more customers than the one that ships with the project; ``truth.json`` is in its folder."""

    def make(folder: Path) -> None:
        clv.write_sample(folder / "files", customers=8000, weeks=40, seed=7, format="parquet")
        clv.connect(folder / "files", store=folder / "shop.duckdb").close()

    shop = clv.connect(once("larger_shop", make) / "shop.duckdb")
    yield shop
    shop.close()
