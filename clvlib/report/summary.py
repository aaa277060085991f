"""The words above the figures: one sentence and at most three bullets, made from verdicts, alerts and forecasts.

A movement is unusual where the verdict of :mod:`clvlib.report.trend` says "changed". All verdicts of a report are held
against one rate of false alarms together, so the alerts made of them (:mod:`clvlib.report.alerts`) are too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clvlib.report.form import outcomes, show, show_change
from clvlib.report.grade import Grades
from clvlib.report.harvest import Harvest
from clvlib.report.trend import CHANGED, NORMAL, Trend
from clvlib.words import mark, tr, trn

__all__ = ["FIRST", "Movement", "movements", "summary"]

_SHOWN = 3  # bullets, and changed figures in one
_LEADING = 2  # figures that a first report opens with
# what a manager asks for first; a change of one of these is told before that of another figure
FIRST: Final = (
    "gmv_net", "buyers", "conversion", "click_to_cart", "repeat_rate", "retention", "satisfaction", "base_value",
)  # fmt: skip
_ALERTS = {
    "high": mark("High alert, {rule}: {text}"),
    "medium": mark("Medium alert, {rule}: {text}"),
    "low": mark("Low alert, {rule}: {text}"),
}
_CHANGED = {
    False: mark("for the worse, {names}"),
    True: mark("for the better, {names}"),
    None: mark("{names}"),
}


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
        by, value = self._figures()
        return self._told(tr(self.kpi["label"]), by, value)

    @property
    def inner_words(self) -> str:
        """The same as it stands inside a sentence."""
        by, value = self._figures()
        return self._told(_inside(tr(self.kpi["label"])), by, value)

    def _told(self, label: str, by: str, value: str) -> str:
        if (self.trend.change or 0) > 0:
            return tr("{figure} rose by {by} to {value}", figure=label, by=by, value=value)
        return tr("{figure} fell by {by} to {value}", figure=label, by=by, value=value)

    def _figures(self) -> tuple[str, str]:
        unit, currency, change = self.kpi["unit"], self.kpi["currency"], self.trend.change or 0
        by = _told_change(abs(change), self.kpi).removeprefix("+")
        if unit not in {"share", "points"} and self.trend.last and self.trend.last > 0:
            by = show(abs(change) / self.trend.last, "share")
        return by, show(self.kpi["value"], unit, currency, short=True)

    @property
    def evidence(self) -> str:
        """Why that is unusual."""

        def moved(value: float | None) -> str:
            return _told_change(value, self.kpi)

        change = moved(self.trend.change)
        if self.trend.chart and self.trend.usual:
            low, high = map(moved, self.trend.usual)
            return tr(
                "a change of {change} since last week, where {low} to {high} is usual by the {n} changes before it",
                change=change,
                low=low,
                high=high,
                n=self.trend.chart.freedom + 1,
            )
        return tr(
            "a change of {change} since last week, whose interval, {low} to {high}, is clear of zero",
            change=change,
            low=moved(self.trend.lower),
            high=moved(self.trend.upper),
        )


def _told_change(value: float | None, kpi: Mapping[str, Any]) -> str:
    """Write by how much a figure moved, as a sentence has it: shares by percentage points in words."""
    if value is None or kpi["unit"] not in {"share", "points"}:
        return show_change(value, kpi["unit"], kpi["currency"], short=True, beside=kpi["value"])
    return tr("{points} pp", points=f"{100 * value:+.1f}".replace("-", "−"))


def movements(harvests: Mapping[str, Harvest], found: Mapping[tuple[str, str], Trend]) -> list[tuple[str, Movement]]:
    """Return what changed, with its chapter: for the worse first, then what is asked for first, then by chance."""
    moved = [
        (chapter, Movement(kpi, trend))
        for chapter, said in harvests.items()
        for kpi in said.kpis
        if (trend := found[chapter, kpi["name"]]).verdict == CHANGED
    ]
    return sorted(moved, key=lambda item: (item[1].good is not False, *_weight(item[1])))


def _weight(move: Movement) -> tuple[int, float]:
    """Return how early a change is told: by its figure, then by how hard chance explains it."""
    name = move.kpi["name"]
    return FIRST.index(name) if name in FIRST else len(FIRST), move.trend.p_value or 0.0


def summary(
    harvests: Mapping[str, Harvest],
    found: Mapping[tuple[str, str], Trend],
    moved: Sequence[tuple[str, Movement]],
    shown: Sequence[Mapping[str, Any]],
    graded: Grades,
    *,
    failed: int = 0,
) -> tuple[str, list[str]]:
    """Write what a person would tell first: one sentence, and at most three bullets.

    Parameters
    ----------
    harvests : mapping
        What the chapters say.
    found : mapping
        The trend of each key figure.
    moved : sequence
        What :func:`movements` returns.
    shown : sequence
        What :func:`clvlib.report.alerts.cards` returns.
    graded : Grades
        How the forecasts turned out.
    failed : int
        How many chapters failed.
    """
    bullets = [_changed(moved), _alarm(shown), _forecasts(graded)]
    missing = trn("{n} chapter failed and is missing here. ", "{n} chapters failed and are missing here. ", failed)
    return (missing if failed else "") + _sentence(harvests, found, moved), [bullet for bullet in bullets if bullet][
        :_SHOWN
    ]


def _sentence(
    harvests: Mapping[str, Harvest],
    found: Mapping[tuple[str, str], Trend],
    moved: Sequence[tuple[str, Movement]],
) -> str:
    judged = sum(trend.verdict in {CHANGED, NORMAL} for trend in found.values())
    if not found:
        return tr("No chapter stated a key figure.")
    if all(trend.last is None for trend in found.values()):
        return _alone(harvests)
    if not judged:
        return tr("The past does not reach back far enough yet to tell a change from normal variation.")
    if not moved:
        return trn(
            "An ordinary week: the one figure that can be judged moved within normal variation.",
            "An ordinary week: all {n} figures that can be judged moved within normal variation.",
            judged,
        )
    return _moved(moved, judged)


def _alone(harvests: Mapping[str, Harvest]) -> str:
    """Tell the figures that stand first, where there is no last week to hold any to."""
    stated = [kpi for said in harvests.values() for kpi in said.kpis if kpi["value"] is not None]
    if not stated:
        return tr("No key figure has a value, and there is no report of last week.")
    named: list[str] = []
    for kpi in stated[:_LEADING]:
        label = tr(kpi["label"]) if not named else _inside(tr(kpi["label"]))
        named.append(f"{label} {show(kpi['value'], kpi['unit'], kpi['currency'], short=True)}")
    return tr("{figures}. There is no report of last week to hold this one to.", figures=tr(", ").join(named))


def _opening(moved: Sequence[tuple[str, Movement]]) -> list[Movement]:
    """Return what the first sentence is about: the worst change, beside it the best of what is asked for first."""
    first = [move for _, move in moved[:1]]
    best = [move for _, move in moved[1:] if move.good and move.kpi["name"] in FIRST]
    return first + best[:1] if first and first[0].good is False else first


def _moved(moved: Sequence[tuple[str, Movement]], judged: int) -> str:
    opening, others = _opening(moved), judged - len(moved)
    first = opening[0].words
    if len(moved) > 1:
        if len(opening) > 1:
            first = tr("{change}, while {other}", change=first, other=opening[1].inner_words)
        return tr(
            "{change}. Of {judged} figures that can be judged, {n} changed beyond normal variation.",
            change=first,
            n=len(moved),
            judged=judged,
        )
    if others:
        return trn(
            "{change}, beyond normal variation; the other figure stayed within its own.",
            "{change}, beyond normal variation; the other {n} stayed within theirs.",
            others,
            change=first,
        )
    return tr("{change}, beyond normal variation.", change=first)


def _inside(label: str) -> str:
    """Write a label as it stands inside a sentence: ``GMV`` stays, ``Sold`` becomes ``sold``."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def _changed(moved: Sequence[tuple[str, Movement]]) -> str:
    """Name what changed beside the figures that the sentence is about, by which way is good."""
    opening = _opening(moved)
    others = [move for _, move in moved if move not in opening]
    if not others:
        return ""
    told: list[str] = []
    for good, changed in _CHANGED.items():
        named = [move.inner_words for move in others[:_SHOWN] if move.good is good]
        told += [tr(changed, names=tr("; ").join(named))] if named else []
    more = len(others) - _SHOWN
    told += [tr("and {n} more", n=more)] if more > 0 else []
    return tr("Also: {changes}.", changes=tr("; ").join(told))


