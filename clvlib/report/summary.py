"""The words above the figures: one sentence, at most three bullets, and alerts, made from verdicts and forecasts.

A movement is unusual where the verdict of :mod:`clvlib.report.trend` says "changed". All verdicts of a report are held
against one rate of false alarms together, so the alerts made of them are too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clvlib.report.form import show, show_change
from clvlib.report.grade import Grades
from clvlib.report.harvest import Harvest
from clvlib.report.trend import CHANGED, NORMAL, Trend

__all__ = ["SEVERITIES", "Movement", "alerts", "movements", "summary"]

SEVERITIES = ("high", "medium", "low")
_SHOWN = 3  # bullets, and changed figures in one


@dataclass(frozen=True)
class Movement:
    """A key figure that changed beyond its normal variation.

    Attributes
    ----------
    kpi : mapping
        As its chapter handed it over.
    trend : Trend
        Beside its past.
    """

    kpi: Mapping[str, Any]
    trend: Trend

    @property
    def good(self) -> bool | None:
        """Whether it is for the better; None where neither way is."""
        better = self.kpi["better"]
        return ((self.trend.change or 0) > 0) == (better == "higher") if better else None

    @property
    def words(self) -> str:
        """What happened: ``Sold rose by 38.6% to 140``."""
        unit, currency, change = self.kpi["unit"], self.kpi["currency"], self.trend.change or 0
        by = show_change(abs(change), unit, currency, short=True).removeprefix("+")
        if unit not in {"share", "points"} and self.trend.last and self.trend.last > 0:
            by = show(abs(change) / self.trend.last, "share")
        value = show(self.kpi["value"], unit, currency, short=True)
        return f"{self.kpi['label']} {'rose' if change > 0 else 'fell'} by {by} to {value}"

    @property
    def evidence(self) -> str:
        """Why that is unusual."""
        unit, currency = self.kpi["unit"], self.kpi["currency"]

        def moved(value: float | None) -> str:
            return show_change(value, unit, currency, short=True)

        change = f"a change of {moved(self.trend.change)} since last week"
        if self.trend.chart and self.trend.usual:
            low, high = map(moved, self.trend.usual)
            weeks = self.trend.chart.freedom + 1
            return f"{change}, where {low} to {high} is usual by the {weeks} changes before it"
        return f"{change}, whose interval, {moved(self.trend.lower)} to {moved(self.trend.upper)}, is clear of zero"


def movements(harvests: Mapping[str, Harvest], found: Mapping[tuple[str, str], Trend]) -> list[tuple[str, Movement]]:
    """Return what changed, with its chapter: for the worse first, then the least likely by chance."""
    moved = [
        (chapter, Movement(kpi, trend))
        for chapter, said in harvests.items()
        for kpi in said.kpis
        if (trend := found[chapter, kpi["name"]]).verdict == CHANGED
    ]
    return sorted(moved, key=lambda item: (item[1].good is not False, item[1].trend.p_value or 0.0))


def alerts(
    harvests: Mapping[str, Harvest], moved: Sequence[tuple[str, Movement]], titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the alerts of the chapters and those of unusual movements, the most severe first.

    A change for the worse is high where the changes of earlier weeks show what is usual, and medium where its interval
    alone tells; any other change is low.
    """
    raised = [{**alert, "chapter": name, "moved": False} for name, said in harvests.items() for alert in said.alerts]
    for name, move in moved:
        severity = "low" if move.good is not False else "high" if move.trend.chart else "medium"
        way = {True: ", for the better", False: ", for the worse", None: ""}[move.good]
        rule = f"beyond normal variation{way}"
        text = f"{move.words}: {move.evidence}."
        raised.append({"rule": rule, "text": text, "segment": "", "severity": severity, "chapter": name, "moved": True})
    placed = [{**a, "title": titles[a["chapter"]], "anchor": f"chapter-{a['chapter']}"} for a in raised]
    return sorted(placed, key=lambda alert: SEVERITIES.index(alert["severity"]))


