"""Whether intervals of value and outlook hold on real shops, what they leave out, and how far the naive forecast gets.

``python -m tests.clv.real_shops`` prints four tables of five real shops, cut at random into parts of a few hundred
customers: what the customers so far then bought and spent; the weekly outlook; how much of the error each source
brings; and risks of leaving with and without the prior of dropout. It takes about five CPU minutes; a shop whose data
are not on this machine is left out with a line that says so.
"""

from __future__ import annotations

import datetime as dt
import sys
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest

import clvlib as clv
from clvlib.clv.churn_features import Records
from clvlib.clv.churn_rounds import PURCHASE, known_days, rounds
from clvlib.clv.engine import unfitted
from clvlib.clv.models.base import normal_quantile
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.outlook import outlook
from clvlib.clv.valuation import AUTO, CustomerValue
from clvlib.clv.value import LifetimeValue
from clvlib.data.datasets import cdnow
from clvlib.errors import EmptyDataError
from tests.conftest import shared_data

# customers of a part, and how many parts
SHOPS = {
    "cdnow": (600, 6),
    "online_retail": (700, 6),
    "complete_journey": (800, 3),
    "grocery": (500, 3),
    "apparel": (300, 2),
}
WEEKS, HORIZONS = (20, 28, 40, 52, 104, 156), (4, 12, 26, 52)
LEVEL = 0.9


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


def day_after(orders: pd.DataFrame, weeks: int) -> dt.date:
    """Return the last day of so many weeks of a shop."""
    return dt.date.fromisoformat(orders["ordered_at"].min()) + dt.timedelta(weeks=weeks) - dt.timedelta(days=1)


def valued(
    orders: pd.DataFrame, weeks: Sequence[int], horizons: Sequence[int], priors: Sequence[float | None] = (1.5,)
) -> pd.DataFrame:
    """Value a shop after so many weeks, undiscounted and without a margin, beside what its customers then spent.

    Errors are log(forecast / actual), ``error`` and ``naive`` those of spend; naive is what those who were customers
    before it brought in the period before. ``chance``, ``estimates``, ``model``: relative deviations of the forecast.
    """
    last = dt.date.fromisoformat(orders["ordered_at"].max())
    shop, rows = clv.connect({"orders": orders}), []
    for week in weeks:
        day = day_after(orders, week)
        ahead = [each for each in horizons if day + dt.timedelta(weeks=each) <= last]
        for prior in priors if ahead else ():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                base = CustomerValue(dropout_prior=prior, interval=LEVEL).of(shop, day)
            life = LifetimeValue(base.purchases, base.spend, annual_rate=0.0, unit="W")
            for horizon in ahead:
                facts = {"week": week, "horizon": horizon, "prior": prior is not None, "model": base.model_error}
                rows.append(facts | _against(shop, life, day, horizon, base.model_error))
    shop.close()
    return pd.DataFrame(rows)


def _against(shop: clv.Shop, life: LifetimeValue, day: dt.date, horizon: int, error: float) -> dict[str, float]:
    """Hold forecasts of purchases and spend within a horizon against what came."""
    known, (bought, came) = _came(shop, day, horizon)
    parts_ = life.parts(known, horizon)
    alone, held = (life.sums(parts_, LEVEL, model_error=each).loc["all"] for each in (0.0, error))
    count = life.purchases.total_purchases(known, horizon, LEVEL)
    own, fixed = (life.sums(parts_, LEVEL, uncertainty=each).loc["all"] for each in ("customer", "parameters"))
    try:
        naive = np.log(_came(shop, day - dt.timedelta(weeks=horizon), horizon)[1][1] / came)
    except EmptyDataError:
        naive = np.nan
    twice = 2 * normal_quantile(LEVEL)
    return {
        "of purchases": np.log(count["mean"] / bought),
        "error": np.log(held["mean"] / came),
        "naive": naive if np.isfinite(naive) else np.nan,
        "chance": np.log(own["upper"] / own["lower"]) / twice,
        "estimates": np.log(fixed["upper"] / fixed["lower"]) / twice,
        "purchases": count["lower"] <= bought <= count["upper"],
        "estimates alone": alone["lower"] <= came <= alone["upper"],
        "model error too": held["lower"] <= came <= held["upper"],
    }


