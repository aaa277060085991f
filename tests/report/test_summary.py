"""The words above the figures: what a person would say first, and alerts on movements that are unusual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clvlib.data.calendar import Week
from clvlib.report.alerts import alerts, cards
from clvlib.report.chapter import FORECAST, KPI
from clvlib.report.grade import grades
from clvlib.report.harvest import Harvest
from clvlib.report.ledger import _read, current
from clvlib.report.summary import movements, summary
from clvlib.report.trend import trends

from .books import forecast, kpi, published

NOW = Week("2026-W46")
ALERT = {"chapter": "01_a", "rule": "click to cart below 12%", "segment": "douyin", "text": "it fell to 9%.",
         "severity": "high"}  # fmt: skip


class Told:
    """What the summary makes of this week's figures after the weeks before, the last one last."""

    def __init__(self, out: Path, before: list[list[dict[str, Any]]], now: list[dict[str, Any]], **more: Any) -> None:
        for ago, said in zip(range(len(before), 0, -1), before, strict=True):
            kinds = [(FORECAST if "mean" in figure else KPI, figure) for figure in said]
            published(out, NOW.shift(-ago).label, kinds)
        past = current(out, print) if before else _read()
        manifest = {"shop": "Shop", "week": NOW.label, "notebooks": {"01_a": {"parameters": {}}}}
        figures, made = [f for f in now if "mean" not in f], [f for f in now if "mean" in f]
        harvests = {"01_a": Harvest(figures, alerts=more.get("alerts", []), forecasts=made)}
        found = trends(past, manifest, harvests)
        moved = movements(harvests, found)
        self.alerts = alerts(harvests, moved, {"01_a": "Who buys"})
        graded = grades(past, "Shop", NOW, harvests)
        self.cards = cards(self.alerts)
        self.sentence, self.bullets = summary(harvests, found, moved, self.cards, graded, failed=more.get("failed", 0))


def steady(name: str, **more: Any) -> list[dict[str, Any]]:
    """Ten weeks of 100, 101, 102, 100 …"""
    return [kpi(name, 100.0 + i % 3, **more) for i in range(10)]


def test_one_figure_fell(tmp_path: Path):
    before = [list(week) for week in zip(steady("sold"), steady("seen"), strict=True)]
    told = Told(tmp_path, before, [kpi("sold", 60.0), kpi("seen", 101.0)])
    # last week had 100: 60 is 40% below
    assert told.sentence == (
        "Sold fell by 40.0% to 60, beyond normal variation; the other figure stayed within its own."
    )
    assert told.bullets == []
    (alert,) = told.alerts
    assert (alert["severity"], alert["rule"]) == ("high", "beyond normal variation, for the worse")
    # nine changes 1, 1, -2, … of mean 0 and s = 1.5, one of two figures flagged: t(0.9875; 8) 1.5 √(10/9) = 4.35
    assert alert["text"] == (
        "Sold fell by 40.0% to 60: a change of −40 since last week, where −4.4 to +4.4 is usual by the 9 changes "
        "before it."
    )
    assert alert["anchor"] == "chapter-01_a"


def test_the_worse_comes_first_and_three_bullets_are_enough(tmp_path: Path):
    made = forecast("sold", 100.0, None, label="Sold")
    weeks = zip(steady("sold"), steady("lost", better="lower"), steady("seen", better=""), strict=True)
    before = [[*week, made] for week in weeks]
    now = [kpi("sold", 150.0), kpi("lost", 140.0, label="GMV lost", better="lower"), kpi("seen", 60.0, better="")]
    now.append(forecast("sold", 100.0, 150.0))
    told = Told(tmp_path, before, now, alerts=[ALERT, {**ALERT, "severity": "low"}])
    assert told.sentence == (
        "GMV lost rose by 40.0% to 140. Of 3 figures that can be judged, 3 changed beyond normal variation."
    )
    assert told.bullets == [
        "Also: for the better, sold rose by 50.0% to 150; seen fell by 40.0% to 60.",
        "High alert, click to cart below 12% (douyin): it fell to 9%; and 4 more alerts below.",
        "Of 1 forecast due, 0 fell inside its interval: sold came to 150, forecast 90 to 110.",
    ]
    assert len(told.cards) == 5  # as many as are counted at the head of the page
    assert [(a["severity"], a["moved"]) for a in told.alerts] == [
        ("high", False), ("high", True), ("low", False), ("low", True), ("low", True),
    ]  # fmt: skip


