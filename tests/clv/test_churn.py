"""Early warnings on shops whose truth is known, on real shops, and on data that cannot carry them."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import special

import clvlib as clv
from clvlib.clv.churn import churn_risk
from clvlib.clv.churn_causes import UNKNOWN
from clvlib.clv.churn_plots import calibration_plot, causes_plot, precision_plot
from clvlib.clv.churn_scores import grade_risks, members, score_table
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.data.identities import events_of
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError, ThinDataWarning
from tests.conftest import shared_data

PLANTED = {"delivery", "complaint", "price", "interest", "satisfaction"}  # who leaves for a cause often says so
LAST = dt.date(2026, 11, 15)


def warned(shop, as_of=LAST, **settings):
    others = {name: shop.table(name) if shop.has(name) else None for name in ("complaints", "feedback", "refunds")}
    return churn_risk(shop.table("orders"), as_of, events_of(shop), **others, **settings)


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


@pytest.fixture(scope="module")
def result(shop):
    worth = shop.query("SELECT customer_id, 100.0 AS value FROM customers").set_index("customer_id")
    return warned(shop, value=worth)


def simulated(rng: np.random.Generator, n: int, weeks: int = 52, params=(0.9, 3.0, 0.6, 3.0)) -> pd.DataFrame:
    """A BG/NBD shop, written out here: nothing but purchases tells who left."""
    r, alpha, a, b = params
    rows = []
    for i in range(n):
        rate, drop, time = rng.gamma(r) / alpha, rng.beta(a, b), rng.uniform(0, 0.6 * weeks)
        while time < weeks:
            rows.append((f"c{i:05d}", time))
            time += rng.exponential(1 / rate)
            if rng.random() < drop:
                break
    frame = pd.DataFrame(rows, columns=["customer_id", "week"])
    start = pd.Timestamp(LAST) - pd.Timedelta(weeks=weeks) + pd.Timedelta(days=1)
    return frame.assign(day=(start + pd.to_timedelta(frame["week"] * 7, unit="D")).dt.normalize(), amount=50.0)


def test_the_sample_shop_says_who_leaves_and_why(result):
    assert result.method == "hazard"
    hazard, model, rule = (result.scores.loc[name] for name in ("hazard", "purchase model", "recency rule"))
    assert hazard["difference_upper"] < 0
    assert hazard["gain_lower"] > 0
    assert rule["brier"] > model["brier"] > hazard["brier"]
    assert hazard["slope_lower"] < 1 < hazard["slope_upper"]
    found = set(result.causes.index) - {UNKNOWN}
    assert {"delivery", "complaint", "price"} <= found <= PLANTED
    assert result.evidence.loc["refunded", "verdict"] in {"no harm shown", "not shown"}
    assert result.evidence.loc["slow_answer", "verdict"] == "the same for everybody"
    shares = result.causes["share"]
    assert shares.sum() == pytest.approx(1)
    assert "late" in result.causes_sentence


def test_the_parts_of_each_risk_add_up(result):
    table = result.table
    total = result.parts.loc[table.index].sum(axis=1)
    np.testing.assert_allclose(special.expit(total), table["risk"], rtol=1e-9)
    np.testing.assert_allclose(table["value_at_risk"], 100 * table["risk"])
    assert result.value_at_risk == pytest.approx(100 * result.expected_lapses)
    assert table["value_at_risk"].is_monotonic_decreasing
    assert (table["level"] == np.select([table["risk"] >= 0.8, table["risk"] >= 0.5], ["high", "medium"], "low")).all()
    assert [result.high, result.medium, result.low] == [
        (table["level"] == name).sum() for name in ("high", "medium", "low")
    ]
    signs = result.parts.drop(columns="base")
    told = table["reason"] == "has stopped watching"
    assert (signs.loc[told[told].index].idxmax(axis=1) == "absent").all()
    late = table["cause"] == "the last parcel came late"
    assert (signs.loc[late[late].index, "delivery"] > 0).all()
    assert table["listed"].sum() == 100
    assert table.loc[table["listed"], "risk"].min() >= table.loc[~table["listed"], "risk"].max()


def test_last_lists_are_graded_by_what_came(shop):
    """The risks of six weeks ago, stated anew from what was known then, are those that the result grades itself."""
    made = LAST - dt.timedelta(weeks=6)
    result, then = warned(shop, horizon=6), warned(shop, made, horizon=6)
    assert result.method == then.method == "hazard"
    graded = grade_risks(then.table, shop.table("orders"), made, LAST, 6)
    for name in ("customers", "predicted", "observed", "listed", "precision", "lift"):
        assert getattr(graded, name) == pytest.approx(getattr(result.earlier, name))
    pd.testing.assert_frame_equal(graded.table, result.earlier.table)
    assert graded.complete
    assert not set(graded.table) & {"customer_id"}
    assert graded.table["customers"].sum() == graded.customers == then.customers
    assert graded.precision > 0.9
    assert 0.9 < graded.precision_lower < graded.precision <= graded.precision_upper
    early = grade_risks(then.table, shop.table("orders"), made, made + dt.timedelta(weeks=1), 6)
    assert not early.complete
    assert early.observed > graded.observed
    assert "5 more weeks decide" in early.sentence
    assert "were expected to" in graded.sentence


@pytest.mark.slow
def test_true_shares_of_causes_are_found(larger_shop):
    truth = json.loads((larger_shop.folder / "truth.json").read_text())
    found = warned(larger_shop)
    assert {"delivery", "complaint", "price", "satisfaction"} <= set(found.causes.index) - {UNKNOWN} <= PLANTED
    true = pd.Series(truth["parameters"]["churn"]["causes"])
    names = {"delivery": "late delivery", "complaint": "unanswered complaint", "price": "price"}
    share = found.causes.loc[list(names), "share"]
    expected = true[list(names.values())].to_numpy()
    np.testing.assert_allclose(share / share.sum(), expected / expected.sum(), atol=0.15)


def test_a_shop_of_purchases_alone_gets_the_purchase_model():
    """Nothing else was planted: the hazard seldom looks surely better, no cause is named, risks mean what they say."""
    chosen, slopes = [], []
    for seed in range(6):
        found = churn_risk(simulated(np.random.default_rng(seed), 600), LAST, horizon=6)
        chosen.append(found.method)
        row = found.scores.loc["purchase model"]
        slopes.append(row["slope_lower"] < 1 < row["slope_upper"])
        assert list(found.causes.index) == [UNKNOWN]
        assert row["brier"] < found.scores.loc["recency rule", "brier"]
    assert chosen.count("purchase model") >= 4  # nominal 5% one-sided: 0.3 of 6 err
    assert sum(slopes) >= 4  # nominal 0.9 less what calibration on one day adds
    alone = churn_risk(simulated(np.random.default_rng(chosen.index("purchase model")), 600), LAST, horizon=6)
    np.testing.assert_allclose(special.expit(alone.parts.sum(axis=1)), alone.table["risk"], rtol=1e-9)
    assert "purchases alone" in alone.verdict
    assert set(alone.table["reason"]) <= {"may have left already", "has always bought seldom"}
    assert alone.causes_sentence == "The data show no cause of leaving."
    with pytest.raises(EmptyDataError):
        causes_plot(alone)


@pytest.mark.parametrize(("name", "horizon", "brier"), [("online_retail", 8, 0.215), ("complete_journey", 4, 0.105)])
def test_real_shops_held_out(name, horizon, brier):
    folder = shared_data(name)
    shop = clv.connect(folder / "online_retail.parquet" if name == "online_retail" else folder, mapping=name)
    found = warned(shop, shop.data_until, horizon=horizon)
    row, rule = found.scores.loc[found.method], found.scores.loc["recency rule"]
    assert rule["difference_lower"] > 0 >= row["difference_upper"]
    assert row["brier"] < brier  # a constant share of lapses scores .238 and .126
    assert 0.8 < row["slope"] < 1.2
    assert row["lift_lower"] > 1.4
    assert set(found.causes.index) == {UNKNOWN}


def test_scores_by_hand():
    rows = pd.DataFrame(
        {
            "hazard": [0.9, 0.2, 0.6, 0.1],
            "purchase model": [0.5, 0.5, 0.5, 0.5],
            "recency rule": [0.6, 0.4, 0.4, 0.6],
            "silence_weeks": [5.0, 1.0, 1.0, 9.0],
            "lapsed": [1.0, 0.0, 1.0, 0.0],
            "day": LAST,
        },
        index=list("abcd"),
    )
    table = score_table(rows, 2, 0.9, 100, 0)
    assert table["brier"].tolist() == pytest.approx([(0.01 + 0.04 + 0.16 + 0.01) / 4, 0.25, (0.16 * 2 + 0.36 * 2) / 4])
    assert table["precision"].tolist() == [1.0, 0.5, 0.5]  # all four equals share the model's list
    assert table["lift"].tolist() == [2.0, 1.0, 1.0]
    assert table.loc["hazard", "gain"] == 0.5
    assert table.loc["hazard", "difference"] == pytest.approx(0.055 - 0.25)
    assert members([1.0, 2.0], 5).tolist() == [1.0, 1.0]


def test_figures_draw_what_the_result_holds(result):
    assert len(calibration_plot(result).collections) == 1
    labels = [text.get_text() for text in precision_plot(result).get_yticklabels()]
    assert labels == ["longest silence first", "purchase model", "hazard model"]
    causes = causes_plot(result)
    assert len(causes.patches) == len(result.causes) - 1
    first = result.causes.iloc[0]  # what goes with leaving is no reason why
    assert (
        causes.get_title(loc="left").replace("\n", " ")
        == f"{first['share']:.0%} of the expected churn goes with: {first['words']}"
    )
    listed, base = result.scores.loc[result.method, "precision"], result.calibration
    all_of_them = (base["observed"] * base["customers"]).sum() / base["customers"].sum()
    text = f"{listed:.0%} of those on the list bought nothing, {all_of_them:.0%} of all active customers"
    assert precision_plot(result).get_title(loc="left").replace("\n", " ") == text


def test_alerts_have_reasons(result):
    assert f"{result.high} of {result.customers} active customers are at high risk" in result.sentence
    assert f"With them may go {result.value_at_risk / result.value:.0%} of what" in result.sentence
    calm = replace(result.earlier, predicted=0.6, observed=0.6, lower=0.5, upper=0.7)
    causes = result.causes.assign(lower=[0.2, *[0.05] * (len(result.causes) - 2), np.nan])
    quiet = replace(result, earlier=calm, causes=causes, expected_lapses=0.6 * result.customers)
    only = quiet.alerts()
    assert [(alert["rule"], alert["segment"]) for alert in only] == [("a cause of leaving", causes["words"].iloc[0])]
    assert set(only[0]) == {"rule", "text", "segment", "severity", "metric"}
    more = replace(quiet, expected_lapses=0.8 * result.customers).alerts()[0]
    assert more["severity"] == "high"
    assert "80% of the active customers are expected to buy nothing" in more["text"]
    off = replace(quiet, earlier=replace(calm, predicted=0.9)).alerts()[-1]
    assert off["rule"] == "earlier risks were off"


def test_risks_that_mean_what_they_say_are_seldom_called_off(result):
    """Risks were learnt from 600 customers whose share of lapses is 60%, and are held against 600 others."""
    rng, false = np.random.default_rng(15), 0
    for _ in range(400):
        learnt, came = rng.binomial(600, 0.6, 2)
        limits = clv.proportion_interval(came, 600, level=0.9).iloc[0]
        grade = replace(result.earlier, predicted=learnt / 600, observed=came / 600,
                        lower=limits["lower"], upper=limits["upper"])  # fmt: skip
        false += any(alert["rule"] == "earlier risks were off" for alert in replace(result, earlier=grade).alerts())
    assert false / 400 < 0.15  # nominal 10%; 24% where the forecast is taken for exact


def cohorts(gaps: list[int], weeks: int = 40, each: int = 20) -> pd.DataFrame:
    """Every week some join and buy on days with these gaps, in weeks."""
    first = pd.Timestamp(LAST) - pd.Timedelta(weeks=weeks)
    rows = [
        (f"w{week:02d}n{i:02d}", first + pd.Timedelta(weeks=week, days=7 * int(at) + i % 7))
        for week in range(weeks)
        for i in range(each)
        for at in np.cumsum([0, *gaps])
    ]
    frame = pd.DataFrame(rows, columns=["customer_id", "day"])
    return frame[frame["day"] <= pd.Timestamp(LAST)].assign(amount=10.0)


def test_what_cannot_be_learnt_is_named():
    loyal = cohorts([2] * 30)
    with pytest.raises(EmptyDataError, match="no active customer then bought nothing"):
        churn_risk(loyal, LAST)
    with pytest.raises(EmptyDataError, match="every active customer then bought nothing"):
        churn_risk(
            pd.concat(
                [
                    cohorts([0])[lambda f: ~f.duplicated()],
                    cohorts([0]).assign(day=lambda f: f["day"] + pd.Timedelta(days=1)),
                ]
            ),
            LAST,
        )
    with pytest.warns(ThinDataWarning), pytest.raises(EmptyDataError, match="anybody was active"):
        churn_risk(loyal.drop_duplicates("customer_id"), LAST)  # no repeat customer
    with pytest.raises(EmptyDataError, match="weeks of orders are too few"):
        churn_risk(loyal[loyal["day"] > pd.Timestamp("2026-07-15")], LAST)
    with pytest.raises(EmptyDataError, match="nobody had bought"):
        churn_risk(loyal, "2020-01-01")
    with pytest.raises(MissingColumnError):
        churn_risk(loyal.drop(columns="day"), LAST)
    for bad in ({"horizon": 0}, {"levels": (0.5, 0.8)}, {"list_size": 0}, {"draws": 5}, {"interval": 1.0}):
        with pytest.raises(ParameterError):
            churn_risk(loyal, LAST, **bad)


def test_thin_shops_fall_back_and_say_so():
    orders = simulated(np.random.default_rng(3), 90, weeks=34)
    few = churn_risk(orders, LAST, list_size=20, model=BetaGeoModel(prior=dict.fromkeys("ab", (1.0, 1.5))))
    assert few.method == "purchase model"
    assert few.verdict.startswith("Risks come from the purchase model alone")
    some = few.table.index[:5]
    known = churn_risk(orders, LAST, list_size=20, value=pd.Series(2.0, index=some)).table["value"]
    assert known[known > 0].to_dict() == dict.fromkeys(some, 2.0)
    with pytest.warns(ThinDataWarning, match="holds all"):
        everyone = churn_risk(orders, LAST, list_size=10**6)
    assert everyone.list_size == everyone.customers
    assert everyone.scores["lift"].to_numpy() == pytest.approx(1)
    shuffled = churn_risk(orders.sample(frac=1, random_state=1), LAST, list_size=20)
    pd.testing.assert_frame_equal(shuffled.table, few.table)
    with pytest.raises(ParameterError, match="no finite value"):
        churn_risk(orders, LAST, list_size=20, value=pd.Series(np.nan, index=few.table.index))
    with pytest.raises(ParameterError, match="named twice"):
        churn_risk(orders, LAST, list_size=20, value=pd.Series(1.0, index=few.table.index.repeat(2)))
    with pytest.raises(ParameterError, match="a column value, by customer_id; found 'value'"):
        churn_risk(orders, LAST, value="value")
    with pytest.raises(ParameterError, match=r"such as BetaGeoModel\(\); found 'BetaGeoModel'"):
        churn_risk(orders, LAST, model="BetaGeoModel")
    with pytest.raises(ParameterError, match="graded on a later day"):
        grade_risks(few.table, orders, LAST, LAST, 8)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        grade_risks(few.table.assign(risk=2.0), orders, "2026-10-01", LAST, 8)
    scarce = churn_risk(simulated(np.random.default_rng(3), 45, weeks=34), LAST, list_size=10)
    assert "to learn why, it needs 30" in scarce.verdict
    assert scarce.evidence.empty
    assert list(scarce.evidence) == list(few.evidence)
    with pytest.raises(EmptyDataError, match="too few to learn"):
        churn_risk(simulated(np.random.default_rng(3), 12, weeks=34), LAST)
    young = churn_risk(simulated(np.random.default_rng(4), 400, weeks=25), LAST)
    assert young.method == "purchase model"
    assert young.earlier.made == str(LAST - dt.timedelta(weeks=8))
    plain = orders.rename(columns={"amount": "net_amount"}).assign(is_purchase=True)
    assert churn_risk(plain, LAST, list_size=20).table["risk"].equals(few.table["risk"])
    with pytest.raises(EmptyDataError):
        grade_risks(few.table.iloc[:0], orders, "2026-10-01", LAST, 8)
