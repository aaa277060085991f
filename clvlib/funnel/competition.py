"""Whether our live sessions have fewer viewers or orders while competitors' promotions run (F10): an association.

Sessions are compared with sessions of the same platform, weekday, hour and week. How far chance goes is found by moving
the competitors' calendar against ours, platform by platform, by whole days: what promotions have in common, their
length and their rhythm, is kept, and only their coincidence with our good and bad evenings is broken.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.competitors import Coverage, our_sessions, promotions_of
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust
from clvlib.words import mark, tr

__all__ = ["Competition", "association", "competition"]

Array = NDArray[np.float64]
_MEASURES = {"viewers": mark("viewers"), "orders": mark("orders")}
_FEWEST = 4  # days between a calendar and its shifted copy, as promotions last up to so many
_FEWEST_SHIFTS = 20
_DRAWS = 300


@dataclass(frozen=True)
class Competition(Result):
    """Viewers and orders per live hour with and without competition.

    ``table`` has a row per ``measure``: ``sessions``, ``alone`` and ``under`` (per live hour, of sessions mostly free
    of and mostly under competition, as they are), ``change`` (relative, of a session wholly under competition, like for
    like) with ``lower`` and ``upper``, and ``p_value`` (Holm over the measures).

    Attributes
    ----------
    first, last : str
        First and last day.
    hours : float
        Our live hours.
    share : float
        Share of them under competition.
    level : float
        Of the intervals.
    """

    first: str
    last: str
    hours: float
    share: float
    level: float

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of the table."""
        rates = dict.fromkeys(("alone", "under"), ".1f")
        return rates | dict.fromkeys(("change", "lower", "upper"), "share") | {"p_value": "p_value"}

    @property
    def sentence(self) -> str:
        """What goes with competition, in words."""
        parts = [
            tr(
                "{change:+.0%} {measure} per live hour ({lower:+.0%} to {upper:+.0%})",
                measure=tr(_MEASURES[row["measure"]]),
                **{name: row[name] for name in ("change", "lower", "upper")},
            )
            for row in self.table.reset_index().to_dict("records")
            if np.isfinite(row["p_value"])
        ]
        if not parts:
            return tr("Whether competitors' promotions go with fewer viewers or orders cannot be told yet.")
        found = (self.table["p_value"] <= 1 - self.level).any()
        text = (
            mark("Under competition {parts}, like for like: more than chance explains, which does not prove a cause.")
            if found
            else mark("Under competition {parts}, like for like: no more than chance explains.")
        )
        return tr(text, parts=tr("; ").join(parts))


def competition(
    competitors: Table | pd.DataFrame,
    sessions: Table | pd.DataFrame,
    period: tuple[Any, Any],
    events: Table | pd.DataFrame | None = None,
    orders: Table | pd.DataFrame | None = None,
    *,
    open_days: float = 7,
    level: float = 0.95,
    seed: int = 0,
) -> Competition:
    """Compare our live sessions under competition with others of the same platform, weekday, hour and week.

    Parameters
    ----------
    competitors, sessions
        As for :func:`clvlib.funnel.competitors.competitors`.
    period : tuple
        First day, and the day after the last.
    events : Table or pandas.DataFrame, optional
        ``person_id``, ``occurred_at`` and ``session_id``: viewers are the people seen in a session after it began.
    orders : Table or pandas.DataFrame, optional
        ``ordered_at`` and ``session_id``.
    open_days : float
        A promotion without an end is taken to last so long.
    level : float
        Of the intervals.
    seed : int
        For the shifts of the calendar.

    Returns
    -------
    Competition

    Raises
    ------
    MissingColumnError
        A column is not there.
    EmptyDataError
        There is no session, no promotion, or neither events nor orders.
    ParameterError
        A parameter cannot be.
    """
    first, end = as_period(period)
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    tables = together(competitors=competitors, sessions=sessions, events=events, orders=orders)
    promotions, _ = promotions_of(tables["competitors"], first, end, open_days)
    ours, _ = our_sessions(tables["sessions"], first, end)
    counts = {
        "viewers": _counted(tables.get("events"), "occurred_at", "COUNT(DISTINCT person_id)", first, end),
        "orders": _counted(tables.get("orders"), "ordered_at", "COUNT(*)", first, end),
    }
    known = {name: found for name, found in counts.items() if found is not None}
    if promotions.empty or not known:
        raise EmptyDataError(
            tr(
                "from {first} to {last} there is no promotion of a competitor, or nothing is known of our sessions",
                first=first,
                last=end - dt.timedelta(days=1),
            )
        )
    exposure = _exposure(ours, promotions, (end - first).days, seed)
    rows = []
    for name, found in known.items():
        y = ours["session_id"].map(found).fillna(0).to_numpy(float)
        rows.append({"measure": name, "sessions": len(ours)} | association(y, ours, exposure, level))
    table = pd.DataFrame(rows).set_index("measure")
    some = table["p_value"].notna()
    table.loc[some, "p_value"] = adjust(table.loc[some, "p_value"]).to_numpy()
    hours = float(ours["hours"].sum())
    return Competition(
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        hours=hours,
        share=float((exposure[0] * ours["hours"]).sum() / hours),
        level=level,
        table=table,
    )


