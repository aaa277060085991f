"""How well young shops are valued: with and without the prior of dropout, with and without what past forecasts missed.

``python -m tests.clv.young_shops`` prints four tables: shops drawn from BG/NBD, whose expected purchases are known; the
sample shop drawn anew, its value in 12 weeks and what its customers then spent in a year; and parts of real shops of a
few hundred customers each, against what came. It takes about five CPU minutes.
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
from clvlib.clv.outlook import outlook
from clvlib.clv.valuation import CustomerValue
from clvlib.clv.value import LifetimeValue
from clvlib.data import sample_process, sample_world
from clvlib.data.datasets import cdnow
from tests.conftest import shared_data

TRUTHS = {
    "CDNOW (2005)": {"r": 0.243, "alpha": 4.41, "a": 0.79, "b": 2.43},
    "sample shop": {"r": 0.27, "alpha": 2.2, "a": 0.8, "b": 2.8},
    "few leave": {"r": 0.5, "alpha": 5.0, "a": 0.3, "b": 3.0},
    "many leave": {"r": 0.5, "alpha": 3.0, "a": 2.0, "b": 3.0},
}
PRIOR = dict.fromkeys("ab", (1.0, 1.5))
START = dt.date(2025, 2, 10)  # years that are over: a connection sets the future aside


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
    return daily(frame)


def daily(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the orders of a shop, one per customer and day."""
    day = pd.to_datetime(frame["at"]).dt.strftime("%Y-%m-%d")
    who, amount = frame["customer_id"].astype(str), frame["amount"].astype(float)
    rows = pd.DataFrame({"customer_id": who, "ordered_at": day, "amount": amount})
    return rows.groupby(["customer_id", "ordered_at"], as_index=False)["amount"].sum()


def parts(frame: pd.DataFrame, size: int, most: int) -> Iterator[pd.DataFrame]:
    """Yield random shops of about so many customers each."""
    who = np.sort(frame["customer_id"].unique())
    part = pd.Series(np.random.default_rng(5).integers(0, max(len(who) // size, 1), len(who)), who)
    for number in range(min(most, max(len(who) // size, 1))):
        yield frame[frame["customer_id"].map(part) == number]


def redrawn(seed: int, customers: int, weeks: int, *, season: bool) -> pd.DataFrame:
    """Return the orders of a shop like the sample shop, all of them paid and kept, with its season or without."""
    rng, year = np.random.default_rng(seed), sample_process.make_season(START, weeks)
    if not season:
        hourly = np.tile(sample_world.HOUR_WEIGHT / sample_world.HOUR_WEIGHT.mean(), 7 * weeks)
        clock = np.append(0.0, np.cumsum(hourly) * 3600)
        year = sample_process.Season(START, weeks, np.ones(7 * weeks), hourly, clock)
    people = sample_process.make_people(rng, year, customers)
    who, when, _ = sample_process.purchase_times(rng, year, people)
    day = pd.Timestamp(START) + pd.to_timedelta(when // sample_world.DAY, "D")
    spent = rng.gamma(sample_world.GAMMA_GAMMA["p"], 1 / people.spend_rate[who]).round(2)
    return daily(pd.DataFrame({"customer_id": who, "at": day, "amount": spent}))


def in_twelve_weeks(season: bool, runs: int = 14) -> pd.DataFrame:
    """Return how the value of the base in 12 weeks was forecast, by the week of the forecast."""
    rows = []
    for seed in range(runs):
        shop = clv.connect({"orders": redrawn(seed, 3000, 40, season=season)})
        end = START + dt.timedelta(weeks=40) - dt.timedelta(days=1)
        past = outlook(shop, end, draws=200).past
        past = past[(past["figure"] == "base_value") & (past["weeks"] == 12)]
        week = 40 - (pd.Timestamp(end) - past["origin"]).dt.days // 7
        rows.append(pd.DataFrame({"week": week, "error": past["mean"] / past["actual"] - 1, "inside": past["inside"]}))
        shop.close()
    return pd.concat(rows)


def valued(orders: pd.DataFrame, weeks: tuple[int, ...], horizons: tuple[int, ...]) -> pd.DataFrame:
    """Value a shop after so many weeks, undiscounted and without a margin, beside what its customers then spent."""
    first, last = (dt.date.fromisoformat(end(orders["ordered_at"])) for end in (min, max))
    shop, rows = clv.connect({"orders": orders}), []
    for week in weeks:
        day = first + dt.timedelta(weeks=week) - dt.timedelta(days=1)
        ahead = [each for each in horizons if day + dt.timedelta(weeks=each) <= last]
        for prior in (None, 1.5) if ahead else ():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                base = CustomerValue(dropout_prior=prior).of(shop, day)
            life = LifetimeValue(base.purchases, base.spend, annual_rate=0.0, unit="W")
            for horizon in ahead:
                known, later = shop.calibration_holdout(day, day + dt.timedelta(weeks=horizon), unit="W", collapse="D")
                came = float((later["frequency_holdout"] * later["monetary_value_holdout"]).sum())
                parts_ = life.parts(known, horizon)
                alone, held = (life.sums(parts_, model_error=past).loc["all"] for past in (0.0, base.model_error))
                row = {
                    "week": week,
                    "horizon": horizon,
                    "prior": prior is not None,
                    "error": np.log(held["mean"] / came),
                }
                inside = {name: each["lower"] <= came <= each["upper"] for name, each in
                          (("estimates alone", alone), ("past errors too", held))}  # fmt: skip
                rows.append(row | inside)
    shop.close()
    return pd.DataFrame(rows)


def tables() -> Iterator[pd.DataFrame]:
    """Yield the tables."""
    designs = ((500, 16), (1500, 16), (1500, 28), (5000, 16))
    found = {(name, *design): drawn(truth, *design, 40) for name, truth in TRUTHS.items() for design in designs}
    yield summed(found, ["truth", "customers", "weeks"], ["prior"])
    found = {(season,): in_twelve_weeks(season) for season in (True, False)}
    yield summed(found, ["season"], ["week"])
    shops = {season: [redrawn(seed, 6500, 92, season=season) for seed in range(100, 114)] for season in (True, False)}
    found = {(season,): pd.concat(valued(each, (24, 40), (52,)) for each in some) for season, some in shops.items()}
    yield summed(found, ["season"], ["prior", "week"])
    sizes = {"cdnow": 600, "online_retail": 700, "complete_journey": 800, "grocery": 500, "apparel": 600}
    found = {
        (name,): pd.concat(valued(shop, (20, 28, 40), (12, 26, 52)) for shop in parts(real(name), size, 6))
        for name, size in sizes.items()
    }
    yield summed(found, ["shop"], ["horizon", "prior"])


def summed(found: dict[tuple[object, ...], pd.DataFrame], names: list[str], by: list[str]) -> pd.DataFrame:
    """Return mean errors, their root mean squares and shares."""
    frame = pd.concat(found, names=names).assign(rmse=lambda rows: rows["error"] ** 2)
    groups = frame.groupby([*names, *by], sort=False)
    table = groups.mean()
    return table.assign(rmse=np.sqrt(table["rmse"]), forecasts=groups.size()).drop(
        columns={"week", "horizon"} & {*table}
    )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for table in tables():
            sys.stdout.write(f"{table.round(3).to_string()}\n\n")
