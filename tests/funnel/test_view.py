from __future__ import annotations

import json

import pandas as pd
import pytest

import clvlib as clv
from clvlib.errors import EmptyDataError, MissingTableError, ParameterError
from clvlib.funnel import context
from clvlib.funnel.view import WeekFunnel
from clvlib.stats.proportions import proportion_interval


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


@pytest.fixture(scope="module")
def view(shop):
    return WeekFunnel(shop, shop.week())


def test_the_planted_drop_is_found_and_named(sample, shop, view):
    """truth.json: in the last week, click to cart falls to a quarter on one platform in one category."""
    truth = json.loads((sample / "truth.json").read_text())
    drop = truth["planted"]["click_to_cart_drop"]
    assert view.verdict.verdict == "fail"
    assert view.moved.segment == f"{drop['platform']} × {drop['category']}"
    assert view.verdict.failing["segment"].iloc[0] == view.moved.segment
    rules = {alert["rule"]: alert for alert in view.alerts()}
    assert rules["click to cart below 12%"]["severity"] == "high"
    # the rate of the whole shop is not taken for that of the segment that the alert names
    whole, part = view.verdict.rate, view.verdict.failing["rate"].iloc[0]
    assert part < whole / 2
    assert rules["click to cart below 12%"]["text"].startswith(f"over all, click to cart is at {whole:.1%}")
    assert f"{view.moved.segment} loses most, at {part:.1%}" in rules["click to cart below 12%"]["text"]
    # the key figure speaks of last week's visitors: what this week's are on course for is told beside it
    assert view.curve.upper < view.curve_before.lower < view.path.total["from_first"].iloc[-1]
    told = rules["conversion is about to fall"]
    assert f"{view.curve.so_far:.1%} have reached paid so far, of those of 2026-W45" in told["text"]
    assert rules["click to cart fell"]["segment"] == view.moved.segment
    assert rules["click to cart fell"]["text"].startswith("click to cart fell by")  # not "cart fell": few add, not none
    worst = view.drivers.found.query("odds_ratio < 1")
    assert (worst["feature"].iloc[0], worst["level"].iloc[0]) == ("category", drop["category"])
    named = view.moved.table.iloc[0]
    counts = proportion_interval(named[["people_then", "people_now"]], named[["before_then", "before_now"]], 0.99)
    probability = [drop["usual_probability"], drop["dropped_probability"]]
    assert (counts["lower"].to_numpy() <= probability).all()
    assert (counts["upper"].to_numpy() >= probability).all()


def test_other_weeks_raise_no_alarm(shop):
    quiet = [WeekFunnel(shop, shop.week().shift(-k)).moved.segment for k in range(2, 8)]
    assert sum(bool(segment) for segment in quiet) <= 1
    assert sum(bool(WeekFunnel(shop, shop.week().shift(-k))._slowing()) for k in range(2, 8)) <= 1


def test_what_is_expected_of_a_week_comes(shop):
    """The last ten weeks whose outcome is known, each seen at its own end: as expected on average, and in the interval.

    In the sample who does not buy comes at most once in a week, and so comes back in the next one.
    """
    views = [WeekFunnel(shop, shop.week().shift(-k)) for k in range(11)]
    came = [after.curve_before.final for after in views[:-1]]
    found = [view.curve for view in views[1:]]
    missed = [curve.final - final for curve, final in zip(found, came, strict=True)]
    assert abs(sum(missed) / 10) < 0.0015
    assert sum(curve.lower <= final <= curve.upper for curve, final in zip(found, came, strict=True)) >= 8
    assert sum(curve.so_far for curve in found) < sum(came) - 0.05


def test_with_a_longer_window_the_week_before_is_older(shop):
    view = WeekFunnel(shop, shop.week(), window="10D")
    assert view.curve_before.open_units == 0
    assert view.curve.lower < view.curve.final < view.curve.upper
    assert (
        "of those of 2026-W44"
        in {alert["rule"]: alert for alert in view.alerts()}["conversion is about to fall"]["text"]
    )


