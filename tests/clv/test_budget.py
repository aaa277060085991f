"""The budget: known curves are recovered, gains cover, a grid finds no better, and what is not told stays put."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.clv.budget import budget
from clvlib.clv.budget_curves import response_curves
from clvlib.clv.budget_moves import shift
from clvlib.clv.budget_plots import budget_plot
from clvlib.clv.valuation import CustomerValue
from clvlib.errors import EmptyDataError, ParameterError

END = "2026-11-15"
NAMES = ("A", "B", "C", "D")
LEVEL, WORTH = np.array([60.0, 40.0, 30.0, 50.0]), np.array([50.0, 90.0, 30.0, 60.0])
SLOPES, COST = np.array([0.3, 0.6, 0.45, 0.5]), np.array([1000.0, 800.0, 900.0, 700.0])


def weeks_of(seed: int, weeks: int = 52, spread: float = 0.6, demand: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Draw cost and new customers, shape (weeks, channels); in busy weeks both are higher in all channels."""
    rng = np.random.default_rng(seed)
    busy = rng.normal(0, demand, (weeks, 1))
    cost = COST * np.exp(rng.normal(0, spread, (weeks, 4)) + busy)
    return cost, rng.poisson(LEVEL * (cost / COST) ** SLOPES * np.exp(busy)).astype(float)


def weekly(cost: np.ndarray, new: np.ndarray) -> pd.DataFrame:
    rows = [
        {"channel": name, "week": week, "cost": cost[week, i], "new": new[week, i]}
        for i, name in enumerate(NAMES)
        for week in range(len(cost))
    ]
    return pd.DataFrame(rows)


