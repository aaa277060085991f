"""How well young shops are valued: with and without the prior of dropout, with and without the model's own error.

``python -m tests.clv.young_shops`` prints five tables: shops drawn from BG/NBD, whose expected purchases are known; the
sample shop drawn anew, its value in 12 weeks and what its customers then spent in a year; parts of real shops of a few
hundred customers each, against what came; and risks of leaving in the sample shop drawn anew. It takes about six CPU
minutes.
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
from clvlib.data import sample_process, sample_world
from tests.clv.real_shops import SHOPS, daily, parts, real, risks, valued

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


def tables() -> Iterator[pd.DataFrame]:
    """Yield the tables."""
    designs = ((500, 16), (1500, 16), (1500, 28), (5000, 16))
    found = {(name, *design): drawn(truth, *design, 40) for name, truth in TRUTHS.items() for design in designs}
    yield summed(found, ["truth", "customers", "weeks"], ["prior"])
    found = {(season,): in_twelve_weeks(season) for season in (True, False)}
    yield summed(found, ["season"], ["week"])
    shops = {season: [redrawn(seed, 6500, 92, season=season) for seed in range(100, 114)] for season in (True, False)}
    found = {
        (season,): pd.concat(valued(each, (24, 40), (52,), (None, 1.5)) for each in some)
        for season, some in shops.items()
    }
    yield summed(found, ["season"], ["prior", "week"])
    found = {
        (name,): pd.concat(valued(shop, (20, 28, 40), (12, 26, 52), (None, 1.5)) for shop in parts(real(name), *design))
        for name, design in SHOPS.items()
    }
    yield summed(found, ["shop"], ["horizon", "prior"])
    found = {(season,): pd.concat(risks(redrawn(seed, 1200, 34, season=season), (26, 34)) for seed in range(12))
             for season in (True, False)}  # fmt: skip
    yield pd.concat(found, names=["season"]).groupby(["season", "prior"]).mean()


def summed(found: dict[tuple[object, ...], pd.DataFrame], names: list[str], by: list[str]) -> pd.DataFrame:
    """Return mean errors, their root mean squares and shares."""
    frame = pd.concat(found, names=names).assign(rmse=lambda rows: rows["error"] ** 2)
    groups = frame.groupby([*names, *by], sort=False)
    shown = [
        each for each in ("error", "inside", "converged", "estimates alone", "model error too", "rmse") if each in frame
    ]
    table = groups[shown].mean()
    return table.assign(rmse=np.sqrt(table["rmse"]), forecasts=groups.size())


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for table in tables():
            sys.stdout.write(f"{table.round(3).to_string()}\n\n")