def test_a_person_of_several_ids_counts_once():
    """Ada comes under the id of a platform, and buys under her own; the other id is given to two customers."""
    came = [("dy1", 3, "exposure"), ("dy2", 3, "exposure"), ("Bea", 3, "exposure")]
    came += [("Ada", 4, event) for event in ("click", "cart", "order", "paid")]
    events = pd.DataFrame(came, columns=["person_id", "day", "event"])
    events["occurred_at"] = pd.Timestamp("2026-11-01") + pd.to_timedelta(events.pop("day") - 1, unit="D")
    known = [("Douyin", "dy1", "Ada"), ("Douyin", "dy2", "Bea"), ("Douyin", "dy2", "Cem")]
    shop = clv.connect({
        "events": events, "identities": pd.DataFrame(known, columns=["source", "source_id", "customer_id"]),
        "orders": pd.DataFrame({"customer_id": "Bea", "ordered_at": pd.to_datetime(["2026-11-15"]), "amount": 9}),
    }, as_of="2026-11-15")  # fmt: skip
    assert WeekFunnel(shop, shop.week()).path.total["people"].tolist() == [3, 1, 1, 1, 1]


@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_where_nobody_clicked_in_either_week_there_is_no_change():
    days = pd.to_datetime(["2026-11-03", "2026-11-10"])
    shop = clv.connect({
        "events": pd.DataFrame({"person_id": ["a", "b"], "event": "exposure", "occurred_at": days, "platform": "x"}),
        "orders": pd.DataFrame({"customer_id": "c", "ordered_at": pd.to_datetime(["2026-11-15"]), "amount": 9}),
    }, as_of="2026-11-15")  # fmt: skip
    with pytest.raises(EmptyDataError, match="no change to split"):
        _ = WeekFunnel(shop, shop.week()).moved


@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_the_first_week_of_a_shop_is_judged_without_one_before(shop):
    first = clv.connect({
        "events": shop.query("SELECT * FROM events WHERE occurred_at >= '2026-11-09'"),
        "orders": shop.query("SELECT customer_id, ordered_at, amount FROM orders WHERE ordered_at >= '2026-11-09'"),
    }, as_of="2026-11-15")  # fmt: skip
    view = WeekFunnel(first, first.week())
    assert [alert["rule"] for alert in view.alerts()] == ["click to cart below 12%"]


def test_parts_agree(view):
    assert view.rates["rate"].iloc[-1] == view.verdict.rate
    assert view.moved.rate_now == view.verdict.rate
    assert view.path.open_units == 0
    assert view.path_by_session.total["people"].iloc[0] > 0
    assert view.rate_name == "click to cart"
    before, people = view.now.total.set_index("step").loc[["click", "cart"], "people"]
    assert (view.drivers.people + view.drivers.left_out, view.drivers.before) == (before, "click")
    assert view.drivers.went_on <= people
    assert view.definitions.loc["best start", "rate"] == view.path.total["from_first"].iloc[-1]
    assert view.curve.converted <= view.curve.people
    assert view.curve_before.final == pytest.approx(view.definitions.loc["first start", "rate"])
    assert view.cohorts.table.iloc[:, 1:].notna().sum(axis=1).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    paths = view.credit.paths
    assert paths["conversions"].sum() == view.credit.table["last"].sum()


