"""Complaints against what was promised (F9): answered and solved in time, and which ones to escalate now.

A complaint that is still open is censored: one that is younger than the promise has neither kept nor broken it. So the
share in time is that of the Kaplan-Meier curve at the promise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.survival import kaplan_meier, share_by, survival_quantile
from clvlib.words import mark, tr, trn

__all__ = ["ACROSS", "LEVELS", "ServiceLevels", "service_levels"]

ACROSS: Mapping[str, Sequence[str]] = {"topic": ("delivery", "quality")}
"""Which complaints need several teams: by column of the contract (``topic``, ``severity``), the values that do."""

LEVELS = {"answered": mark("answered"), "solved": mark("solved"), "across": mark("solved across teams")}
_NEEDS = {"answered": "first_response_at", "solved": "resolved_at", "across": "resolved_at"}
_PASS, _FAIL, _UNDECIDED, _ALL, _UNKNOWN = mark("pass"), mark("fail"), mark("undecided"), mark("all"), mark("unknown")
_URGENCY = {"critical": 0, "urgent": 0, "紧急": 0, "high": 1, "高": 1, "medium": 2, "中": 2, "low": 3, "低": 3}
_LISTED = ("customer_id", "complaint_id", "topic", "severity", "opened_at", "hours_open", "answered")
_TOLD = {
    "pass": mark("{what} within {minutes:g} minutes: {share:.1%} ({lower:.1%} to {upper:.1%}), as agreed"),
    "fail": mark(
        "{what} within {minutes:g} minutes: {share:.1%} ({lower:.1%} to {upper:.1%}), below the {target:.0%} agreed"
    ),
    "undecided": mark(
        "{what} within {minutes:g} minutes: {share:.1%} ({lower:.1%} to {upper:.1%}), undecided against {target:.0%}"
    ),
}


@dataclass(frozen=True)
class ServiceLevels(Result):
    """How the complaints of a period were handled.

    ``table`` has a row per ``promise`` (``answered``; ``solved``, of complaints of one team; ``across``, of those that
    need several), ``dimension`` (all, topic, severity) and ``segment``: ``complaints``, ``open`` (not done at the end),
    ``median`` in minutes (infinite where not half are done), ``minutes`` promised, ``share`` in time with ``lower`` and
    ``upper`` (Kaplan-Meier, Wilson at the effective number), and ``verdict``: ``pass`` where the whole interval is at
    or above the target, ``fail`` where all of it is below, else ``undecided``. The segments of a dimension are judged
    together (Bonferroni).

    Attributes
    ----------
    first, last : str
        First and last day on which the complaints were opened.
    complaints : int
        Of the period, with times that can be.
    impossible : int
        Of the period, answered or solved before they were opened, or solved before they were answered: in no figure.
    never, never_lower, never_upper : float
        Share that was not answered within ``never_hours``, with its interval.
    never_hours : float
        As given.
    target : float
        The share that should be in time.
    to_escalate : pandas.DataFrame
        Complaints open for longer than allowed, of all times, the period's first, then the most severe and the oldest:
        ``customer_id``, ``complaint_id``, ``topic``, ``severity``, ``opened_at``, ``hours_open``, ``answered``.
    escalate_hours : float
        How long is allowed.
    older : int
        How many of ``to_escalate`` were opened before the period.
    level : float
        Of intervals and verdicts.
    """

    first: str
    last: str
    complaints: int
    impossible: int
    never: float
    never_lower: float
    never_upper: float
    never_hours: float
    target: float
    to_escalate: pd.DataFrame = field(repr=False)
    escalate_hours: float
    older: int
    level: float

    @property
    def totals(self) -> pd.DataFrame:
        """The promises as a whole, by their name, and what they are called."""
        rows = self.table[self.table["dimension"] == _ALL].set_index("promise")
        names = [
            tr("Complaints {what} within {minutes:g} minutes", what=tr(LEVELS[str(name)]), minutes=minutes)
            for name, minutes in rows["minutes"].items()
        ]
        return rows.assign(label=names)

    @property
    def listed(self) -> pd.DataFrame:
        """The complaints to escalate whose customer is known."""
        return self.to_escalate[self.to_escalate["customer_id"].notna()].reset_index(drop=True)

    @property
    def shown(self) -> pd.DataFrame:
        """The table as a notebook shows it: the promises as a whole, then the segments, those that fail first."""
        keys = pd.DataFrame(
            {
                "part": self.table["dimension"] != _ALL,
                "verdict": self.table["verdict"].map({_FAIL: 0, _UNDECIDED: 1, _PASS: 2}).fillna(3),
                "promise": self.table["promise"].map({name: k for k, name in enumerate(LEVELS)}),
                "share": self.table["share"],
            }
        )
        keys.loc[~keys["part"], "verdict"] = 0
        order = keys.sort_values(["part", "verdict", "promise", "share"], kind="stable").index
        named = self.table.assign(promise=self.table["promise"].map(LEVELS))
        return pd.DataFrame(named.loc[order]).reset_index(drop=True)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        return dict.fromkeys(("share", "lower", "upper"), "share") | {"median": ".0f", "minutes": ".0f"}

    @property
    def sentence(self) -> str:
        """The verdicts, in words."""
        said = [
            tr(
                _TOLD[row["verdict"]],
                what=tr(LEVELS[row["promise"]]),
                target=self.target,
                **{name: row[name] for name in ("minutes", "share", "lower", "upper")},
            )
            for row in self.totals.reset_index().to_dict("records")
            if row["verdict"] in _TOLD
        ]
        if not said:
            return tr("No complaint is old enough to judge a promise.")
        told = tr("{parts}.", parts=tr("; ").join(said))
        return told[0].upper() + told[1:]

    @property
    def claim(self) -> str:
        """Which promises are kept, in one line."""
        failed = [tr(LEVELS[str(name)]) for name, row in self.totals.iterrows() if row["verdict"] == _FAIL]
        if failed:
            return tr("Complaints less often in time than agreed: {what}", what=tr(", ").join(failed))
        if (self.totals["verdict"] == _PASS).all():
            return tr("Complaints are answered and solved in time as agreed")
        return tr("No promise to those who complain is clearly broken")

    @property
    def open_sentence(self) -> str:
        """What is open, never answered or cannot be, in words."""
        parts = [
            trn(
                "{n:,} complaint has been open for more than {hours:g} hours",
                "{n:,} complaints have been open for more than {hours:g} hours",
                len(self.to_escalate),
                hours=self.escalate_hours,
            )
        ]
        if self.older:
            parts.append(tr("{older:,} of them from before {first}", older=self.older, first=self.first))
        nameless = len(self.to_escalate) - len(self.listed)
        if nameless:
            parts.append(tr("{n:,} of them without a customer, which are in no list", n=nameless))
        if np.isfinite(self.never):
            parts.append(
                tr(
                    "of those opened since {first}, {share:.1%} are not answered within {hours:g} hours ({lower:.1%} "
                    "to {upper:.1%})",
                    first=self.first,
                    share=self.never,
                    hours=self.never_hours,
                    lower=self.never_lower,
                    upper=self.never_upper,
                )
            )
        if self.impossible:
            parts.append(tr("{n:,} with times in an order that cannot be are left out", n=self.impossible))
        return tr("{parts}.", parts=tr("; ").join(parts))

    def alerts(self, listed: str = "") -> list[dict[str, Any]]:
        """What to act on: keyword arguments of an alert for what is to escalate, and one for promises not kept.

        Parameters
        ----------
        listed : str
            Name of the list of complaints to escalate.
        """
        found = []
        new = self.to_escalate.iloc[: len(self.to_escalate) - self.older]
        if len(new):
            topics = new["topic"].value_counts()
            top = str(min(topics[topics == topics.max()].index))
            found.append(
                {
                    "rule": tr("complaints open for more than {hours:g} hours", hours=self.escalate_hours),
                    "text": tr(
                        "{n:,} opened since {first} are to escalate, {most:,} of them about {topic}; the list is "
                        "{listed}",
                        n=len(new),
                        first=self.first,
                        most=int(topics.max()),
                        topic=tr(top),
                        listed=listed or "to_escalate",
                    ),
                    "segment": tr(top),
                    "severity": "high",
                }
            )
        failing = self.totals[self.totals["verdict"] == _FAIL]
        if len(failing):
            parts = [
                tr(
                    "{what} within {minutes:g} minutes: {share:.1%} ({lower:.1%} to {upper:.1%})",
                    what=tr(LEVELS[row["promise"]]),
                    **{k: row[k] for k in ("minutes", "share", "lower", "upper")},
                )
                for row in failing.reset_index().to_dict("records")
            ]
            text = tr("{target:.0%} agreed; {parts}", target=self.target, parts=tr(", ").join(parts))
            found.append(
                {"rule": tr("complaints not handled in time"), "text": text, "segment": "", "severity": "medium"}
            )
        return [{**alert, "metric": "complaints"} for alert in found]


def service_levels(
    complaints: Table | pd.DataFrame,
    period: tuple[Any, Any],
    *,
    answer_minutes: float = 15,
    solve_minutes: float = 30,
    across_minutes: float = 120,
    across: Mapping[str, Sequence[str]] = ACROSS,
    escalate_hours: float = 3,
    never_hours: float = 24,
    target: float = 0.8,
    level: float = 0.95,
) -> ServiceLevels:
    """Judge how complaints are handled against what was agreed.

    Parameters
    ----------
    complaints : Table or pandas.DataFrame
        ``complaint_id``, ``opened_at``; what there is of ``first_response_at``, ``resolved_at``, ``topic``,
        ``severity`` and ``customer_id``. One that was solved without an answer counts as answered when it was solved.
    period : tuple
        When they were opened: first day, and the day after the last, up to which things are known.
    answer_minutes, solve_minutes, across_minutes : float
        Promises, from the opening: the first answer; the solution; the solution where several teams are needed.
    across : mapping
        Which complaints need several teams, by column: one that has any of the values. The contract has no column for
        it, so it is the shop's to say.
    escalate_hours : float
        Open for longer, a complaint is to be escalated.
    never_hours : float
        Not answered for so long, it counts as never answered.
    target : float
        The share that should be in time.
    level : float
        Of intervals and verdicts.

    Returns
    -------
    ServiceLevels

    Raises
    ------
    MissingColumnError
        Neither answers nor solutions are recorded.
    EmptyDataError
        No complaint was opened in the period.
    ParameterError
        A promise, the target or the level cannot be; ``across`` names another column.

    Examples
    --------
    >>> day = pd.Timestamp("2026-11-10")
    >>> log = pd.DataFrame({"complaint_id": list("abcd"), "opened_at": day, "customer_id": list("wxyz"),
    ...                     "first_response_at": [day + pd.Timedelta(minutes=m) for m in (5, 10, 20)] + [pd.NaT],
    ...                     "resolved_at": pd.NaT})
    >>> found = service_levels(log, ("2026-11-09", "2026-11-16"))
    >>> float(found.totals.loc["answered", "share"]), len(found.to_escalate)
    (0.5, 4)
    """
    first, end = as_period(period)
    promises = {"answered": answer_minutes, "solved": solve_minutes, "across": across_minutes}
    _check(promises | {"escalate": escalate_hours, "never": never_hours}, across, target, level)
    table = as_table(complaints, "complaints", "complaint_id", "opened_at")
    rows, impossible = _rows(table, first, end, across)
    if rows.empty:
        raise EmptyDataError(
            tr("no complaint was opened from {first} to {last}", first=first, last=end - dt.timedelta(days=1))
        )
    recorded = [name for name, column in _NEEDS.items() if column in table.columns]
    parts = []
    for name in recorded:
        event = "answered" if name == "answered" else "solved"
        own = rows if name == "answered" else rows[rows["across"] == (name == "across")]
        parts += _judged(own, name, event, promises[name], target, level) if len(own) else []
    never = dict.fromkeys(("estimate", "lower", "upper"), np.nan)
    if "answered" in recorded:
        never = share_by(kaplan_meier(rows["answered_minutes"], rows["answered"]), 60 * never_hours, level)
    late = _to_escalate(table, first, end, escalate_hours)
    return ServiceLevels(
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        complaints=len(rows),
        impossible=impossible,
        never=1 - never["estimate"],
        never_lower=1 - never["upper"],
        never_upper=1 - never["lower"],
        never_hours=never_hours,
        target=target,
        to_escalate=late.drop(columns="old"),
        escalate_hours=escalate_hours,
        older=int(late["old"].sum()),
        level=level,
        table=pd.DataFrame(parts),
    )


def _check(hours: Mapping[str, float], across: Mapping[str, Sequence[str]], target: float, level: float) -> None:
    for name, value in hours.items():
        if not (value > 0 and np.isfinite(value)):
            raise ParameterError(f"{name}: {value} is no length of time above zero")
    for name, share in {"target": target, "level": level}.items():
        if not 0 < share < 1:
            raise ParameterError(f"{name} is a share between 0 and 1, such as 0.8; found {share}")
    wrong = [name for name in across if name not in {"topic", "severity"}]
    if wrong:
        raise ParameterError(
            f"across: {', '.join(wrong)} is no column that says who works on a complaint; topic, severity"
        )


def _columns(table: Table) -> str:
    """SQL of what is known of each complaint; times from ``{now}`` on are not known yet."""
    text = [
        f"CAST({name} AS VARCHAR) AS {name}" if name in table.columns else f"CAST(NULL AS VARCHAR) AS {name}"
        for name in ("customer_id", "topic", "severity")
    ]
    times = [
        f"CASE WHEN {name} < {{now}} THEN {name} END AS {name}"
        if name in table.columns
        else f"CAST(NULL AS TIMESTAMP) AS {name}"
        for name in ("first_response_at", "resolved_at")
    ]
    return ", ".join(["complaint_id", "opened_at", *text, *times])


def _read(table: Table, condition: str, end: dt.date) -> pd.DataFrame:
    """Return complaints, and whether their times can be."""
    now = f"CAST({literal(end)} AS TIMESTAMP)"
    rows = table.query(
        f"SELECT {_columns(table).format(now=now)} FROM {{t}} AS t WHERE {condition.format(now=now)} "
        "ORDER BY opened_at, complaint_id"
    )
    opened, answered, solved = (rows[name] for name in ("opened_at", "first_response_at", "resolved_at"))
    rows["impossible"] = (answered < opened) | (solved < opened) | (solved < answered)
    return rows.assign(**{name: rows[name].fillna(_UNKNOWN) for name in ("topic", "severity")})


def _rows(table: Table, first: dt.date, end: dt.date, across: Mapping[str, Sequence[str]]) -> tuple[pd.DataFrame, int]:
    """Return the complaints of the period with how long each was watched for an answer and a solution."""
    if not {"first_response_at", "resolved_at"} & {*table.columns}:
        table.require("first_response_at")
    every = _read(table, f"opened_at >= {literal(first)} AND opened_at < {{now}}", end)
    rows = every[~every["impossible"]].reset_index(drop=True)
    rows["across"] = np.zeros(len(rows), dtype=bool)
    for name, values in across.items():
        rows["across"] |= rows[name].isin(list(values))
    now = pd.Timestamp(end)
    for name, at in (
        ("answered", rows["first_response_at"].fillna(rows["resolved_at"])),
        ("solved", rows["resolved_at"]),
    ):
        rows[name] = at.notna()
        rows[f"{name}_minutes"] = (at.fillna(now) - rows["opened_at"]).dt.total_seconds() / 60
    return rows, int(every["impossible"].sum())


def _judged(
    own: pd.DataFrame, promise: str, event: str, minutes: float, target: float, level: float
) -> list[dict[str, Any]]:
    """All complaints under a promise, and each topic and severity among them."""
    groups = [(_ALL, _ALL, own, level)]
    for name in ("topic", "severity"):
        parts = list(own.groupby(name, sort=True))
        if len(parts) > 1:
            groups += [(name, str(value), part, 1 - (1 - level) / len(parts)) for value, part in parts]
    rows = []
    for dimension, segment, part, confidence in groups:
        curve = kaplan_meier(part[f"{event}_minutes"], part[event], level=confidence)
        read = share_by(curve, minutes, confidence)
        verdict = _PASS if read["lower"] >= target else _FAIL if read["upper"] < target else _UNDECIDED
        rows.append(
            {
                "promise": promise,
                "dimension": dimension,
                "segment": segment,
                "complaints": len(part),
                "open": int((~part[event]).sum()),
                "median": survival_quantile(curve)[0],
                "minutes": minutes,
                "share": read["estimate"],
                "lower": read["lower"],
                "upper": read["upper"],
                "verdict": verdict if np.isfinite(read["estimate"]) else "",
            }
        )
    return rows


def _to_escalate(table: Table, first: dt.date, end: dt.date, hours: float) -> pd.DataFrame:
    """Return what has been open for too long, the period's first, then the most severe and the oldest."""
    if "resolved_at" not in table.columns:
        return pd.DataFrame(columns=[*_LISTED, "old"])
    longer = f"opened_at <= {{now}} - INTERVAL '{round(hours * 3600)}' SECOND"
    rows = _read(table, f"(resolved_at IS NULL OR resolved_at >= {{now}}) AND {longer}", end)
    rows = rows[~rows["impossible"]]
    rows = rows.assign(
        hours_open=(pd.Timestamp(end) - rows["opened_at"]).dt.total_seconds() / 3600,
        answered=rows["first_response_at"].notna(),
        old=rows["opened_at"] < pd.Timestamp(first),
        urgency=rows["severity"].str.lower().map(_URGENCY).fillna(4),
    )
    rows = rows.sort_values(["old", "urgency", "opened_at", "complaint_id"], kind="stable", ignore_index=True)
    return rows[[*_LISTED, "old"]]