def summary(
    found: Mapping[tuple[str, str], Trend],
    moved: Sequence[tuple[str, Movement]],
    raised: Sequence[Mapping[str, Any]],
    graded: Grades,
    *,
    failed: int = 0,
) -> tuple[str, list[str]]:
    """Write what a person would tell first: one sentence, and at most three bullets.

    Parameters
    ----------
    found : mapping
        The trend of each key figure.
    moved : sequence
        What :func:`movements` returns.
    raised : sequence
        What :func:`alerts` returns.
    graded : Grades
        How the forecasts turned out.
    failed : int
        How many chapters failed.
    """
    bullets = [_changed(moved), _alarm(raised), _forecasts(graded)]
    missing = f"{failed} chapter{'s' if failed > 1 else ''} failed and {'are' if failed > 1 else 'is'} missing here. "
    return (missing if failed else "") + _sentence(found, moved), [bullet for bullet in bullets if bullet][:_SHOWN]


def _sentence(found: Mapping[tuple[str, str], Trend], moved: Sequence[tuple[str, Movement]]) -> str:
    judged = sum(trend.verdict in {CHANGED, NORMAL} for trend in found.values())
    if not found:
        return "No chapter stated a key figure."
    if all(trend.last is None for trend in found.values()):
        return f"{_counted(len(found))}, and no report of last week to hold {'it' if len(found) == 1 else 'them'} to."
    if not judged:
        return "The past does not reach back far enough yet to tell a change from normal variation."
    if not moved:
        return f"An ordinary week: {_all(judged)} moved within normal variation."
    others = judged - len(moved)
    rest = f"; {len(moved)} of {judged} figures changed" if len(moved) > 1 else ""
    if others and not rest:
        rest = (
            "; the other figure stayed within its own" if others == 1 else f"; the other {others} stayed within theirs"
        )
    return f"{moved[0][1].words}, beyond normal variation{rest}."


def _counted(n: int) -> str:
    return f"{n} figure{'s' if n != 1 else ''}"


def _all(n: int) -> str:
    return "the one figure that can be judged" if n == 1 else f"all {n} figures that can be judged"


def _inside(label: str) -> str:
    """Write a label as it stands inside a sentence: ``GMV`` stays, ``Sold`` becomes ``sold``."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def _changed(moved: Sequence[tuple[str, Movement]]) -> str:
    """Name what changed beside the figure that the sentence is about, by which way is good."""
    others = [move for _, move in moved[1:]]
    if not others:
        return ""
    told: list[str] = []
    for good, way in ((False, " for the worse"), (True, " for the better"), (None, "")):
        named = [_inside(move.words) for move in others[:_SHOWN] if move.good is good]
        told += [f"{'also' if told else 'Also'} changed{way}: {'; '.join(named)}"] if named else []
    more = len(others) - _SHOWN
    return f"{'; '.join(told)}{f'; and {more} more' if more > 0 else ''}."


def _alarm(raised: Sequence[Mapping[str, Any]]) -> str:
    """Tell the most severe alert of a chapter; those of movements stand in the sentence already."""
    own = [alert for alert in raised if not alert["moved"]]
    if not own:
        return ""
    first, more = own[0], len(own) - 1
    where = f" in {first['segment']}" if first["segment"] else ""
    text = str(first["text"]).rstrip(".")
    told = f"{str(first['severity']).capitalize()} alert, {first['rule']}{where}: {text}"
    return f"{told}; and {more} more alert{'s' if more > 1 else ''} below." if more else f"{told}."


def _forecasts(graded: Grades) -> str:
    """Tell how the forecasts that were due this week turned out, or what next week should bring."""
    due = graded.table[(graded.table["due"] == graded.week) & graded.table["actual"].notna()]
    if len(due):
        missed = due[~due["inside"].astype(bool)].to_dict("records")
        named = [
            f"{_inside(row['label'])} came to {_shown(row, 'actual')}, forecast {_shown(row, 'lower')} to "
            f"{_shown(row, 'upper')}"
            for row in missed[:2]
        ]
        inside = f"Of {len(due)} forecast{'s' if len(due) > 1 else ''} due, {len(due) - len(missed)} fell inside"
        whose = "their intervals" if len(due) > 1 else "its interval"
        return f"{inside} {whose}{': ' if named else ''}{'; '.join(named)}."
    ahead = graded.ahead.sort_values("weeks", kind="stable").to_dict("records")
    if not ahead:
        return ""
    row = ahead[0]
    when = "next week" if row["weeks"] == 1 else f"over the next {row['weeks']} weeks"
    interval = f"{_shown(row, 'lower')} to {_shown(row, 'upper')}"
    return f"Expected {when}: {_inside(row['label'])} {_shown(row, 'mean')} ({interval})."


def _shown(row: Mapping[Any, Any], field: str) -> str:
    return show(row[field], row["unit"], row["currency"], short=True)
