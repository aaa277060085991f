"""What advertising reaches and what a click costs (F7), this week against the weeks before.

Days differ by more than chance explains within each: campaigns, weather, what others advertise. So the day is what
repeats, in all intervals here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.means import mean_interval, ratio_moments
from clvlib.stats.multiplicity import adjust
from clvlib.stats.overdispersion import dispersed_ratios
from clvlib.words import mark, tr

__all__ = ["SLOTS", "Advertising", "advertising", "reach"]

_ALL, _UNKNOWN = mark("all"), mark("unknown")
_DAY = mark("day of the week")
_WEEKDAYS = (
    *(mark("Monday"), mark("Tuesday"), mark("Wednesday"), mark("Thursday")),
    *(mark("Friday"), mark("Saturday"), mark("Sunday")),
)
SLOTS = {
    mark("00–06 h"): 6, mark("06–12 h"): 12, mark("12–18 h"): 18, mark("18–21 h"): 21, mark("21–24 h"): 24,
}  # fmt: skip
"""Parts of the day, and the hour at which each ends."""

_KEYS = ["dimension", "segment"]


@dataclass(frozen=True)
class Advertising(Result):
    """How often what was shown was clicked, and what it cost.

    ``table`` has a row per ``dimension`` and ``segment``: ``impressions`` (where seen in the events, ``person_days``:
    each person counts once a day, and ``reach``: people in the week), ``clicks``, ``ctr`` (click-through rate) with
    ``lower`` and ``upper``, ``ctr_before``, ``change`` (relative) with limits, ``p_value`` (Holm in each dimension);
    where costs are known ``cost``, ``cpm`` (per 1,000 impressions), ``cpc`` (per click) with limits (Student's over
    days), and ``cpc_before``. Blank where a segment was not shown before, or days are too few to tell how they differ.

    Attributes
    ----------
    week : str
    before_weeks : int
        How many weeks before are compared with.
    source : str
        ``spend`` (what platforms report) or ``events`` (who was seen to see and click).
    impossible : int
        Rows with more clicks than impressions, which are in no figure.
    incomplete : int
        Rows without impressions or clicks, whose cost is in no rate.
    level : float
        Of the intervals.
    """

    week: str
    before_weeks: int
    source: str
    impossible: int
    incomplete: int
    level: float

    @property
    def total(self) -> pd.Series:
        """The row of everything."""
        row: pd.Series = self.table[self.table["dimension"] == _ALL].iloc[0]
        return row

    @property
    def moved(self) -> pd.DataFrame:
        """The segments whose click-through rate moved by more than days differ, the clearest first."""
        parts = self.table[(self.table["dimension"] != _ALL) & (self.table["p_value"] <= 1 - self.level)]
        return parts.sort_values("p_value", kind="stable")

    @property
    def claim(self) -> str:
        """What moved, in one line."""
        names = tr(", ").join(tr(str(name)) for name in self.moved["segment"].head(3))
        if names:
            return tr("Click-through moved by more than days differ: {names}", names=names)
        return tr("Click-through did not move by more than days differ")

    @property
    def shown(self) -> pd.DataFrame:
        """The table as a notebook shows it: few columns, those of a dimension together."""
        size = ["reach", "person_days"] if self.source == "events" else ["impressions"]
        names = ["dimension", "segment", *size, "ctr", "lower", "upper", "ctr_before", "p_value"]
        costs = ["cost", "cpm", "cpc", "cpc_before"] if self.source == "spend" else []
        named = self.table["dimension"].replace({"hours": mark("time slot")})
        return self.table.assign(dimension=named)[[*names, *costs]]

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        forms = dict.fromkeys(("ctr", "lower", "upper", "ctr_before"), ".2%") | {"p_value": "p_value"}
        if self.source == "events":
            return forms | {"reach": "count", "person_days": "count"}
        return forms | {"impressions": "count"} | dict.fromkeys(("cost", "cpm", "cpc", "cpc_before"), "money")

    @property
    def sentence(self) -> str:
        """The rate and its change, in words."""
        row = self.total
        told = {"ctr": row["ctr"], "lower": row["lower"], "upper": row["upper"]}
        if self.source == "events":
            head = tr(
                "{reach:,.0f} people were reached; on {ctr:.1%} of their days they clicked ({lower:.1%} to "
                "{upper:.1%})",
                reach=row["reach"],
                **told,
            )
        else:
            head = tr(
                "{n:,.0f} impressions, of which {ctr:.2%} were clicked ({lower:.2%} to {upper:.2%})",
                n=row["impressions"],
                **told,
            )
        if np.isnan(row["p_value"]):
            return tr("{parts}.", parts=head)
        text = (
            mark("{change:+.1%} against {weeks} weeks before ({lower:+.1%} to {upper:+.1%}), more than days differ")
            if row["p_value"] <= 1 - self.level
            else mark(
                "{change:+.1%} against {weeks} weeks before ({lower:+.1%} to {upper:+.1%}), no more than days differ"
            )
        )
        change = tr(
            text, change=row["change"], weeks=self.before_weeks, lower=row["change_lower"], upper=row["change_upper"]
        )
        parts = [head, change]
        if len(self.moved):
            top = self.moved.iloc[0]
            parts.append(
                tr(
                    "most clearly {segment}, {before:.2%} to {now:.2%}",
                    segment=tr(str(top["segment"])),
                    before=top["ctr_before"],
                    now=top["ctr"],
                )
            )
        return tr("{parts}.", parts=tr("; ").join(parts))


def advertising(spend: Table | pd.DataFrame, week: Week, *, before_weeks: int = 8, level: float = 0.95) -> Advertising:
    """Compare a week's advertising with the weeks before, by channel, platform and weekday.

    Parameters
    ----------
    spend : Table or pandas.DataFrame
        ``channel``, ``date``, ``cost``, ``impressions`` and ``clicks``; ``platform`` where known.
    week : Week
    before_weeks : int
        How many weeks before make the comparison.
    level : float
        Of the intervals.

    Returns
    -------
    Advertising

    Raises
    ------
    MissingColumnError
        Impressions or clicks are not there.
    EmptyDataError
        Nothing was shown in the week.
    ParameterError
        A parameter cannot be.

    Examples
    --------
    >>> days = pd.date_range("2026-11-02", "2026-11-15")
    >>> log = pd.DataFrame({"channel": "Douyin", "date": days, "cost": 10.0, "impressions": 1000,
    ...                     "clicks": [20, 24, 22, 18, 20, 21, 19, 40, 41, 44, 39, 42, 40, 41]})
    >>> found = advertising(log, Week("2026-W46"))
    >>> print(f"{found.total['change']:+.0%} {found.total['cpc']:.3f}")
    +99% 0.244
    """
    _check(before_weeks, level)
    table = as_table(spend, "spend", "channel", "date", "cost", "impressions", "clicks")
    platform = f"COALESCE(CAST(platform AS VARCHAR), '{_UNKNOWN}')" if "platform" in table.columns else "''"
    rows = table.query(
        f"""SELECT CAST(date AS DATE) AS day, CAST(channel AS VARCHAR) AS channel, {platform} AS platform,
            CAST(cost AS DOUBLE) AS cost, CAST(impressions AS DOUBLE) AS shown, CAST(clicks AS DOUBLE) AS clicks
        FROM {{t}} AS t WHERE CAST(date AS DATE) >= {literal(week.shift(-before_weeks).start)}
          AND CAST(date AS DATE) < {literal(week.end)}"""
    )
    incomplete = rows["shown"].isna() | rows["clicks"].isna()
    impossible = rows["clicks"] > rows["shown"]
    rows = rows[~(incomplete | impossible)].copy()
    rows[_DAY] = pd.to_datetime(rows["day"]).dt.day_of_week.map(dict(enumerate(_WEEKDAYS)))
    dimensions = ["channel", *(["platform"] if "platform" in table.columns else []), _DAY]
    parts = [
        rows.groupby("day", as_index=False)[["shown", "clicks", "cost"]].sum().assign(dimension=_ALL, segment=_ALL)
    ]
    for name in dimensions:
        by_day = rows.groupby([name, "day"], as_index=False)[["shown", "clicks", "cost"]].sum()
        parts.append(by_day.rename(columns={name: "segment"}).assign(dimension=name))
    return _compared(
        pd.concat(parts, ignore_index=True),
        week,
        before_weeks,
        level,
        source="spend",
        impossible=int(impossible.sum()),
        incomplete=int(incomplete.sum()),
    )


def reach(
    events: Table | pd.DataFrame,
    week: Week,
    customers: Table | pd.DataFrame | None = None,
    *,
    by: Sequence[str] = ("hours", "region", "platform", "channel"),
    shown: str = "exposure",
    clicked: str = "click",
    before_weeks: int = 8,
    level: float = 0.95,
) -> Advertising:
    """Compare who was reached in a week and clicked with the weeks before, by region, hours, platform and channel.

    A person counts once a day (and in a part of the day): reached when something was shown, and clicked when a click
    followed on the same day.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``occurred_at``, ``event``; ``platform`` and ``channel`` where known.
    week : Week
    customers : Table or pandas.DataFrame, optional
        ``customer_id`` and ``region``; who is not there has an unknown region.
    by : sequence of str
        Dimensions; those without a column are left out.
    shown, clicked : str
        Names of the events.
    before_weeks : int
        How many weeks before make the comparison.
    level : float
        Of the intervals.

    Returns
    -------
    Advertising

    Raises
    ------
    MissingColumnError, ParameterError
        As :func:`advertising`.
    EmptyDataError
        Nobody was reached in the week.
    """
    _check(before_weeks, level)
    tables = together(events=events, customers=customers)
    log = tables["events"].require("person_id", "occurred_at", "event")
    slots = " ".join(f"WHEN EXTRACT(hour FROM occurred_at) < {end} THEN '{name}'" for name, end in SLOTS.items())
    columns = {_ALL: f"'{_ALL}'", "hours": f"CASE {slots} END"}
    if "customers" in tables and "region" in tables["customers"].columns:
        columns["region"] = f"COALESCE(CAST(region AS VARCHAR), '{_UNKNOWN}')"
    for name in ("platform", "channel"):
        if name in log.columns:
            columns[name] = f"COALESCE(CAST({name} AS VARCHAR), '{_UNKNOWN}')"
    parts = []
    people: dict[tuple[str, str], int] = {}
    for name in (_ALL, *(name for name in by if name in columns)):
        rows, reached = _person_days(
            tables, columns[name], week, before_weeks, (shown, clicked), region=name == "region"
        )
        parts.append(rows.assign(dimension=name))
        people |= {(name, segment): number for segment, number in reached.items()}
    found = _compared(
        pd.concat(parts, ignore_index=True), week, before_weeks, level, source="events", impossible=0, incomplete=0
    )
    keys = zip(found.table["dimension"], found.table["segment"], strict=True)
    found.table.insert(2, "reach", [people[key] for key in keys])
    return found


def _person_days(
    tables: dict[str, Table], column: str, week: Week, before_weeks: int, names: tuple[str, str], *, region: bool
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Count by day and segment who was reached and who clicked then, and by segment the people reached in the week."""
    join = ""
    if region:
        known = "SELECT customer_id, MIN(region) AS region FROM {customers} AS c GROUP BY 1"
        join = f"LEFT JOIN ({known}) AS r ON person_id = customer_id"
    others = {"customers": tables["customers"]} if region else {}
    days = f"""SELECT person_id, CAST(occurred_at AS DATE) AS day, {column} AS segment,
          MIN(CASE WHEN event = {literal(names[0])} THEN occurred_at END) AS first,
          MAX(CASE WHEN event = {literal(names[1])} THEN occurred_at END) AS last
        FROM {{t}} AS t {join} WHERE event IN {literal(list(names))} AND occurred_at < {literal(week.end)}
          AND occurred_at >= {{since}} AND person_id IS NOT NULL GROUP BY 1, 2, 3"""
    log = tables["events"]
    rows = log.query(
        f"""SELECT segment, day, COUNT(*) AS shown, COUNT(CASE WHEN last >= first THEN 1 END) AS clicks
        FROM ({days.replace("{since}", literal(week.shift(-before_weeks).start))}) AS d
        WHERE first IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2""",
        **others,
    )
    reached = log.query(
        f"""SELECT segment, COUNT(DISTINCT person_id) AS people
        FROM ({days.replace("{since}", literal(week.start))}) AS d WHERE first IS NOT NULL GROUP BY 1""",
        **others,
    )
    return rows, {str(k): int(v) for k, v in zip(reached["segment"], reached["people"], strict=True)}