def test_breakdowns_by_product_and_kind_of_customer(shop, view):
    moved = view.moved.table
    assert {"product", "new_or_returning", "host_id", "channel"} <= set(moved["dimension"])
    for dimension in ("product", "new_or_returning"):
        part = moved[moved["dimension"] == dimension]
        assert part["before_now"].sum() == view.now.total.set_index("step")["people"]["click"]
        assert part[["rate_effect", "mix_effect"]].to_numpy().sum() == pytest.approx(view.moved.difference)
    products = moved[moved["dimension"] == "product"].set_index("segment")
    assert "other" in products.index
    kept = products.drop(index="other")
    assert (
        kept["before_now"] + kept["before_then"]
    ).min() > 150  # 200 people in the log; fewer are in both weeks' paths
    returning = view.path_by("new_or_returning").table.set_index(["new_or_returning", "step"])
    counts = shop.query(
        "SELECT COUNT(DISTINCT c) AS n FROM (SELECT COALESCE(i.customer_id, person_id) AS c FROM events LEFT JOIN "
        "identities AS i ON source_id = person_id WHERE event = 'exposure' AND occurred_at >= '2026-11-02' AND "
        "occurred_at < '2026-11-09') JOIN (SELECT customer_id, MIN(ordered_at) AS f FROM orders WHERE is_purchase "
        "GROUP BY 1) ON customer_id = c WHERE f < '2026-11-02'"
    )["n"].iloc[0]
    assert returning.loc[("returning", "exposure"), "people"] == counts
    assert not {"new_or_returning", "persona"} & set(view.verdict.table["dimension"])


def test_personas_are_joined(shop):
    people = shop.query("SELECT DISTINCT customer_id FROM orders WHERE ordered_at < '2026-11-09' ORDER BY 1")[
        "customer_id"
    ]
    personas = pd.Series(["odd", "even"] * (len(people) // 2), index=people[: len(people) // 2 * 2])
    view = WeekFunnel(shop, shop.week(), personas=personas, by=["persona"])
    part = view.moved.table.set_index("segment")
    assert set(part.index) == {"odd", "even", "unknown"}
    assert part.loc[["odd", "even"], "z"].abs().max() < 2.5  # drawn at random
    with pytest.raises(ParameterError, match="more than one"):
        _ = WeekFunnel(shop, shop.week(), personas=pd.concat([personas, personas])).moved


def test_a_shop_without_products_has_no_such_segments():
    events = pd.DataFrame(
        {
            "person_id": ["a", "b"],
            "event": "exposure",
            "occurred_at": pd.Timestamp("2026-11-10"),
            "product_id": ["p", None],
        }
    )
    orders = pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2026-11-01"], "amount": [1.0]})
    shop = clv.connect({"events": events, "orders": orders})
    view = WeekFunnel(shop, shop.week("2026-W46"))
    assert "product" not in view.events.columns
    assert view.columns == [("new_or_returning",)]


def test_a_shop_without_events_fails_only_when_asked():
    orders = pd.DataFrame({"customer_id": ["a", "b"], "ordered_at": ["2026-01-05", "2026-01-14"], "amount": [9, 9]})
    shop = clv.connect({"orders": orders})
    view = WeekFunnel(shop, shop.week("2026-W02"))
    for part in (
        "path",
        "verdict",
        "moved",
        "rates",
        "path_by_session",
        "curve",
        "definitions",
        "credit",
        "cohorts",
        "drivers",
        "dwell",
        "rooms",
        "course",
        "interaction",
    ):
        with pytest.raises(MissingTableError, match="no table 'events'"):
            getattr(view, part)


def test_a_shop_with_another_funnel(shop):
    with pytest.raises(EmptyDataError, match="no step 'basket'"):
        _ = WeekFunnel(shop, shop.week(), step="basket").verdict
    with pytest.raises(EmptyDataError, match="no column"):
        _ = WeekFunnel(shop, shop.week(), by=["planet"]).moved
    with pytest.raises(EmptyDataError, match="no column"):
        _ = WeekFunnel(shop, shop.week(), by=["planet"]).drivers


def test_a_small_log_is_joined_once_and_a_large_one_each_time(shop, monkeypatch):
    small = WeekFunnel(shop, shop.week())
    assert small.events.relation.startswith("_computed_")
    monkeypatch.setattr(context, "_MOST", 1000)
    large = WeekFunnel(shop, shop.week())
    assert "JOIN" in large.events.relation
    assert small.now.table.equals(large.now.table)
    assert small.events.columns == large.events.columns
