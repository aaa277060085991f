"""What is raised, and what of it is one alert: one cause has one card, with all the evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.report.alerts import SEVERITIES, by_severity, cards

from .books import kpi
from .test_summary import ALERT, Told, steady


def raised(rule: str, metric: str = "", segment: str = "", severity: str = "high", **more: Any) -> dict[str, Any]:
    """An alert as it is raised."""
    told = {"rule": rule, "text": f"{rule} in {segment}", "segment": segment, "severity": severity, "metric": metric}
    return {
        "good": False,
        "time": False,
        "moved": False,
        "chapter": "02",
        "anchor": "c2",
        "title": "Funnel",
        **told,
        **more,
    }


FELL = [
    raised("below 12%", "click_to_cart", "Douyin × beauty"),
    raised("about to fall", "conversion"),
    raised("fell", "click_to_cart", "Douyin × beauty"),
    raised("beyond normal variation", "click_to_cart", severity="medium", moved=True),
]


def test_a_fall_that_is_told_four_times_is_one_alert():
    other = raised("open for long", "complaints", "price")
    shown = cards([*FELL[:3], other, FELL[3]])
    assert [(card["rule"], card["segment"], card["severity"]) for card in shown] == [
        ("below 12%", "Douyin × beauty", "high"), ("open for long", "price", "high"),
    ]  # fmt: skip
    # first what is about the same figure; a line says what it is about where that is not what stands above
    assert shown[0]["lines"] == [
        ("", "Below 12% in Douyin × beauty"),
        ("Fell", "fell in Douyin × beauty"),
        ("Beyond normal variation", "beyond normal variation in "),
        ("About to fall", "about to fall in "),
    ]
    assert by_severity(shown) == {"high": 2, "medium": 0, "low": 0}


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (("a", "return_rate", "host H08"), ("b", "refund_rate", "host H08"), True),
        (("a", "return_rate", "host H08"), ("a", "return_rate", "category fashion"), False),
        (("a", "return_rate", "host H08"), ("b", "return_rate", ""), True),
        (("a", "click_to_cart", "Douyin × beauty"), ("b", "click_to_cart", "Douyin"), True),
        (("a", "click_to_cart", "Douyin × beauty"), ("b", "click_to_cart", "Douyin × toys"), False),
        (("a", "click_to_cart", "Douyin"), ("b", "return_rate", "Douyin"), False),
        (("a", "", "Douyin"), ("b", "", "Douyin"), False),  # nobody says what they are about
        (("a", "satisfaction", ""), ("b", "satisfaction", ""), True),
    ],
)
def test_what_is_one(one: tuple, other: tuple, together: bool):
    assert len(cards([raised(*one), raised(*other)])) == (1 if together else 2)
    opposite = raised(*other, good=True)
    assert len(cards([raised(*one), opposite])) == 2


def test_a_week_of_bad_days_is_one_alert():
    days = [raised("low day", "orders", f"{day} November", "medium", time=True) for day in range(9, 16)]
    (card,) = cards(days)
    assert [text.lower() for _, text in card["lines"]] == [day["text"].lower() for day in days]
    assert by_severity([card])["medium"] == 1
    high = raised("high day", "orders", "16 November", "low", time=True, good=True)
    assert [len(card["lines"]) for card in cards([*days, high])] == [7, 1]  # the other way is another cause
    assert len(cards([*days, raised("fell", "orders", "Douyin", "low")])) == 2  # a place is no time


def test_segments_meet_where_the_whole_shop_moved():
    """Two segments are two alerts, unless the figure of all explains them both."""
    two = [raised("more", "return_rate", "host H08"), raised("more", "return_rate", "category fashion")]
    assert len(cards(two)) == 2
    (one,) = cards([*two, raised("beyond", "return_rate", moved=True)])
    assert [head for head, _ in one["lines"]] == ["", "More · category fashion", "Beyond"]


@given(st.permutations(FELL))
def test_whatever_the_order_it_is_one(order: list[dict[str, Any]]):
    (card,) = cards(sorted(order, key=lambda alert: SEVERITIES.index(alert["severity"])))
    assert sorted(text.lower() for _, text in card["lines"]) == sorted(alert["text"].lower() for alert in FELL)
    assert card["severity"] == "high"


def test_good_news_shares_a_card(tmp_path: Path):
    names = ("sold", "seen", "lost", "kept")
    before = [list(week) for week in zip(*(steady(name) for name in names), strict=True)]
    now = [kpi("sold", 150.0), kpi("seen", 160.0), kpi("lost", 40.0), kpi("kept", 101.0)]
    told = Told(tmp_path, before, now, alerts=[ALERT, {**ALERT, "text": "it fell to 8%."}])
    # the two of the chapter stay apart, as does what moved for the worse; nothing that was raised is lost
    assert [(card["severity"], len(card["lines"])) for card in told.cards] == [
        ("high", 1),
        ("high", 1),
        ("high", 1),
        ("low", 2),
    ]
    texts = [text for card in told.cards for _, text in card["lines"]]
    assert sorted(texts) == sorted(alert["text"][:1].upper() + alert["text"][1:] for alert in told.alerts)
    assert told.cards[-1]["links"] == {"chapter-01_a": "Who buys"}


def test_bad_news_of_one_family_is_one_and_of_two_is_two(tmp_path: Path):
    names = ("gmv_net", "buyers", "satisfaction")
    before = [list(week) for week in zip(*(steady(name) for name in names), strict=True)]
    told = Told(tmp_path, before, [kpi(name, 50.0) for name in names])
    assert [len(card["lines"]) for card in told.cards] == [2, 1]


def test_an_unusual_day_explains_the_sales_of_its_week(tmp_path: Path):
    names = ("gmv_net", "buyers")
    before = [list(week) for week in zip(*(steady(name) for name in names), strict=True)]
    day = {**ALERT, "rule": "unusually high day", "segment": "11 November", "text": "105 orders", "severity": "low"}
    now = [kpi(name, 190.0) for name in names]
    told = Told(tmp_path, before, now, alerts=[{**day, "metric": "orders", "good": True}])
    (card,) = told.cards
    assert [head for head, _ in card["lines"]] == ["", "Beyond normal variation, for the better", ""]
    assert len(Told(tmp_path / "b", before, now, alerts=[{**day, "metric": "orders", "good": False}]).cards) == 2


def test_the_sample_s_fall_is_one_alert(sample_reports: Path):
    """Planted: in the last week click to cart of Douyin × beauty falls (data/README.md)."""
    for place in (".", "zh"):
        folder = sample_reports / "2026-W46" / place
        told = json.loads((folder / "alerts.json").read_text(encoding="utf-8"))["alerts"]
        about = [alert for alert in told if alert["metric"] in {"click_to_cart", "conversion"} and not alert["good"]]
        assert len(about) == 4
        assert len({alert["card"] for alert in about}) == 1
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        assert sum(status["alerts"].values()) == len({alert["card"] for alert in told}) < len(told)
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert page.count('<li class="alert ') == sum(status["alerts"].values())