def _check(before_weeks: int, level: float) -> None:
    if before_weeks < 1 or before_weeks != int(before_weeks):
        raise ParameterError(f"before_weeks: {before_weeks} is no whole number of weeks above zero")
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")


def _compared(
    by_day: pd.DataFrame, week: Week, before_weeks: int, level: float, *, source: str, impossible: int, incomplete: int
) -> Advertising:
    """Each segment's week against its own weeks before, the day being what repeats."""
    now = pd.to_datetime(by_day["day"]).dt.date >= week.start
    if not by_day.loc[now, "shown"].sum():
        raise EmptyDataError(tr("nothing was shown in week {week}", week=week.label))
    size = "person_days" if source == "events" else "impressions"
    by_day = by_day.assign(now=now)
    table = _rates(by_day[by_day["shown"] > 0], size, level)
    if "cost" in by_day:
        parts = dict(iter(by_day.groupby(_KEYS)))
        costs = [_costs(parts[key], level) for key in table[_KEYS].itertuples(index=False, name=None)]
        table = table.join(pd.DataFrame(costs))
    for index in table.groupby("dimension").groups.values():
        known = table.loc[index, "p_value"].dropna()
        table.loc[known.index, "p_value"] = adjust(known).to_numpy()
    place = {name: k for k, name in enumerate(table["dimension"].unique())}
    weekday = table["segment"].map({name: k for k, name in enumerate(_WEEKDAYS)})
    keys = pd.DataFrame({"dimension": table["dimension"].map(place), "size": weekday.fillna(-table[size])})
    order = keys.sort_values(["dimension", "size"], kind="stable").index
    return Advertising(
        week=week.label,
        before_weeks=before_weeks,
        source=source,
        impossible=impossible,
        incomplete=incomplete,
        level=level,
        table=table.loc[order].reset_index(drop=True),
    )