def test_what_a_manager_asks_for_first_is_told_first(tmp_path: Path):
    names = ("stickiness", "gmv_net", "lost", "buyers")
    before = [list(week) for week in zip(*(steady(name) for name in names), strict=True)]
    # all are beyond what chance explains, stickiness the farthest and GMV the least far
    now = [kpi("stickiness", 190.0), kpi("gmv_net", 150.0), kpi("lost", 40.0), kpi("buyers", 160.0)]
    told = Told(tmp_path, before, now)
    assert told.sentence == (
        "Lost fell by 60.0% to 40, while gmv_net rose by 50.0% to 150. "
        "Of 4 figures that can be judged, 4 changed beyond normal variation."
    )
    assert told.bullets == ["Also: for the better, buyers rose by 60.0% to 160; stickiness rose by 90.0% to 190."]
    # without anything for the worse, the sentence is about money
    told = Told(tmp_path, before, [now[0], now[1], kpi("lost", 101.0), now[3]])
    assert told.sentence.startswith("Gmv_net rose by 50.0% to 150. Of 4 figures")


def test_an_ordinary_week(tmp_path: Path):
    before = [list(week) for week in zip(steady("sold"), steady("seen"), strict=True)]
    told = Told(tmp_path, before, [kpi("sold", 101.0), kpi("seen", 102.0), forecast("sold", 103.0, 101.0, weeks=4)])
    assert told.sentence == "An ordinary week: all 2 figures that can be judged moved within normal variation."
    assert told.bullets == ["Expected over the next 4 weeks: sold 103 (93 to 113)."]
    assert not told.alerts


def test_intervals_decide_while_the_past_is_short(tmp_path: Path):
    share = {"unit": "share", "lower": 0.28, "upper": 0.32}
    told = Told(tmp_path, [[kpi("kept", 0.3, **share)]], [kpi("kept", 0.2, **share | {"lower": 0.18, "upper": 0.22})])
    # shares move by points; ±0.02 beside ±0.02 is ±0.02 √2
    assert told.sentence == "Kept fell by 10.0 pp to 20.0%, beyond normal variation."
    (alert,) = told.alerts
    assert alert["severity"] == "medium"
    assert alert["text"].endswith("−10.0 pp since last week, whose interval, −12.8 pp to −7.2 pp, is clear of zero.")


@pytest.mark.parametrize(
    ("before", "now", "failed", "says"),
    [
        ([], [kpi("sold", 1.0)], 0, "Sold 1. There is no report of last week to hold this one to."),
        (
            [],
            [kpi("sold", 1.0), kpi("seen", None), kpi("Share", 0.25, unit="share"), kpi("lost", 3.0)],
            0,
            "Sold 1, share 25.0%. There is no report of last week to hold this one to.",
        ),
        ([], [kpi("seen", None)], 0, "No key figure has a value, and there is no report of last week."),
        ([], [], 1, "1 chapter failed and is missing here. No chapter stated a key figure."),
        (
            [[kpi("sold", 1.0)]],
            [kpi("sold", 2.0)],
            2,
            "2 chapters failed and are missing here. The past does not reach",
        ),
    ],
)
def test_little_to_tell(tmp_path: Path, before: list, now: list, failed: int, says: str):
    assert Told(tmp_path, before, now, failed=failed).sentence.startswith(says)


def test_a_segment_is_named_once(tmp_path: Path):
    told = Told(tmp_path, [], [], alerts=[{**ALERT, "text": "of all at 10%; douyin loses most"}])
    assert told.bullets == ["High alert, click to cart below 12%: of all at 10%; douyin loses most."]