def _came(shop: clv.Shop, day: dt.date, horizon: int) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Return the histories on a day, and the purchases and the spend that followed."""
    known, later = shop.calibration_holdout(day, day + dt.timedelta(weeks=horizon), unit="W", collapse="D")
    bought = later["frequency_holdout"]
    return known, (float(bought.sum()), float((bought * later["monetary_value_holdout"]).sum()))


def outlooks(orders: pd.DataFrame, ends: Sequence[int]) -> pd.DataFrame:
    """Return the outlooks of up to nine past days before each end, with what came; ``nbd`` are those of NBD."""
    shop, found, last = clv.connect({"orders": orders}), [], dt.date.fromisoformat(orders["ordered_at"].max())
    for end in ends:
        day = min(day_after(orders, end), last)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own, nbd = (
                outlook(shop, day, CustomerValue(model=model, interval=LEVEL), origins=9, draws=200).past
                for model in (AUTO, "NBDModel")
            )
        key = ["origin", "weeks", "figure"]
        found.append(own.merge(nbd[[*key, "mean"]].rename(columns={"mean": "nbd"}), on=key))
    shop.close()
    frame = pd.concat(found).drop_duplicates(["origin", "weeks", "figure"])
    frame = frame[frame["actual"] > 0]
    said = {"error": "mean", "naive": "naive", "nbd": "nbd"}
    logs = {name: np.log(np.maximum(frame[column], 0.5) / frame["actual"]) for name, column in said.items()}
    alone = frame["off"].abs() <= normal_quantile(LEVEL)
    return frame[["weeks", "figure", "inside"]].assign(**logs, **{"record left out": alone})


def risks(orders: pd.DataFrame, weeks: Sequence[int]) -> pd.DataFrame:
    """Return Brier scores on held-out weeks of risks by BG/NBD, with and without the prior, as such and calibrated."""
    rows = []
    for week in weeks:
        day = day_after(orders, week)
        known = orders[orders["ordered_at"] <= str(day)].rename(columns={"ordered_at": "day"})
        if orders["ordered_at"].max() < str(day):
            continue
        known["day"] = pd.to_datetime(known["day"])
        for prior in (None, 1.5):
            try:
                past = known_days(Records.read(day, 8, 13, unfitted(BetaGeoModel, prior), orders=known))
                graded = rounds(past, 8)
            except EmptyDataError:
                continue
            raw = np.concatenate([each.facts["no_purchase"].to_numpy(dtype=float) for each in past])
            lapsed = np.concatenate([each.lapsed.to_numpy(dtype=float) for each in past])
            rows.append({
                "week": week, "prior": prior is not None, "as such": ((raw - lapsed) ** 2).mean(),
                "calibrated": ((graded[PURCHASE] - graded["lapsed"]) ** 2).mean(),
            })  # fmt: skip
    return pd.DataFrame(rows)


# ---- tables


def root(values: pd.Series) -> float:
    """Return the root mean square."""
    return float(np.sqrt((values**2).mean()))


def shared(errors: pd.DataFrame) -> float:
    """Return the share of the mean square that the parts of a shop have in common.

    Chance and estimation are each part's own. What all share, the product of two parts' errors, is the season's, the
    model's or the trend of baskets.
    """
    table = errors.pivot_table(index=["week", "horizon"], columns="part", values="error").dropna()
    n = table.shape[1]
    common = (table.sum(axis=1) ** 2 - (table**2).sum(axis=1)) / (n * (n - 1))
    return float(common.mean() / (table**2).to_numpy().mean())


def gathered(names: Sequence[str]) -> tuple[dict[str, list[pd.DataFrame]], ...]:
    """Return values, outlooks and risks by shop; a shop without data is named."""
    values: dict[str, list[pd.DataFrame]] = {}
    coming: dict[str, list[pd.DataFrame]] = {}
    leaving: dict[str, list[pd.DataFrame]] = {}
    ends = {"apparel": (60, 120, 180, 240, 300), "grocery": (52, 103), "cdnow": (52, 77)}
    for name in names:
        try:
            orders = real(name)
        except pytest.skip.Exception as reason:
            sys.stdout.write(f"{name} is left out: {reason}\n")
            continue
        for number, part in enumerate(parts(orders, *SHOPS[name])):
            values.setdefault(name, []).append(valued(part, WEEKS, HORIZONS).assign(part=number))
            coming.setdefault(name, []).append(outlooks(part, ends.get(name, (52,))))
            leaving.setdefault(name, []).append(risks(part, (28, 40, 52, 78)))
    return values, coming, leaving


def tables(names: Sequence[str] = tuple(SHOPS)) -> Iterator[pd.DataFrame]:
    """Yield the tables."""
    values, coming, leaving = ({key: pd.concat(each) for key, each in found.items()} for found in gathered(names))
    groups = pd.concat(values, names=["shop"]).groupby(["shop", "horizon"], sort=False)
    roots = groups[["of purchases", "error", "naive"]].agg(root).add_prefix("rms ")
    held = groups[["purchases", "estimates alone", "model error too"]].mean()
    yield held.assign(bias=groups["error"].mean(), forecasts=groups.size()).join(roots)
    groups = pd.concat(coming, names=["shop"]).groupby(["shop", "figure", "weeks"], sort=False)
    roots = groups[["error", "naive", "nbd"]].agg(root).add_prefix("rms ")
    held = groups[["record left out", "inside"]].mean()
    yield held.assign(bias=groups["error"].mean(), forecasts=groups.size()).join(roots)
    groups = pd.concat(values, names=["shop"]).groupby(["shop"], sort=False)
    yield groups[["error", "chance", "estimates", "model"]].agg(root).assign(shared=groups.apply(shared))
    groups = pd.concat(leaving, names=["shop"]).groupby(["shop", "prior"], sort=False)
    yield groups[["as such", "calibrated"]].mean().assign(days=groups.size())


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for table in tables(sys.argv[1:] or tuple(SHOPS)):
            sys.stdout.write(f"{table.round(4).to_string()}\n\n")