def shop_of(cost: np.ndarray, new: np.ndarray, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return orders, spend and values; the first row is the last week."""
    rng, orders, values, number = np.random.default_rng(seed), [], {}, 0
    last = pd.Timestamp(END)
    for week in range(len(cost)):
        for i, name in enumerate(NAMES[: cost.shape[1]]):
            for _ in range(int(new[week, i])):
                number += 1
                orders.append((f"c{number}", last - pd.Timedelta(days=7 * week + int(rng.integers(0, 7))), name, 0.0))
                values[f"c{number}"] = rng.gamma(2, WORTH[i] / 2)
    frame = pd.DataFrame(orders, columns=["customer_id", "day", "channel", "net_amount"])
    rows = [
        (name, last - pd.Timedelta(weeks=week), cost[week, i])
        for week in range(len(cost))
        for i, name in enumerate(NAMES[: cost.shape[1]])
    ]
    return frame, pd.DataFrame(rows, columns=["channel", "date", "cost"]), pd.Series(values)


# ---- curves


def test_elasticities_are_recovered_though_spend_rises_with_demand():
    found = response_curves(weekly(*weeks_of(1, 104)), 0.9, 4_000, np.random.default_rng(0))
    table = found.table
    assert table["told"].all()
    assert np.abs(table["own"] - SLOPES).max() < 0.12
    assert ((table["lower"] < SLOPES) & (table["upper"] > SLOPES)).all()
    plain = [
        np.polyfit(np.log(cost), np.log(new + 0.5), 1)[0]
        for cost, new in zip(*map(np.transpose, weeks_of(1, 104)), strict=True)
    ]
    assert np.mean(np.array(plain) - SLOPES) > 0.08  # without the weeks, demand is taken for the effect of spend


def test_intervals_of_elasticities_hold():
    inside: list[bool] = []
    for seed in range(40):
        table = response_curves(weekly(*weeks_of(seed, 40)), 0.9, 1_000, np.random.default_rng(0)).table
        inside += list((table["lower"] < SLOPES) & (table["upper"] > SLOPES))
    assert 0.83 < np.mean(inside) < 0.97


def test_drawing_together_pays_where_weeks_are_few():
    own, drawn = [], []
    for seed in range(30):
        table = response_curves(weekly(*weeks_of(seed, 25, spread=0.3)), 0.9, 1_000, np.random.default_rng(0)).table
        told = table["told"].to_numpy()
        own += list((table["own"] - SLOPES)[told])
        drawn += list((table["elasticity"] - SLOPES)[told])
    assert np.mean(np.square(drawn)) < 0.97 * np.mean(np.square(own))


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_where_spend_hardly_varies_nothing_is_told(spread):
    for seed in range(5):
        cost, new = weeks_of(seed, 52, spread=spread)
        found = response_curves(weekly(cost, new), 0.9, 500, np.random.default_rng(0))
        assert not found.table["told"].any()
        assert np.isnan(found.draws).all()


def test_spend_in_proportion_to_customers_shows_no_diminishing_return():
    """Where a channel bills per customer, the elasticity is one and marginal is average."""
    rng = np.random.default_rng(3)
    new = rng.poisson(40 * np.exp(rng.normal(0, 0.5, (60, 4)))).astype(float)
    cost = 20 * new * np.exp(rng.normal(0, 0.02, new.shape)) + 1e-3
    table = response_curves(weekly(cost, new), 0.9, 1_000, np.random.default_rng(0)).table
    assert (table["elasticity"] > 0.95).all()


# ---- the optimum


@pytest.mark.parametrize("seed", range(4))
def test_no_division_on_a_grid_is_better(seed):
    rng = np.random.default_rng(seed)
    spend, b, v = rng.uniform(50, 150, 3), rng.uniform(0.1, 0.9, (40, 3)), rng.uniform(50, 300, (40, 3))
    least, most, total = spend * 0.5, spend * 1.6, float(spend.sum()) * 1.05

    def brings(x: np.ndarray) -> float:
        return float((v * (x / spend) ** b).mean(axis=0).sum())

    best = shift(spend, b, v, total, least, most)
    assert best.sum() == pytest.approx(total)
    assert ((best >= least - 1e-6) & (best <= most + 1e-6)).all()
    axes = [np.linspace(low, high, 161) for low, high in zip(least[:2], most[:2], strict=True)]
    grid = [
        brings(np.array([x, y, total - x - y]))
        for x, y in itertools.product(*axes)
        if least[2] <= total - x - y <= most[2]
    ]
    assert brings(best) >= max(grid) - 1e-6 * max(grid)
    assert brings(best) == pytest.approx(max(grid), rel=1e-3)


def test_a_straight_line_goes_to_its_limits():
    spend, one = np.array([100.0, 100.0]), np.ones((1, 2))
    best = shift(spend, one, np.array([[100.0, 300.0]]), 200, spend * 0.7, spend * 1.3)
    assert best.tolist() == pytest.approx([70, 130])
    with pytest.raises(ParameterError, match="leave no room"):
        shift(spend, one, np.array([[100.0, 300.0]]), 500, spend * 0.7, spend * 1.3)


# ---- the whole


def true_gain(proposal: pd.Series, today: pd.Series, new: np.ndarray) -> float:
    """Return what the proposal brings beyond today's by the curves that the shop was drawn from."""
    rate = LEVEL * np.array([(today[name] / cost) ** b for name, cost, b in zip(NAMES, COST, SLOPES, strict=True)])
    ratio = np.array([proposal[name] / today[name] for name in NAMES])
    return float((WORTH * rate * (ratio**SLOPES - 1)).sum() - (proposal.sum() - today.sum()))


@pytest.mark.slow
def test_the_gains_interval_holds():
    inside, gains = [], []
    for seed in range(30):
        cost, new = weeks_of(seed, 52, demand=0.0)
        found = budget(*shop_of(cost, new, seed), END, recent=26, draws=1_000)
        gain = true_gain(found.table["proposed"], found.table["spend"], new)
        inside.append(found.lower <= gain <= found.upper)
        gains.append(gain)
    assert np.mean(inside) > 0.8  # 90% asked for, of 30
    assert np.mean(np.array(gains) > 0) > 0.9


def test_money_goes_where_the_next_unit_brings_most():
    found = budget(*shop_of(*weeks_of(5, 52)), END, change=0.4)
    table = found.table
    assert found.told == 4
    assert table["proposed"].sum() == pytest.approx(table["spend"].sum())
    assert table["change"].between(-0.4 - 1e-6, 0.4 + 1e-6).all()
    assert table.loc["B", "change"] > 0 > table.loc["C", "change"]  # 90 × 40 × .6 / 800 against 30 × 30 × .45 / 900
    assert found.gain > 0
    assert found.lower < found.gain < found.upper
    assert 0 <= found.extrapolated <= 1
    assert "not a proof" in found.verdict
    none = budget(*shop_of(*weeks_of(5, 52)), END, change=0.0)
    assert none.gain == pytest.approx(0)
    assert "already divided" in none.verdict
    assert budget_plot(found).get_title(loc="left")


def test_what_was_never_spent_is_extrapolation():
    rows = shop_of(*weeks_of(6, 52, spread=0.35))
    wide = dict.fromkeys(NAMES, (1.0, 20000.0))
    far, near = budget(*rows, END, change=wide), budget(*rows, END, change=0.05)
    assert far.extrapolated > near.extrapolated == 0
    assert far.table["beyond"].any()
    assert far.gain > near.gain


def test_limits_by_channel_and_another_total():
    rows = shop_of(*weeks_of(7, 52))
    today = budget(*rows, END).table["spend"]
    found = budget(*rows, END, change={"A": (0.0, float(today["A"]))}, total=float(today.sum()) - 100)
    assert (found.table["proposed"] - today)["A"] == pytest.approx(-100)
    assert found.proposed == pytest.approx(today.sum() - 100)
    with pytest.raises(ParameterError, match="leave no room"):
        budget(*rows, END, total=0.0)


# ---- the sample, and thin shops


def test_the_samples_curves_cannot_be_told(sample_shop):
    """Spend there is a price per customer that follows the season: no curve was planted, and none is found."""
    value = CustomerValue(model="BetaGeoModel").of(sample_shop, END).table["value"]
    tables = [sample_shop.table(name) for name in ("orders", "spend", "customers")]
    found = budget(*tables[:2], value, END, tables[2], segment="city_tier")
    assert found.told == 0
    assert np.isnan([found.gain, found.lower, found.upper]).all()
    assert found.table["marginal"].isna().all()
    assert (found.table["proposed"] == found.table["spend"]).all()
    assert found.table["average"].idxmin() == "KOL"  # the dearest, whose customers buy least
    assert {"WeChat group", "Referral"} == set(found.table["average"].nlargest(2).index)
    assert (
        (found.table["average_lower"] < found.table["average"])
        & (found.table["average"] < found.table["average_upper"])
    ).all()
    assert "cannot be told" in found.sentence
    assert found.segments["customers"].sum() == len(value)
    whole = (found.segments["value_per_customer"] * found.segments["customers"]).sum()
    earned = 0.3 * tables[0].query("SELECT SUM(net_amount) AS n FROM {t} WHERE is_purchase")["n"].iloc[0]
    assert whole == pytest.approx(value.sum() + earned, rel=1e-9)
    assert budget_plot(found).get_title(loc="left")


def test_what_all_expected_values_share_widens_every_interval():
    """Customers all alike and many, half of their value only expected, the sum of values known to 30% at 90%."""
    cost, new = np.full((8, 2), 100.0), np.full((8, 2), 2_000.0)
    orders, spend, value = shop_of(cost, new)
    orders, value = orders.assign(net_amount=100.0), value * 0 + 30.0  # 30 earned, 30 expected
    people = pd.DataFrame({"customer_id": value.index, "city_tier": "tier 1"})
    ends = (0.7 * value.sum(), 1.3 * value.sum())
    tables = (orders, spend, value, END, people)
    alone, shared = (budget(*tables, segment="city_tier", value_limits=w, draws=20_000) for w in (None, ends))
    chance = stats.norm.ppf(0.95) / np.sqrt(16_000)  # of the number of customers
    for found, off in ((alone, chance), (shared, np.hypot(chance, 0.5 * 0.3))):
        wide = (found.table["average_upper"] - found.table["average_lower"]) / (2 * found.table["average"])
        assert wide.tolist() == pytest.approx([off, off], rel=0.04)
    row = shared.segments.loc["tier 1"]
    assert (row["average_upper"] - row["average_lower"]) / (2 * row["average"]) == pytest.approx(0.15, rel=0.02)
    with pytest.raises(ParameterError, match="value_limits"):
        budget(*tables, value_limits=(2.0, 1.0))


def test_intervals_of_averages_hold_where_few_come():
    """One to four customers in eight weeks, at 100 a week and 60 each: exactly what Jeffreys' interval promises."""
    inside, rng = [], np.random.default_rng(4)
    rates = np.array([0.125, 0.25, 0.5])
    for _ in range(40):
        new = np.column_stack([np.full(8, 30), rng.poisson(rates, (8, 3))]).astype(float)
        orders, spend, value = shop_of(np.full((8, 4), 100.0), new)
        table = budget(orders, spend, value * 0 + 60.0, END).table.loc[list("BCD")]
        true = rates * 60 / 100
        inside.append((table["average_lower"] <= true) & (true <= table["average_upper"]))
    assert np.mean(inside) > 0.8
    nobody = np.column_stack([np.full(8, 30), np.zeros(8)])
    row = budget(*shop_of(np.full((8, 2), 100.0), nobody), END).table.loc["B"]
    assert (row["average"], row["average_lower"]) == (0, 0)
    assert row["average_upper"] > 0  # nobody came of it, which does not say that nobody would


def test_one_channel_has_an_average_alone():
    cost, new = weeks_of(0, 30)
    found = budget(*shop_of(cost[:, :1], new[:, :1]), END)
    assert found.told == 0
    assert len(found.table) == 1
    assert np.isfinite(found.table[["average", "average_lower", "average_upper"]].to_numpy()).all()


def test_bad_input():
    orders, spend, value = shop_of(*weeks_of(0, 12))
    with pytest.raises(EmptyDataError, match="nothing was spent"):
        budget(orders, spend.assign(cost=0.0), value, END)
    with pytest.raises(EmptyDataError, match="nothing was spent"):
        budget(orders, spend, value, "2027-11-15")
    with pytest.raises(ParameterError, match="less than nothing"):
        budget(orders, spend.assign(cost=-1.0), value, END)
    with pytest.raises(ParameterError, match="negative or not finite"):
        budget(orders, spend, -value, END)
    with pytest.raises(ParameterError, match="recent"):
        budget(orders, spend, value, END, recent=60)
    with pytest.raises(ParameterError, match="column of the table customers"):
        budget(orders, spend, value, END, segment="city_tier")
    with pytest.raises(ParameterError, match="change is"):
        budget(*shop_of(*weeks_of(0, 52)), END, change=2.0)
    with pytest.warns(UserWarning, match="no expected value"):
        budget(orders, spend, value.iloc[1:], END)