def _rates(days: pd.DataFrame, size: str, level: float) -> pd.DataFrame:
    """Rates of each segment that was shown in the week, then and before."""
    number = days.groupby(_KEYS, sort=False).ngroup().to_numpy()
    found = dispersed_ratios(days["clicks"], days["shown"], days["now"], number, level)
    shown, clicks = (np.bincount(number, days[name] * days["now"]) for name in ("shown", "clicks"))
    change = found[["estimate", "lower", "upper"]] - 1
    rates: dict[str, Any] = {
        size: shown, "clicks": clicks, "ctr": found["rate"], "lower": found["rate_lower"],
        "upper": found["rate_upper"], "ctr_before": found["others"].where(found["estimate"].notna()),
        "change": change["estimate"], "change_lower": change["lower"], "change_upper": change["upper"],
        "p_value": found["p_value"],
    }  # fmt: skip
    table = days[_KEYS].drop_duplicates(ignore_index=True).assign(**rates)
    return table[shown > 0].reset_index(drop=True)


def _costs(part: pd.DataFrame, level: float) -> dict[str, float]:
    """Cost of a segment per thousand impressions and per click, with limits over days."""
    here = part["now"].to_numpy()
    money, hits, shown = (part[name].to_numpy(float) for name in ("cost", "clicks", "shown"))
    cost, clicks = money[here], hits[here]
    row = {"cost": float(cost.sum()), "cpm": 1000 * float(cost.sum() / shown[here].sum())}
    row |= dict.fromkeys(("cpc", "cpc_lower", "cpc_upper", "cpc_before"), np.nan)
    if clicks.sum() > 0:
        row["cpc"] = float(cost.sum() / clicks.sum())
        spread = np.cov(cost, clicks) if len(cost) > 1 else np.zeros((2, 2))
        moments = ratio_moments(
            len(cost),
            mean_y=float(cost.mean()),
            mean_x=float(clicks.mean()),
            variance_y=float(spread[0, 0]),
            variance_x=float(spread[1, 1]),
            covariance=float(spread[0, 1]),
        )
        if moments.n > 1 and moments.variance > 0:
            effect = mean_interval(moments, level)
            row |= {"cpc_lower": max(effect.lower, 0.0), "cpc_upper": effect.upper}
    if hits[~here].sum() > 0:
        row["cpc_before"] = float(money[~here].sum() / hits[~here].sum())
    return row
