"""A shop's funnel in one week: what the notebook shows of it, each part computed when it is asked for."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.connect import Shop
from clvlib.data.engine import Table, literal
from clvlib.data.identities import events_of
from clvlib.errors import EmptyDataError, ThinDataWarning
from clvlib.funnel.audit import definitions
from clvlib.funnel.change import Change, change
from clvlib.funnel.cohorts import Triangle, triangle
from clvlib.funnel.context import computed_once, with_common, with_context, with_history, with_personas
from clvlib.funnel.curve import ConversionCurve, conversion_curve
from clvlib.funnel.drivers import Drivers, drivers
from clvlib.funnel.dwell import Dwell, dwell
from clvlib.funnel.interaction import Interaction, interaction
from clvlib.funnel.kernel import FunnelResult, funnel
from clvlib.funnel.paths import Credit, alike, credit, journeys
from clvlib.funnel.rooms import Scorecard, scorecard
from clvlib.funnel.rooms_course import Course, course
from clvlib.funnel.threshold import Threshold, threshold
from clvlib.funnel.weekly import trend, week_funnels
from clvlib.funnel.worth import Worth, worth_of_touches
from clvlib.stats.proportions import proportion_difference
from clvlib.words import begun, mark, tr

__all__ = ["WeekFunnel"]

_BY = (
    mark("platform"),
    mark("category"),
    mark("channel"),
    mark("host_id"),
    mark("script"),
    mark("new_or_returning"),
    mark("product"),
    mark("persona"),
    ("platform", "category"),
)
_OF_PEOPLE = {"new_or_returning", "persona"}  # who people are, not where in the shop they went
_FEWEST = 200  # people who made the step before in two weeks, for a product to be a segment of its own

_SURE = 0.995  # confidence that conversion falls: every week asks anew


class WeekFunnel:
    """The funnel of one week of a shop, beside the week before.

    Nothing is computed, and nothing can fail for want of a table, before a part is asked for.

    Parameters
    ----------
    shop : Shop
        With ``events``; ``orders`` and ``sessions`` add the category, the host and the script to break down by.
    week : Week
        The week.
    window : str
        Longest time from the first step to the last.
    step : str
        The step whose rate has a threshold.
    minimum : float
        The threshold.
    by : sequence
        Columns, or lists of columns, to break down by; those that the events lack are left out.
    weeks : int
        How far back the trend goes.
    host_weeks : int
        How many weeks hosts are compared over.
    level : float
        Confidence level.
    personas : pandas.Series, optional
        Persona by person, as known before the week, to break down by.

    Raises
    ------
    MissingTableError
        When a part is asked for: the shop has no events.
    EmptyDataError
        When a part is asked for: the shop's funnel has no such step, or nobody is in it.
    """

    def __init__(
        self,
        shop: Shop,
        week: Week,
        *,
        window: str | pd.Timedelta = "7D",
        step: str = "cart",
        minimum: float = 0.12,
        by: Sequence[str | Sequence[str]] = _BY,
        weeks: int = 12,
        host_weeks: int = 26,
        level: float = 0.95,
        personas: pd.Series | None = None,
    ) -> None:
        self.shop, self.week = shop, week
        self.window, self.step, self.minimum = window, step, minimum
        self.by, self.weeks, self.host_weeks, self.level = by, weeks, host_weeks, level
        self.personas = personas

    @property
    def steps(self) -> tuple[str, ...]:
        """The shop's funnel."""
        return tuple(self.shop.config.funnel_steps)

    @cached_property
    def events(self) -> Table:
        """The events under customers' ids, with category, host, script, product and kind of customer where known."""
        sessions = self.shop.table("sessions") if self.shop.has("sessions") else None
        events = with_context(events_of(self.shop) or self.shop.table("events"), self._orders, sessions)
        if "product_id" in events.columns and self.step in self.steps[1:]:
            since = f"occurred_at >= {literal(self.week.previous.start)} AND occurred_at < {literal(self.week.end)}"
            before = f"event = {literal(self._before)} AND {since}"
            events = with_common(events, "product_id", "product", before, _FEWEST)
        if self._orders is not None:
            events = with_history(events, self._orders)
        return computed_once(events if self.personas is None else with_personas(events, self.personas))

    @property
    def _orders(self) -> Table | None:
        return self.shop.table("orders") if self.shop.has("orders") else None

    @cached_property
    def path(self) -> FunnelResult:
        """The funnel of the last seven days of starts whose windows are over by the end of the week."""
        return self._path()

    @cached_property
    def path_by_session(self) -> FunnelResult:
        """The same by person and live session."""
        return self._path(unit="session")

    @property
    def settled(self) -> tuple[dt.date, dt.date]:
        """First and last day of the starts that ``path`` counts."""
        first, end = self._settled["starts"]
        return first.date(), (end - pd.Timedelta(microseconds=1)).date()

    def path_by(self, *by: str) -> FunnelResult:
        """Return ``path`` by segments; a column that the events lack raises MissingColumnError."""
        return self._path(by=by)

    def _path(self, **options: Any) -> FunnelResult:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ThinDataWarning)  # a step that nobody reached shows in the table
            found = funnel(self.events, self.steps, self.window, level=self.level, **self._settled, **options)
        if not found.total["people"].iloc[0]:
            first, last = self.settled
            raise EmptyDataError(
                tr("nobody made '{step}' from {first} to {last}", step=tr(self.steps[0]), first=first, last=last)
            )
        return found

    @property
    def _settled(self) -> dict[str, Any]:
        end = pd.Timestamp(self.week.end) - pd.Timedelta(self.window)
        return {"starts": (end - dt.timedelta(days=7), end), "as_of": self.week.as_of}

    @cached_property
    def definitions(self) -> pd.DataFrame:
        """The conversion of ``path`` as other tools would report it."""
        return definitions(self.events, self.steps, self.window, level=self.level, **self._settled)

    @cached_property
    def curve_before(self) -> ConversionCurve:
        """How the last week whose windows are over has converted, by time since the first step."""
        return self._curve(self._week_before)

    @property
    def _week_before(self) -> Week:
        return self.week.shift(-max(1, -(-pd.Timedelta(self.window) // pd.Timedelta(weeks=1))))

    @cached_property
    def curve(self) -> ConversionCurve:
        """How this week converts, and what those are expected to add whose windows are open."""
        return self._curve(self.week, self.curve_before)

    def _curve(self, week: Week, reference: ConversionCurve | None = None) -> ConversionCurve:
        options: dict[str, Any] = {"starts": (week.start, week.end), "as_of": self.week.as_of, "level": self.level}
        return conversion_curve(self.events, self.steps, self.window, reference=reference, **options)

    @cached_property
    def cohorts(self) -> Triangle:
        """The people who came for the first time in each of the last eight weeks, followed from then on."""
        return triangle(self.events, self.steps, self.week, level=self.level)

    @cached_property
    def credit(self) -> Credit:
        """The credit of each channel for the orders of the last weeks, and the paths behind it."""
        asked: dict[str, Any] = {"goal": self.steps[-1], **self._journeys}
        return credit(journeys(self.events, **asked), level=self.level, kinds=alike(self.events, **asked))

    @property
    def _journeys(self) -> dict[str, Any]:
        period = (self.week.shift(1 - self.weeks).start, self.week.end)
        return {"window": self.window, "touches": self.steps[:1], "as_of": self.week.as_of, "starts": period}

    def credit_in_money(self, value: pd.Series | None = None, margin: float = 0.3) -> Worth:
        """Return ``credit`` in margin and expected value, and beside what was spent, as far as the shop knows them.

        Parameters
        ----------
        value : pandas.Series, optional
            By customer_id, the margin that is still expected.
        margin : float
            Share of spend that is kept.
        """
        first, end = (literal(day) for day in self._journeys["starts"])
        worth: dict[str, pd.Series] = {}
        if self.shop.has("orders"):
            kept = self.shop.table("orders").query(
                "SELECT customer_id, CAST(SUM(net_amount) AS DOUBLE) AS spend FROM {t} AS t "
                f"WHERE is_purchase AND ordered_at >= {first} AND ordered_at < {end} GROUP BY 1 ORDER BY 1"
            )
            worth["margin"] = margin * kept.set_index("customer_id")["spend"]
        if value is not None:
            worth["value"] = value
        cost = None
        if self.shop.has("spend"):
            spent = self.shop.table("spend").query(
                "SELECT CAST(channel AS VARCHAR) AS channel, CAST(SUM(cost) AS DOUBLE) AS cost FROM {t} AS t "
                f"WHERE date >= {first} AND date < {end} GROUP BY 1 ORDER BY 1"
            )
            cost = spent.set_index("channel")["cost"]
        people = pd.concat(worth, axis=1).fillna(0.0) if worth else None
        return worth_of_touches(self.credit, self.events, self.steps[-1], worth=people, cost=cost, **self._journeys)

    @cached_property
    def rooms(self) -> Scorecard:
        """The hosts over the last ``host_weeks``, and the sessions of the week."""
        events, sessions = self.events, self.shop.table("sessions")
        options: dict[str, Any] = {"steps": self.steps, "weeks": self.host_weeks, "level": self.level}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ThinDataWarning)  # what cannot be compared is missing from the table
            return scorecard(events, sessions, self.week, self._orders, step=self.step, **options)

    @cached_property
    def course(self) -> Course:
        """How the sessions of the last ``host_weeks`` went, by the minutes since they began."""
        events, sessions = self.events, self.shop.table("sessions")
        period = (self.week.shift(1 - self.host_weeks).start, self.week.end)
        return course(events, sessions, self._orders, steps=self.steps, period=period, level=self.level)

    @cached_property
    def dwell(self) -> Dwell:
        """The time on the product page this week, and how it goes with the step that has a threshold."""
        self._check_step()
        period = (self.week.start, self.week.end)
        return dwell(self.events, period, before=self._before, step=self.step, level=self.level)

    @cached_property
    def interaction(self) -> Interaction:
        """Who joined in during the live sessions of the last weeks, and what goes with it."""
        period = (self.week.shift(1 - self.host_weeks).start, self.week.end)
        return interaction(self.events, self._orders, period, steps=self.steps, level=self.level)

    @property
    def columns(self) -> list[tuple[str, ...]]:
        """What to break down by, of what the events have."""
        wanted = [(by,) if isinstance(by, str) else tuple(by) for by in self.by]
        return [by for by in wanted if set(by) <= set(self.events.columns)]

    def _of(self, week: Week, by: Sequence[Sequence[str]]) -> list[FunnelResult]:
        self._check_step()
        return week_funnels(self.events, self.steps, week, by, self.window, level=self.level)

    def _check_step(self) -> None:
        if self.step not in self.steps[1:]:
            raise EmptyDataError(
                tr(
                    "the shop's funnel has no step '{step}' after its first: {steps}",
                    step=self.step,
                    steps=", ".join(self.steps),
                )
            )

    @cached_property
    def _this_week(self) -> list[FunnelResult]:
        return self._of(self.week, [(), *self.columns])

    @property
    def now(self) -> FunnelResult:
        """The funnel of the people who started this week, so far."""
        return self._this_week[0]

    @property
    def segments(self) -> list[FunnelResult]:
        """``now`` by each of ``columns``."""
        return self._this_week[1:]

    @cached_property
    def verdict(self) -> Threshold:
        """Whether the step's rate is at or above its threshold, in all and by segment.

        Who has bought before does so more readily, week for week: that is no place where people are lost, so kinds of
        people are not among these segments.
        """
        places = [part for part in self.segments if not _OF_PEOPLE & {*part.by}]
        return threshold(self.now, self.step, self.minimum, places)

    @cached_property
    def moved(self) -> Change:
        """The change of the step's rate since the week before, split over the segments."""
        if not self.columns:
            raise EmptyDataError(tr("the events have no column to break the change down by"))
        return change(self.segments, self._of(self.week.previous, self.columns), self.step)

    @cached_property
    def drivers(self) -> Drivers:
        """What goes with leaving before the step that has a threshold, each column adjusted for the others.

        As for ``now``, of the people who started this week, so far; the few whose next step is still to come count as
        having left.
        """
        apart = {"product", *_OF_PEOPLE}  # finer than the category, and no place to look for what is wrong
        by = tuple(dict.fromkeys(n for columns in self.columns for n in columns if n not in apart))
        if not by:
            raise EmptyDataError(tr("the events have no column that could go with leaving"))
        self._check_step()
        options: dict[str, Any] = {"starts": (self.week.start, self.week.end), "as_of": self.week.as_of}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ThinDataWarning)  # of two columns that say the same, the first is shown
            return drivers(
                self.events, self.steps, self.step, by, self.window, level=self.level, open_windows="so far", **options
            )

    @cached_property
    def rates(self) -> pd.DataFrame:
        """The step's rate in the last weeks."""
        self._check_step()
        return trend(self.events, self.steps, self.step, self.week, self.weeks, self.window, level=self.level)

    @property
    def rate_name(self) -> str:
        """What the rate is called: ``click to cart``."""
        return tr("{before} to {step}", before=tr(self._before), step=tr(self.step))

    @property
    def rate_title(self) -> str:
        """The same as it stands at the beginning of a line: ``Click to cart``."""
        return begun(self.rate_name)

    @property
    def _before(self) -> str:
        return self.steps[self.steps.index(self.step) - 1]

    def _slowing(self) -> list[dict[str, str]]:
        """Return an alert where fewer of this week's people have converted by its end than of those before by theirs.

        Both are held at one age, so that the alert rests on what was counted and not on what is expected.
        """
        try:
            now = self.curve
        except EmptyDataError:
            return []
        if not (now.open_units and now.then_people):
            return []
        fell = proportion_difference(now.converted, now.people, now.then_converted, now.then_people, _SURE)
        if not fell.upper < 0:
            return []
        text = tr(
            "of this week's {people:,} people {so_far:.1%} have reached {goal} so far, of those of {week} {then:.1%} "
            "had by the same day; {final:.1%} ({lower:.1%} to {upper:.1%}) are to be expected within {window}, where "
            "those of {week} came to {reached:.1%}. The key figure speaks of people whose time is over, and will show "
            "it next week",
            goal=tr(now.goal),
            window=now.window,
            week=self._week_before,
            then=now.then_converted / now.then_people,
            reached=self.curve_before.final,
            **{name: getattr(now, name) for name in ("people", "so_far", "final", "lower", "upper")},
        )
        alert = {"rule": tr("conversion is about to fall"), "text": text, "segment": "", "severity": "high"}
        return [{**alert, "metric": "conversion"}]

    def _fallen(self) -> list[dict[str, str]]:
        """Return an alert where a segment fell unlike the others; there is none without a week before."""
        try:
            moved = self.moved
        except EmptyDataError:
            return []
        if not moved.segment or moved.table["z"].iloc[0] >= 0:
            return []
        severity = "high" if moved.difference < 0 else "medium"
        rule = tr("{rate} fell", rate=self.rate_name)
        return [{"rule": rule, "text": moved.sentence, "segment": moved.segment, "severity": severity}]

    def alerts(self) -> list[dict[str, str]]:
        """Return what to raise, for ``chapter.alert``: a rate below its threshold, a segment that fell."""
        found = []
        rule = tr("{rate} below {minimum:.0%}", rate=self.rate_name, minimum=self.minimum)
        verdict = self.verdict
        worst = "" if verdict.failing.empty else str(verdict.failing["segment"].iloc[0])
        if verdict.verdict == "fail":
            text = verdict.sentence
            if worst:
                most = verdict.failing.iloc[0]
                text = tr(
                    "over all, {verdict}; {segment} loses most, at {rate:.1%} ({lower:.1%} to {upper:.1%})",
                    verdict=text,
                    segment=tr(worst),
                    **{name: float(most[name]) for name in ("rate", "lower", "upper")},
                )
            found.append({"rule": rule, "text": text, "segment": worst, "severity": "high"})
        elif worst:
            text = tr(
                "{segment} is surely below the threshold, though {verdict}",
                segment=tr(worst),
                verdict=verdict.sentence,
            )
            found.append({"rule": rule, "text": text, "segment": worst, "severity": "medium"})
        found += self._fallen()
        return [{**alert, "metric": "click_to_cart"} for alert in found] + self._slowing()
