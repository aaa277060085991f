"""Scorecard of live sessions and hosts (F8): what they brought, and how they compare like for like, luck taken off."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import Table
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.funnel.rooms_compare import MONEY, compare, room_cells, stratum_of
from clvlib.funnel.rooms_data import Rooms, rooms
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust
from clvlib.stats.survival import kaplan_meier, survival_at
from clvlib.stats.totals import total_interval
from clvlib.words import mark, tr

__all__ = ["Scorecard", "scorecard"]

_NAMES: Final = {
    "conversion": mark("{first} to {last}"),
    "step_rate": mark("{before} to {step}"),
    MONEY: mark("GMV per viewer"),
    "refund_rate": mark("refund rate"),
}
_MINUTES = (5, 15, 30)
_RECENT = 4  # weeks whose sessions an alert names


@dataclass(frozen=True)
class Scorecard(Result):
    """Hosts and sessions side by side.

    ``table`` has a row per host, those that sold most first: ``sessions``, ``viewers`` (one person in one session),
    ``stay_5``, ``stay_15``, ``stay_30`` (share still in the room after so many minutes, with limits; Kaplan and Meier,
    where those cut short by the session's end count as censored), ``gmv`` net of refunds, ``target``, ``attainment``
    (of the sessions with a target) with limits, ``new_customers``, and of each measure the figure as it is
    (``conversion_raw``) and like for like and shrunken (``conversion``, ``conversion_lower``, ``conversion_upper``,
    ``conversion_rank`` with limits). What the tables do not tell is missing.

    Attributes
    ----------
    measures : pandas.DataFrame
        Index ``measure`` (``conversion``, ``step_rate``, ``gmv_per_viewer``, ``refund_rate``) and ``host_id``; columns
        as :func:`clvlib.funnel.rooms_compare.compare` returns them, with ``p_value`` adjusted over all hosts and shares
        (Holm).
    week : pandas.DataFrame
        A row per session of the last week, the furthest below what was to be expected first: ``session_id``,
        ``host_id``, ``platform``, ``started_at``, ``viewers``, ``conversion``, ``raw`` ratio to what was expected,
        ``ratio`` (shrunken) with ``lower`` and ``upper``, ``gmv``, ``target``, ``attainment``, ``new_customers``,
        ``z`` and ``p_value`` (Holm over the sessions).
    recent : pandas.DataFrame
        Sessions of the last four weeks with ``host_id`` and ``started_at``: ``missing`` conversions and ``excess``
        refunds against what was expected.
    names : dict of str to str
        What the measures are called.
    spread : float
        Standard deviation of the hosts' true conversions, by their mean; missing where they cannot be compared.
    first, last : str
        First and last day.
    level : float
        Of the intervals.
    hostless : int
        Sessions without a host, which are in no row of the hosts.
    """

    measures: pd.DataFrame = field(repr=False)
    week: pd.DataFrame = field(repr=False)
    recent: pd.DataFrame = field(repr=False)
    names: dict[str, str] = field(repr=False)
    spread: float
    first: str
    last: str
    level: float
    hostless: int

    @property
    def found(self) -> pd.DataFrame:
        """The figures of hosts that are surely worse than those of the others, the clearest first."""
        worse = np.where(self.measures.index.get_level_values("measure") == "refund_rate", 1, -1)
        sure = self.measures["p_value"].le(1 - self.level) & (np.sign(self.measures["z"]) == worse)
        return pd.DataFrame(self.measures[sure].sort_values("p_value", kind="stable"))

    def of(self, measure: str) -> pd.DataFrame:
        """Return one measure, a row per host, the best first.

        Raises
        ------
        EmptyDataError
            The hosts cannot be compared in it.
        """
        if measure not in self.measures.index.get_level_values("measure"):
            text = tr("The hosts cannot be compared: there is one, or nothing that two of them have in common.")
            raise EmptyDataError(text)
        return pd.DataFrame(self.measures.xs(measure, level="measure")).sort_values("rank", kind="stable")

    @property
    def sentence(self) -> str:
        """Who converts best, and how sure that is, in words."""
        try:
            ranked = self.of("conversion")
        except EmptyDataError as error:
            return str(error)
        best, worst = ranked.iloc[0], ranked.iloc[-1]
        return tr(
            "Like for like {best} converts best ({best_rate:.1%} of viewers; the best of {n} with a probability of "
            "{probability:.0%}), {worst} least ({worst_rate:.1%}; place {low:.0f} to {high:.0f}).",
            best=ranked.index[0],
            best_rate=best["value"],
            n=len(ranked),
            probability=best["probability_best"],
            worst=ranked.index[-1],
            worst_rate=worst["value"],
            low=worst["rank_lower"],
            high=worst["rank_upper"],
        )

    @property
    def shown(self) -> pd.DataFrame:
        """The columns of ``table`` that fit a page, ``place`` being the interval of the rank in conversion.

        Raises
        ------
        EmptyDataError
            No session has a host.
        """
        if self.table.empty:
            raise EmptyDataError(tr("no live session has a host"))
        place = [
            "" if pd.isna(low) else tr("{low:.0f} to {high:.0f}", low=low, high=high)
            for low, high in self.table[["conversion_rank_lower", "conversion_rank_upper"]].to_numpy(dtype=float)
        ]
        shown = self.table.assign(place=place)
        columns = ["viewers", "stay_15", "conversion_raw", "conversion", "conversion_lower"]
        columns += ["conversion_upper", "place", "gmv", "attainment", "new_customers", "refund_rate"]
        return shown[columns].dropna(axis=1, how="all")

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        shares = ["stay_15", "attainment", "refund_rate", *(f"conversion{e}" for e in ("", "_raw", "_lower", "_upper"))]
        return {c: "money" if c == "gmv" else "share" for c in self.shown.columns if c in {*shares, "gmv"}}

    @property
    def sessions_shown(self) -> pd.DataFrame:
        """The columns of ``week`` that fit a page."""
        columns = ["session_id", "host_id", "platform", "started_at", "viewers", "conversion", "ratio", "lower"]
        columns += ["upper", "gmv", "attainment", "new_customers"]
        return self.week[columns].dropna(axis=1, how="all")

    @property
    def sessions_formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`sessions_shown`."""
        forms = {"conversion": "share", "gmv": "money", "attainment": "share", "new_customers": "count"}
        forms |= dict.fromkeys(["ratio", "lower", "upper"], ".2f")
        return {name: form for name, form in forms.items() if name in self.sessions_shown}

    def alerts(self) -> list[dict[str, Any]]:
        """Return what to raise, for ``chapter.alert``: hosts and sessions that are surely worse than the others."""
        raised = []
        for host, rows in self.found.groupby(level="host_id", sort=False):
            parts = [self._worse(str(key[0]), row) for key, row in rows.iterrows()]  # type: ignore[index]
            kind = "excess" if set(rows.index.get_level_values("measure")) == {"refund_rate"} else "missing"
            own = self.recent[(self.recent["host_id"] == host) & (self.recent[kind] > 0)].nlargest(3, kind)
            if len(own):
                days = own["started_at"].dt.strftime("%m-%d")
                names = tr(", ").join(own["session_id"].astype(str) + " (" + days + ")")
                parts.append(tr("sessions to look at: {sessions}", sessions=names))
            rule = tr("host surely behind the others")
            raised.append({"rule": rule, "text": tr("; ").join(parts), "segment": str(host)})
        for row in self.week[self.week["p_value"].le(1 - self.level) & self.week["z"].lt(0)].to_dict("records"):
            text = tr(
                "{host} converted {rate:.1%} of {n:,.0f} viewers, {ratio:.2f} times what other sessions did in the "
                "same week on the same platform in the same categories",
                host=row["host_id"] or tr("unknown"),
                rate=row["conversion"],
                n=row["viewers"],
                ratio=row["raw"],
            )
            rule = tr("session surely behind the others")
            raised.append({"rule": rule, "text": text, "segment": str(row["session_id"])})
        return raised

    def _worse(self, measure: str, row: pd.Series) -> str:
        return tr(
            "{measure} is {here:.1%} like for like ({lower:.1%} to {upper:.1%}), in the whole shop {all:.1%}",
            measure=self.names[measure],
            here=row["value"],
            lower=row["value_lower"],
            upper=row["value_upper"],
            all=row["overall"],
        )


def scorecard(
    events: Table | pd.DataFrame,
    sessions: Table | pd.DataFrame,
    week: Week,
    orders: Table | pd.DataFrame | None = None,
    *,
    steps: Sequence[str],
    step: str = "",
    weeks: int = 26,
    level: float = 0.95,
) -> Scorecard:
    """Compare hosts over the last weeks, and the sessions of the last one.

    Hosts have other platforms, other products and other weeks. So what a host brought is held against what was to be
    expected of the same platforms, categories and weeks at an average host, and this ratio is drawn towards the
    others' as far as luck may explain it (see :mod:`clvlib.stats.shrinkage`). What else a host is given, such as an
    hour or a script, is not taken off.

    Parameters
    ----------
    events, sessions, orders : Table or pandas.DataFrame
        As for :func:`clvlib.funnel.rooms_data.rooms`; sessions with ``host_id``, or there are no hosts.
    week : Week
        The last week.
    steps : sequence of str
        The funnel.
    step : str
        The step whose rate is compared too; any but the first and the last.
    weeks : int
        How many weeks hosts are compared over.
    level : float
        Confidence level.

    Returns
    -------
    Scorecard

    Raises
    ------
    ParameterError
        The funnel has less than two steps, the level is no share, or there is less than one week.
    MissingColumnError, EmptyDataError
        As for :func:`~clvlib.funnel.rooms_data.rooms`.

    Warns
    -----
    ThinDataWarning
        A measure cannot be compared between hosts.
    """
    if len(steps) < 2 or not 0 < level < 1 or weeks < 1:
        raise ParameterError(f"scorecard: two steps, a level in (0, 1), a week are needed: {steps}, {level}, {weeks}")
    period = (week.shift(1 - weeks).start, week.end)
    found = rooms(events, sessions, orders, steps=steps, period=period)
    cells = room_cells(found, step)
    measures, spread = _measures(cells[cells["host_id"] != ""], level)
    before = steps[max(steps.index(step) - 1, 0)] if step in steps else ""
    words = {"first": tr(steps[0]), "last": tr(steps[-1]), "before": tr(before), "step": tr(step)}
    since = {name: pd.Timestamp(day) for name, day in (("week", week.start), ("recent", week.shift(1 - _RECENT).start))}
    sold = _sold(found)
    return Scorecard(
        table=_table(found, sold, measures, level),
        measures=measures,
        week=_week(sold[sold["started_at"] >= since["week"]], cells, level),
        recent=_recent(sold[sold["started_at"] >= since["recent"]], cells),
        names={name: tr(text, **words) for name, text in _NAMES.items()},
        spread=spread,
        first=str(period[0]),
        last=str(week.as_of),
        level=level,
        hostless=int(sold["host_id"].eq("").sum()),
    )


def _measures(cells: pd.DataFrame, level: float) -> tuple[pd.DataFrame, float]:
    """All measures of all hosts, with p-values adjusted over them; and the spread of the conversions."""
    made = {name: compare(cells, "host_id", name, level) for name in _NAMES if f"{name}_n" in cells}
    for name, (table, _) in made.items():
        if table.empty and len(cells):
            text = tr("{measure}: hosts cannot be compared", measure=tr(name.replace("_", " ")))
            warnings.warn(text, ThinDataWarning, stacklevel=3)
    kept = {name: table for name, (table, _) in made.items() if len(table)}
    if not kept:
        none = pd.MultiIndex.from_arrays([[], []], names=["measure", "host_id"])
        return pd.DataFrame(index=none, columns=["z", "p_value"], dtype=float), float("nan")
    table = pd.concat(kept, names=["measure", "host_id"])
    tested = table["p_value"].notna()
    table.loc[tested, "p_value"] = adjust(table.loc[tested, "p_value"]).to_numpy()
    return table, made["conversion"][1] if "conversion" in kept else float("nan")


def _sold(found: Rooms) -> pd.DataFrame:
    """A row per session: who it was, its viewers and conversions, what it sold against its target."""
    sums = found.visits.groupby("session_id")[["viewers", found.steps[-1]]].sum()
    names = ["orders", "gmv", "squares", "new_customers"]
    money = found.orders.groupby("session_id").agg(dict.fromkeys(names, "sum") | {"largest": "max"})
    table = found.sessions.reindex(columns=["session_id", "host_id", "platform", "started_at", "target_gmv"])
    table = table.join(sums.rename(columns={found.steps[-1]: "converted"}), on="session_id").join(
        money, on="session_id"
    )
    counted = ["viewers", "converted", *([*names, "largest"] if len(found.orders) else [])]
    table[counted] = table[counted].fillna(0).astype(float)
    target = table["target_gmv"].astype(float).where(lambda t: t > 0)
    return table.assign(
        host_id=table["host_id"].astype(object).fillna("").astype(str), target=target, attainment=table["gmv"] / target
    )


def _table(found: Rooms, sold: pd.DataFrame, measures: pd.DataFrame, level: float) -> pd.DataFrame:
    known = sold[sold["host_id"] != ""]
    groups = known.groupby("host_id")
    table = groups[["viewers"]].sum().astype(np.int64).assign(sessions=groups.size())
    table = table[["sessions", "viewers"]].join(_stay(found, level))
    table["gmv"] = groups["gmv"].sum(min_count=1)
    table["target"] = groups["target"].sum(min_count=1)
    aimed = known[known["target"].notna() & known["gmv"].notna()].groupby("host_id")
    rows = {}
    for host, own in aimed:
        limits = total_interval(own["gmv"].sum(), own["squares"].sum(), own["largest"].max(), level)
        rows[host] = [figure / own["target"].sum() for figure in (own["gmv"].sum(), *limits)]
    names = ["attainment", "attainment_lower", "attainment_upper"]
    table = table.join(pd.DataFrame.from_dict(rows, orient="index", columns=names))
    table["new_customers"] = groups["new_customers"].sum(min_count=1).astype("Int64")
    for name in _NAMES:
        own = pd.DataFrame(measures[measures.index.get_level_values("measure") == name]).droplevel("measure")
        own = own.reindex(table.index, columns=["observed", "n", *_SHOWN]).astype(float)
        table[f"{name}_raw"] = own["observed"] / own["n"]
        table = table.join(own[list(_SHOWN)].rename(columns={c: f"{name}{end}" for c, end in _SHOWN.items()}))
    return table.sort_values(["gmv", "viewers"], ascending=False, kind="stable")


_SHOWN = {
    "value": "",
    "value_lower": "_lower",
    "value_upper": "_upper",
    "rank": "_rank",
    "rank_lower": "_rank_lower",
    "rank_upper": "_rank_upper",
}


def _stay(found: Rooms, level: float) -> pd.DataFrame:
    """Share still in the room after some minutes, by host."""
    names = [f"stay_{m}{end}" for m in _MINUTES for end in ("", "_lower", "_upper")]
    rows = {}
    for host, own in found.stays[found.stays["host_id"] != ""].groupby("host_id"):
        curve = kaplan_meier(own["seconds"], own["observed"], own["visits"], level)
        at = survival_at(curve, [60.0 * m for m in _MINUTES])
        figures = at[["survival", "lower", "upper"]].mask(at["beyond"])
        rows[host] = figures.to_numpy().ravel()
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


def _week(sold: pd.DataFrame, cells: pd.DataFrame, level: float) -> pd.DataFrame:
    """The week's sessions, compared with one another."""
    found, _ = compare(cells[cells["session_id"].isin(sold["session_id"])], "session_id", "conversion", level)
    figures = found.reindex(columns=["raw", "ratio", "lower", "upper", "z", "p_value"], index=sold["session_id"])
    figures = figures.astype(float)
    tested = figures["p_value"].notna()
    figures.loc[tested, "p_value"] = adjust(figures.loc[tested, "p_value"]).to_numpy()
    rate = sold["converted"] / sold["viewers"].where(sold["viewers"] > 0)
    table = sold.assign(conversion=rate).join(figures, on="session_id")
    columns = ["session_id", "host_id", "platform", "started_at", "viewers", "conversion", "raw", "ratio", "lower"]
    columns += ["upper", "gmv", "target", "attainment", "new_customers", "z", "p_value"]
    return table[columns].sort_values("ratio", kind="stable", ignore_index=True)


def _recent(sold: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """What the last sessions brought less, and had returned more, than others in the same strata."""
    table = sold[["session_id", "host_id", "started_at"]].set_index("session_id")
    for name, measure, sign in (("missing", "conversion", -1), ("excess", "refund_rate", 1)):
        table[name] = 0.0
        if f"{measure}_n" in cells:
            sums = cells.groupby(stratum_of(measure))[[f"{measure}_y", f"{measure}_n"]].transform("sum")
            rate = sums[f"{measure}_y"] / sums[f"{measure}_n"].clip(lower=1)
            apart = sign * (cells[f"{measure}_y"] - rate * cells[f"{measure}_n"])
            table[name] = apart.groupby(cells["session_id"]).sum().reindex(table.index).fillna(0.0)
    return table.reset_index()
