"""Bands of the track of purchases: closed forms where there are some, and coverage by simulated shops."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.clv.bands import expected_by_age, track_bands
from clvlib.clv.holdout import tracking
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.errors import ConvergenceWarning

MONDAY = pd.Timestamp("2024-01-01")
WEEKS, SPLIT, BORN = 56, 32, 120  # weeks in all, of which the model sees some; customers come within so many days


def shop(kind, truth, n, rng) -> pd.DataFrame:
    """Draw purchases one by one, in days: customer_id and the number of the day."""
    birth = rng.integers(0, BORN, n)
    start = birth + rng.random(n)
    rate = rng.gamma(truth["r"], 1 / truth["alpha"], n) / 7
    leaves = rng.beta(truth["a"], truth["b"], n) if kind is BetaGeoModel else np.zeros(n)
    life = np.full(n, np.inf)
    if kind is ParetoNBDModel:
        life = 7 * rng.exponential(size=n) / rng.gamma(truth["s"], 1 / truth["beta"], n)
    who, day = [np.arange(n)], [birth]
    time, todo = start.copy(), np.arange(n)
    while len(todo):
        time[todo] += rng.exponential(size=len(todo)) / np.maximum(rate[todo], 1e-300)
        todo = todo[(time[todo] < 7 * WEEKS) & (time[todo] - start[todo] < life[todo])]
        who.append(todo)
        day.append(time[todo].astype(int))
        todo = todo[rng.random(len(todo)) >= leaves[todo]]
    return pd.DataFrame({"customer_id": np.concatenate(who), "number": np.concatenate(day)}).drop_duplicates()


def history(purchases, last) -> pd.DataFrame:
    seen = purchases[purchases["number"] <= last].groupby("customer_id")["number"].agg(["min", "max", "size"])
    columns = {"frequency": seen["size"] - 1, "recency": (seen["max"] - seen["min"]) / 7, "T": (last - seen["min"]) / 7}
    frame = pd.DataFrame(columns)
    frame.attrs["clvlib"] = {"unit": "W"}
    return frame


@pytest.mark.slow
def test_bands_hold_what_they_say():
    """Over simulated shops actual weeks and running sums lie in the 90% band as often as it says, seen or not."""
    truths = {
        BetaGeoModel: {"r": 0.6, "alpha": 8.0, "a": 0.9, "b": 3.0},
        ParetoNBDModel: {"r": 0.6, "alpha": 9.0, "s": 0.6, "beta": 12.0},
    }
    rng, last, inside = np.random.default_rng(3), 7 * SPLIT - 1, []
    for kind, truth in truths.items():
        for _ in range(40):
            purchases = shop(kind, truth, 1000, rng)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # some shops do not hold all parameters
                model = kind().fit(history(purchases, last))
            orders = purchases.assign(day=MONDAY + pd.to_timedelta(purchases["number"], "D"))
            days = [MONDAY + pd.Timedelta(days=d) for d in (7 * WEEKS - 1, last)]
            frame = tracking(model, orders, *days, interval=0.9, draws=2000)
            row = {}
            for held, part in frame.groupby("holdout"):
                for name in ("", "_cumulative"):
                    hits = part[f"actual{name}"].between(part[f"lower{name}"], part[f"upper{name}"])
                    row[f"actual{name}", held] = hits.mean()
            inside.append(row)
    coverage = pd.DataFrame(inside).mean()
    assert coverage.between(0.86, 0.94).all(), coverage
    assert coverage[[("actual", False), ("actual", True)]].between(0.88, 0.92).all(), coverage


def test_chance_alone_is_that_of_the_negative_binomial():
    """With given parameters a week, and the sum up to it, are sums of independent negative binomial counts."""
    model = NBDModel.with_parameters({"r": 0.6, "alpha": 3.0}, unit="W")
    births = pd.Series({0: 500, 3: 700, 30: 900})
    ends = np.arange(6, 140, 7)
    bands = track_bands(model, births, ends, 90, 7.0, 0.9, 40_000, 1)
    age = np.maximum(ends[:, None] - births.index.to_numpy(), 0) / 7
    for name, span in (("", np.diff(age, axis=0, prepend=0.0)), ("_cumulative", age)):
        mean = (0.2 * span) @ births.to_numpy()
        deviation = np.sqrt((0.2 * span * (1 + span / 3)) @ births.to_numpy())
        shape = (mean / deviation) ** 2
        for side, level in (("lower", 0.05), ("upper", 0.95)):
            limit = stats.gamma.ppf(level, shape, scale=mean / shape)
            assert np.abs((bands[f"{side}{name}"] - limit) / deviation).max() < 0.06  # 1.645 deviations ± 3%


def test_what_the_fit_has_seen_is_not_uncertain():
    """Of customers of one age NBD's fit expects just the total that it has seen, whatever their rates.

    What is left at time t is X(t) − t/T X(T), the split being at T: of variance λ |t − T| t/T given a customer's rate.
    """
    last, ends, customers = 7 * SPLIT - 1, np.arange(6, 7 * WEEKS, 7), 2000
    truth = NBDModel.with_parameters({"r": 0.5, "alpha": 6.0}, unit="W")
    model = NBDModel().fit(truth.simulate(customers, last / 7, 1))
    bands = track_bands(model, pd.Series({0: customers}), ends, last, 7.0, 0.9, 20_000, 1)
    rate, split, t = customers * model.params_["r"] / model.params_["alpha"], last / 7, ends / 7
    mean, variance = rate * t, rate * np.maximum(np.abs(t - split), 1e-6) * t / split
    for side, level in (("lower", 0.05), ("upper", 0.95)):
        limit = stats.gamma.ppf(level, mean**2 / variance, scale=variance / mean)
        assert np.abs((bands[f"{side}_cumulative"] - limit) / np.sqrt(variance + 1)).max() < 0.07
    again = track_bands(model, pd.Series({0: customers}), ends, last, 7.0, 0.9, 20_000, 1)
    pd.testing.assert_frame_equal(bands, again)


def test_expectation_by_age_is_the_models():
    model = BetaGeoModel.with_parameters({"r": 0.6, "alpha": 8.0, "a": 0.9, "b": 3.0}, unit="W")
    age = np.array([[-3, 0, 1], [5, 70, 700]])
    expected = model.expected_purchases_new(np.maximum(age, 0) / 7)
    np.testing.assert_allclose(expected_by_age(model, model._p(), age, 7.0), expected)
