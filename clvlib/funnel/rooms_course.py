"""How a live session goes, by the minutes since it began: who comes, who converts, what is sold (F8)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.totals import total_interval
from clvlib.words import tr

__all__ = ["Course", "course"]


@dataclass(frozen=True)
class Course(Result):
    """Sessions by the minutes since they began, all of a period together.

    ``table`` has a row per stretch of time, index ``minute`` (its first): ``on_air`` (minutes that sessions were on air
    in it, together), ``viewers`` who came in it, for each step how many of them made it in the session, whenever,
    ``rate`` of the last step with ``lower`` and ``upper``, and ``gmv`` that was ordered in it (net of refunds),
    ``gmv_per_minute`` on air with limits; missing without orders.

    Attributes
    ----------
    minutes : int
        Length of a stretch.
    sessions : int
        How many there were.
    step : str
        The last step.
    p_value : float
        Of the hypothesis that the rate is the same whenever people come (chi-square).
    level : float
        Of the intervals.
    """

    minutes: int
    sessions: int
    step: str
    p_value: float
    level: float
    first: str = field(repr=False)

    @property
    def sentence(self) -> str:
        """Whether it matters when people come, in words."""
        if not np.isfinite(self.p_value):
            return tr("Too few people converted to tell whether it matters when they come into a session")
        if self.p_value > 1 - self.level:
            return tr(
                "Whether people come early or late in a session, they convert alike: the differences are within what "
                "chance explains (p = {p:.2f})",
                p=self.p_value,
            )
        rates = self.table["rate"].dropna().sort_values(kind="stable")
        worst, best = rates.index[[0, -1]].astype(int)
        return tr(
            "Who comes {best} minutes into a session converts most ({most:.1%}), who comes {worst} minutes into it "
            "least ({least:.1%})",
            best=self._stretch(best),
            most=rates.iloc[-1],
            worst=self._stretch(worst),
            least=rates.iloc[0],
        )

    def _stretch(self, start: int) -> str:
        return tr("{start} to {end}", start=start, end=start + self.minutes)


def course(
    events: Table | pd.DataFrame,
    sessions: Table | pd.DataFrame,
    orders: Table | pd.DataFrame | None = None,
    *,
    steps: Sequence[str],
    period: tuple[dt.date, dt.date],
    minutes: int = 20,
    fewest: int = 50,
    level: float = 0.95,
) -> Course:
    """Follow the sessions that began in a period by the minutes since they began.

    A session has one script by the contract, so the clock starts with the session and not with a change of script. Who
    comes late is not who comes early: differences are associations.

    Parameters
    ----------
    events, sessions, orders : Table or pandas.DataFrame
        As for :func:`clvlib.funnel.rooms_data.rooms`; events need ``occurred_at``.
    steps : sequence of str
        The funnel; people come with their first event of the first step in a session.
    period : tuple of datetime.date
        First day, and the day after the last.
    minutes : int
        Length of a stretch of time.
    fewest : int
        Stretches with fewer viewers are left out at the end, where hardly a session is still on air.
    level : float
        Confidence level.

    Returns
    -------
    Course

    Raises
    ------
    ParameterError
        A stretch shorter than a minute, less than two steps, or a level that is no share.
    EmptyDataError
        Nobody came to a session of the period.
    """
    if minutes < 1 or len(steps) < 2 or not 0 < level < 1:
        raise ParameterError(f"course: a minute, two steps, a level in (0, 1) are needed: {minutes}, {steps}, {level}")
    tables = together(events=events, sessions=sessions, orders=orders)
    log = tables["events"].require("person_id", "session_id", "event", "occurred_at")
    held = tables["sessions"].require("session_id", "started_at")
    began = f"started_at >= {literal(period[0])} AND started_at < {literal(period[1])}"
    ended = "MAX(ended_at)" if "ended_at" in held.columns else "NULL"
    relation = (
        f"(SELECT session_id, MIN(started_at) AS started_at, {ended} AS ended_at FROM {held.relation} AS s"
        f" WHERE session_id IS NOT NULL AND {began} GROUP BY session_id)"
    )
    held = Table(held.engine, held.name, relation, ("session_id", "started_at", "ended_at"))
    table, count = _came(log, held, steps, minutes)
    enough = table.index[table["viewers"] >= fewest]
    if table.empty or enough.empty:
        last = period[1] - dt.timedelta(days=1)
        text = tr("hardly anybody came to a live session from {first} to {last}", first=period[0], last=last)
        raise EmptyDataError(text)
    table = table.loc[: enough.max()]
    table[["rate", "lower", "upper"]] = proportion_interval(table[steps[-1]], table["viewers"].clip(lower=1), level)
    table.loc[table["viewers"] == 0, ["rate", "lower", "upper"]] = np.nan
    table = table.join(_sold(tables.get("orders"), held, minutes, level).reindex(table.index))
    if "orders" in tables and "session_id" in tables["orders"].columns:
        table["gmv"] = table["gmv"].fillna(0.0)
    for name, column in _PER_MINUTE.items():
        table[name] = table[column] / table["on_air"].where(table["on_air"] > 0)
    won, lost = table[steps[-1]], table["viewers"] - table[steps[-1]]
    tested = len(table) > 1 and won.sum() > 0 and lost.sum() > 0
    kept = table["viewers"] > 0
    p_value = float(stats.chi2_contingency([won[kept], lost[kept]], correction=False).pvalue) if tested else np.nan
    return Course(
        table=table.drop(columns=["gmv_lower", "gmv_upper"]), minutes=minutes, sessions=count, step=steps[-1],
        p_value=p_value, level=level, first=steps[0],
    )  # fmt: skip


_PER_MINUTE = {"gmv_per_minute": "gmv", "gmv_per_minute_lower": "gmv_lower", "gmv_per_minute_upper": "gmv_upper"}


def _came(log: Table, held: Table, steps: Sequence[str], minutes: int) -> tuple[pd.DataFrame, int]:
    """People by the stretch in which they came, and time on air; and the number of sessions."""
    flags = ", ".join(
        f"MAX(CASE WHEN e.event = {literal(step)} THEN 1 ELSE 0 END) AS s{k}" for k, step in enumerate(steps)
    )
    sums = ", ".join(f"SUM({' * '.join(f's{j}' for j in range(k + 1))}) AS s{k}" for k in range(1, len(steps)))
    place = f"CAST(FLOOR(date_diff('second', started_at, came) / {60 * minutes}.0) AS INTEGER) * {minutes}"
    people = log.query(
        f"WITH v AS (SELECT e.session_id, e.person_id, {flags},"
        f" MIN(CASE WHEN e.event = {literal(steps[0])} THEN e.occurred_at END) AS came"
        f" FROM {{t}} AS e JOIN {{held}} AS h ON e.session_id = h.session_id WHERE e.event IN {literal(list(steps))}"
        " AND e.person_id IS NOT NULL GROUP BY e.session_id, e.person_id)"
        f" SELECT {place} AS minute, COUNT(*) AS viewers, {sums} FROM v JOIN {{held}} AS h USING (session_id)"
        " WHERE s0 = 1 AND came >= started_at GROUP BY 1 ORDER BY 1",
        held=held,
    ).set_index("minute")
    people = people.rename(columns={f"s{k}": step for k, step in enumerate(steps)}).astype(np.int64)
    if people.empty:
        return people, 0
    length = held.query("SELECT date_diff('second', started_at, ended_at) / 60.0 AS length FROM {t}")["length"]
    at = np.arange(0, people.index.max() + minutes, minutes)
    on_air = np.clip(length.fillna(at[-1] + minutes).to_numpy()[:, None] - at, 0, minutes).sum(axis=0)
    table = people.reindex(pd.Index(at, name="minute"), fill_value=0)
    table.insert(0, "on_air", on_air)
    return table, len(length)


def _sold(orders: Table | None, held: Table, minutes: int, level: float) -> pd.DataFrame:
    columns = ["gmv", "gmv_lower", "gmv_upper"]
    if orders is None or "session_id" not in orders.columns:
        return pd.DataFrame(columns=columns, dtype=float)
    orders.require("ordered_at", "amount")
    net = "net_amount" if "net_amount" in orders.columns else "amount"
    place = f"CAST(FLOOR(date_diff('second', h.started_at, o.ordered_at) / {60 * minutes}.0) AS INTEGER) * {minutes}"
    found = orders.query(
        f"SELECT {place} AS minute, SUM(CAST({net} AS DOUBLE)) AS gmv, SUM(CAST({net} AS DOUBLE) * {net}) AS squares,"
        f" CAST(MAX({net}) AS DOUBLE) AS largest FROM {{t}} AS o JOIN {{held}} AS h USING (session_id)"
        f" WHERE {net} > 0 AND o.ordered_at >= h.started_at GROUP BY 1 ORDER BY 1",
        held=held,
    ).set_index("minute")
    limits = [total_interval(a, b, c, level) for a, b, c in found[["gmv", "squares", "largest"]].to_numpy()]
    return found.assign(**dict(zip(columns[1:], np.reshape(limits, (-1, 2)).T, strict=True)))[columns]
