"""How well young shops are valued: with and without the prior of dropout, with and without what past forecasts missed.

``python -m tests.clv.young_shops`` prints two tables: shops drawn from BG/NBD, whose expected purchases are known, and
parts of real shops of a few hundred customers each, against what came. It takes about three CPU minutes.
"""

from __future__ import annotations

import datetime as dt
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

import clvlib as clv
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.valuation import CustomerValue
from clvlib.clv.value import LifetimeValue
from clvlib.data.datasets import cdnow
from tests.conftest import shared_data

TRUTHS = {
    "CDNOW (2005)": {"r": 0.243, "alpha": 4.41, "a": 0.79, "b": 2.43},
    "sample shop": {"r": 0.27, "alpha": 2.2, "a": 0.8, "b": 2.8},
    "few leave": {"r": 0.5, "alpha": 5.0, "a": 0.3, "b": 3.0},
    "many leave": {"r": 0.5, "alpha": 3.0, "a": 2.0, "b": 3.0},
}
PRIOR = dict.fromkeys("ab", (1.0, 1.5))
Z = 1.6448536269514722


def drawn(truth: dict[str, float], customers: int, weeks: float, runs: int, seed: int = 1) -> pd.DataFrame:
    """Forecast 52 weeks of shops drawn from BG/NBD, whose customers came evenly within so many weeks.

    By ``prior``: log(forecast / what the true parameters expect), whether the 90% interval held that, convergence.
    """
    model, rng, rows = BetaGeoModel.with_parameters(truth, unit="W"), np.random.default_rng(seed), []
    for _ in range(runs):
        base = model.simulate(customers, rng.uniform(0, weeks, customers), rng)
        expected = model.expected_purchases(base, 52).sum()
        for prior in (None, PRIOR):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = BetaGeoModel(prior=prior).fit(base)
            total = found.total_purchases(base, 52, 0.9, "parameters")
            inside = total["lower"] <= expected <= total["upper"]
            rows.append((prior is not None, np.log(total["mean"] / expected), inside, found.converged_))
    return pd.DataFrame(rows, columns=["prior", "error", "inside", "converged"])


def real(name: str) -> pd.DataFrame:
    """Return customer_id, ordered_at, amount of a real shop."""
    if name == "cdnow":
        frame = cdnow().rename(columns={"ordered_at": "at"})
        frame["at"] = pd.to_datetime(frame["at"])
    elif name == "grocery":
        frame = (
            pd.read_csv(shared_data(name) / "groceryElog.csv").set_axis(["customer_id", "at"], axis=1).assign(amount=1)
        )
    elif name == "apparel":
        frame = pd.read_csv(shared_data(name) / "clvtools_apparelTrans.csv")
        frame = frame.rename(columns={"Id": "customer_id", "Date": "at", "Price": "amount"})
    elif name == "online_retail":
        frame = pd.read_parquet(shared_data(name) / "online_retail.parquet")
        frame = frame[frame["CustomerID"].notna() & (frame["Quantity"] > 0)]
        frame = frame.assign(amount=frame["Quantity"] * frame["UnitPrice"])
        frame = frame.rename(columns={"CustomerID": "customer_id", "InvoiceDate": "at"})
    else:
        frame = pd.read_parquet(shared_data(name) / "transactions.parquet")
        frame = frame.rename(
            columns={"household_id": "customer_id", "transaction_timestamp": "at", "sales_value": "amount"}
        )
    day = pd.to_datetime(frame["at"]).dt.strftime("%Y-%m-%d")
    frame = pd.DataFrame({"customer_id": frame["customer_id"].astype(str), "ordered_at": day}).assign(
        amount=frame["amount"].astype(float)
    )
    return frame.groupby(["customer_id", "ordered_at"], as_index=False)["amount"].sum()


def parts(frame: pd.DataFrame, size: int, most: int) -> Iterator[pd.DataFrame]:
    """Yield random shops of about so many customers each."""
    who = np.sort(frame["customer_id"].unique())
    part = pd.Series(np.random.default_rng(5).integers(0, max(len(who) // size, 1), len(who)), who)
    for number in range(min(most, max(len(who) // size, 1))):
        yield frame[frame["customer_id"].map(part) == number]


def valued(orders: pd.DataFrame, weeks: int, horizon: int) -> list[dict[str, float | bool]]:
    """Value a shop of so many weeks, undiscounted and without a margin, beside what its customers then spent."""
    first, last = (dt.date.fromisoformat(orders["ordered_at"].agg(end)) for end in ("min", "max"))
    day, rows = first + dt.timedelta(weeks=weeks) - dt.timedelta(days=1), []
    until = day + dt.timedelta(weeks=horizon)
    if until > last:
        return rows
    shop = clv.connect({"orders": orders})
    known, later = shop.calibration_holdout(day, until, unit="W", collapse="D")
    came = float((later["frequency_holdout"] * later["monetary_value_holdout"]).sum())
    for prior in (None, 1.5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base = CustomerValue(horizon, margin=1.0, annual_rate=0.0, dropout_prior=prior).of(shop, day)
        alone = LifetimeValue(base.purchases, base.spend, annual_rate=0.0, unit="W").total(known, horizon).loc["all"]
        inside, held = (each["lower"] <= came <= each["upper"] for each in (alone, vars(base)))
        rows.append({"prior": prior is not None, "error": np.log(base.value / came), "alone": inside, "held": held,
                     "converged": base.purchases.converged_})  # fmt: skip
    shop.close()
    return rows


def tables() -> Iterator[pd.DataFrame]:
    """Yield both tables."""
    found = {}
    for name, truth in TRUTHS.items():
        for customers, weeks in ((500, 16), (1500, 16), (1500, 28), (5000, 16)):
            found[name, customers, weeks] = drawn(truth, customers, weeks, 40)
    yield summed(found, ["truth", "customers", "weeks"])
    found = {}
    for name, size in {
        "cdnow": 600,
        "online_retail": 700,
        "complete_journey": 800,
        "grocery": 500,
        "apparel": 600,
    }.items():
        shops = list(parts(real(name), size, 6))
        for horizon in (12, 26, 52):
            rows = [row for shop in shops for weeks in (20, 28, 40) for row in valued(shop, weeks, horizon)]
            if rows:
                found[name, horizon] = pd.DataFrame(rows)
    yield summed(found, ["shop", "weeks ahead"])


def summed(found: dict[tuple[object, ...], pd.DataFrame], names: list[str]) -> pd.DataFrame:
    """Return bias, root mean squared error and shares, without and with the prior."""
    frame = pd.concat(found, names=names).assign(square=lambda rows: rows["error"] ** 2)
    table = frame.groupby([*names, "prior"], sort=False).mean()
    table.insert(1, "rmse", np.sqrt(table.pop("square")))
    return table.assign(forecasts=frame.groupby([*names, "prior"], sort=False).size()).round(3)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for table in tables():
            sys.stdout.write(f"{table.to_string()}\n\n")