def association(y: Array, ours: pd.DataFrame, exposure: tuple[Array, Array], level: float = 0.95) -> dict[str, float]:
    """Relative change of a count per live hour in sessions wholly under competition, like for like.

    Parameters
    ----------
    y : ndarray
        The count of each session.
    ours : pandas.DataFrame
        As :func:`~clvlib.funnel.competitors.our_sessions` returns them.
    exposure : tuple of ndarray
        Share of each session under competition; and the same for shifted calendars, a column each.
    level : float
        Of the interval.

    Returns
    -------
    dict of str to float
        ``alone`` and ``under`` (as they are), ``change``, ``lower``, ``upper``, ``p_value``; NaN where sessions are
        too few, or competition is always or never there.

    Notes
    -----
    A log-linear (Poisson) model with the hours as offset and effects of platform, weekday, hour and week. The error of
    the coefficient is the spread of the same coefficient, one step from zero, over shifted calendars (toroidal shifts,
    as Lotwick & Silverman 1982 test two point patterns), so that neither overdispersion nor evenings in a row that are
    alike mislead it.
    """
    share, shifted = exposure
    hours = ours["hours"].to_numpy(float)
    high = share > 0.5
    row = {"alone": _per_hour(y, hours, ~high), "under": _per_hour(y, hours, high)}
    row |= dict.fromkeys(("change", "lower", "upper", "p_value"), np.nan)
    design = _design(ours)
    if not y.sum() or len(y) < design.shape[1] + 10 or np.ptp(share) == 0:
        return row
    mean = _fit(y, hours, design)
    root = np.sqrt(mean)
    basis = np.linalg.qr(design * root[:, None])[0]
    weighted = np.column_stack([share, shifted]) * root[:, None]
    left = (weighted**2).sum(axis=0) - ((basis.T @ weighted) ** 2).sum(axis=0)  # of each calendar, like for like
    some = left[1:] > 1e-9
    if left[0] < 1e-9 or some.sum() < _FEWEST_SHIFTS:
        return row
    scores = (((y - mean) / root) @ weighted[:, 1:])[some]
    error = float(np.sqrt((scores**2 / left[1:][some]).mean() / left[0]))
    design = np.column_stack([design, share])
    fitted = np.log(_fit(y, hours, design) / hours)
    effect = float(np.linalg.lstsq(design, fitted, rcond=None)[0][-1])
    z = float(stats.norm.isf((1 - level) / 2))
    row |= {"change": np.expm1(effect), "lower": np.expm1(effect - z * error), "upper": np.expm1(effect + z * error)}
    return row | {"p_value": float(2 * stats.norm.sf(abs(effect) / error))}


def _per_hour(y: Array, hours: Array, which: NDArray[np.bool_]) -> float:
    return float(y[which].sum() / hours[which].sum()) if which.any() else float("nan")