def _alarm(shown: Sequence[Mapping[str, Any]]) -> str:
    """Tell the most severe alert of a chapter; those of movements stand in the sentence already."""
    own = [alert for alert in shown if not alert["moved"]]
    if not own:
        return ""
    first, more = own[0], len(shown) - 1
    told = tr(_ALERTS[str(first["severity"])], rule=_placed(first), text=str(first["text"]).rstrip(".。"))
    if not more:
        return tr("{alert}.", alert=told)
    return trn("{alert}; and {n} more alert below.", "{alert}; and {n} more alerts below.", more, alert=told)


def _placed(alert: Mapping[str, Any]) -> str:
    """Return what was crossed, and where, unless the text says that."""
    rule, segment = alert["rule"], alert["segment"]
    named = not segment or segment in alert["text"]
    return str(rule) if named else tr("{rule} ({segment})", rule=rule, segment=segment)


def _forecasts(graded: Grades) -> str:
    """Tell how the forecasts that were due this week turned out, or what next week should bring."""
    due = graded.table[(graded.table["due"] == graded.week) & graded.table["actual"].notna()]
    if len(due):
        missed = due[~due["inside"].astype(bool)].to_dict("records")
        named = [
            tr("{figure} came to {actual}, forecast {lower} to {upper}", **_shown(row, "actual", "lower", "upper"))
            for row in missed[:2]
        ]
        inside = len(due) - len(missed)
        told = trn(
            "Of {n} forecast due, {inside} fell inside its interval",
            "Of {n} forecasts due, {inside} fell inside their intervals",
            len(due),
            inside=inside,
        )
        return tr("{what}: {names}.", what=told, names=tr("; ").join(named)) if named else tr("{what}.", what=told)
    ahead = graded.ahead.sort_values("weeks", kind="stable").to_dict("records")
    if not ahead:
        return ""
    row = ahead[0]
    return trn(
        "Expected next week: {figure} {mean} ({lower} to {upper}).",
        "Expected over the next {n} weeks: {figure} {mean} ({lower} to {upper}).",
        row["weeks"],
        **_shown(row, "mean", "lower", "upper"),
    )


def _shown(row: Mapping[Any, Any], *fields: str) -> dict[str, str]:
    """Return a figure's name, as it stands inside a sentence, and some of its values as texts."""
    lower, upper = outcomes(row["lower"], row["upper"], row["unit"])
    told = {**row, "lower": lower, "upper": upper}
    values = {field: show(told[field], row["unit"], row["currency"], short=True) for field in fields}
    return {"figure": _inside(tr(row["label"]))} | values