def _counted(table: Table | None, time: str, what: str, first: dt.date, end: dt.date) -> dict[Any, float] | None:
    if table is None or "session_id" not in table.columns:
        return None
    table.require(time)
    bought = "AND is_purchase" if "is_purchase" in table.columns else ""
    rows = table.query(
        f"SELECT session_id, {what} AS n FROM {{t}} AS t WHERE session_id IS NOT NULL AND {time} >= {literal(first)} "
        f"AND {time} < {literal(end)} {bought} GROUP BY 1"
    )
    return dict(zip(rows["session_id"], rows["n"].astype(float), strict=True)) if len(rows) else None


def _exposure(ours: pd.DataFrame, promotions: pd.DataFrame, days: int, seed: int = 0) -> tuple[Array, Array]:
    """Share of each session under competition, and the same for calendars shifted by whole days, a column each."""
    rng = np.random.default_rng(seed)
    span = 24.0 * days
    draws = min(_DRAWS, max(40, int(4e7 / max(len(ours), 1))))
    possible = np.arange(_FEWEST, days - _FEWEST + 1)
    common = rng.choice(possible, draws) if len(possible) else np.zeros(0, dtype=int)
    together_ = (promotions["platform"] == "").any()  # one that meets all platforms moves on all of them at once
    begin, end = ours["begin"].to_numpy(float), ours["end"].to_numpy(float)
    share, shifted = np.zeros(len(ours)), np.zeros((len(ours), len(common)))
    for platform in sorted(ours["platform"].unique()):
        rows = (ours["platform"] == platform).to_numpy()
        theirs = promotions[promotions["platform"].isin([platform, ""])]
        inside = Coverage(theirs["begin"].clip(lower=0), theirs["end"].clip(upper=span))
        whole = float(inside.until(span))

        def covered(at: Array, inside: Coverage = inside, whole: float = whole) -> Array:
            turns = np.floor(at / span)
            return turns * whole + inside.until(at - turns * span)

        length = (end - begin)[rows]
        share[rows] = Coverage(theirs["begin"], theirs["end"]).between(begin[rows], end[rows]) / length
        if not len(common):
            continue
        moves = 24.0 * (common if together_ else rng.choice(possible, draws))
        shifted[rows] = (covered(end[rows, None] - moves) - covered(begin[rows, None] - moves)) / length[:, None]
    return share, shifted


def _design(ours: pd.DataFrame) -> Array:
    """Indicators of platform, weekday, three hours of the day and week, without those that the others imply."""
    start = ours["started_at"]
    keys = {
        "platform": ours["platform"],
        "weekday": start.dt.day_of_week,
        "hour": start.dt.hour // 3,
        "week": (ours["begin"] // 168).astype(int),
    }
    columns = [np.ones(len(ours))]
    for values in keys.values():
        codes, names = pd.factorize(values, sort=True)
        columns += [(codes == k).astype(float) for k in range(1, len(names))]
    full = np.column_stack(columns)
    triangle = np.abs(np.diag(np.linalg.qr(full)[1])) if len(full) >= full.shape[1] else np.ones(full.shape[1])
    return np.asarray(full[:, triangle > 1e-9], dtype=float)


def _fit(y: Array, hours: Array, design: Array) -> Array:
    """Means of a Poisson model with log link and the hours as offset, by Newton's steps."""
    mean = np.maximum(y, 0.5)
    before = np.inf
    for _ in range(50):
        weighted = design * mean[:, None]
        inner = weighted.T @ design
        inner[np.diag_indices_from(inner)] += 1e-9 * np.trace(inner) / len(inner)
        beta = np.linalg.solve(inner, weighted.T @ (np.log(mean / hours) + (y - mean) / mean))
        mean = np.asarray(np.exp(np.clip(design @ beta, -30, 30)) * hours, dtype=float)
        value = float((y * np.log(mean) - mean).sum())
        if abs(value - before) < 1e-9 * abs(value):
            break
        before = value
    return mean
