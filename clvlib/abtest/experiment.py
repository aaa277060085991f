"""An experiment from assignments and orders to a verdict, by way of one aggregate query."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from clvlib.abtest.comparing import Comparing
from clvlib.abtest.decision import Rule, decide
from clvlib.abtest.gate import check
from clvlib.abtest.looks import LOOKS
from clvlib.abtest.metric import Metric, Row
from clvlib.abtest.metrics import GUARDRAILS, METRICS
from clvlib.abtest.outcome import COLUMNS, ExperimentResult
from clvlib.abtest.query import fetch, fetch_people, fetch_shared, length, merged, span
from clvlib.data.connect import Shop
from clvlib.data.engine import Table
from clvlib.errors import DataError, EmptyDataError, ParameterError
from clvlib.words import mark, tr

__all__ = ["Experiment"]

_PAUSE = pd.Timedelta("14D")  # so long nobody is assigned where a test rests and goes on; longer, and it has ended


@dataclass(frozen=True)
class Experiment:
    """An A/B test of people, on what they order within a window after their assignment.

    Parameters
    ----------
    name : str
        Name of the experiment in the assignments.
    control : str
        The arm that the others are compared with.
    metric : str
        What decides. ``"conversion"``: the share of people who order; ``"revenue"``: the money net of refunds per
        person; ``"adjusted revenue"``: the latter less what the person's spending before the test explains (CUPED). The
        others are shown beside it.
    window : str
        How long after the assignment an order counts, such as ``"7D"`` or ``"48h"``. A person whose window is not over
        has neither converted nor been lost, and is kept apart.
    level : float
        Confidence level. With several arms ``1 - level`` is the chance of any false verdict (Holm).
    min_per_arm : int
        People with a window that is over that each arm needs before anything is decided.
    shares : mapping, optional
        Planned share or weight per arm; equal when left out.
    minimum_effect : float, optional
        Smallest difference worth having, in the metric's unit.
    power : float
        At which the smallest detectable effect is stated.
    looks : {"once", "weekly", "any"}
        ``"once"``: an ordinary test, decided when all windows are over, not before. ``"weekly"``: decided at the end of
        any ISO week with enough people, by Lan and DeMets's boundaries after O'Brien and Fleming for
        ``planned_per_arm``; what comes after these are complete is not used. ``"any"``: decided at any look, by an
        asymptotic confidence sequence (Waudby-Smith et al. 2021) tuned to ``planned_per_arm``, whose intervals are
        wider by about a half there.
    guardrails : mapping, optional
        Metrics that must not fall (or not rise, where lower is better), with the margin by which that is still borne,
        in the metric's unit. An arm is shipped only when the same test that gives the interval shows that the loss is
        smaller (non-inferiority). As all of them must hold, they need no correction for their number.
    planned_per_arm : int, optional
        People per arm that the test is planned for; ``min_per_arm`` when left out.
    history : str
        How long before the assignment a person's orders are compared, and serve to adjust.
    metrics : sequence of Metric
        What is measured: conversion, revenue and adjusted revenue when left out. Guardrails of
        :data:`clvlib.abtest.metrics.GUARDRAILS` are measured without being named here.
    permutations : int
        Number of ways to assign the clusters anew by which the p-values of those who were assigned by cluster are
        checked; 0 for no check. All ways are tried when there are no more than that.

    Notes
    -----
    Where the assignments name clusters (scripts are assigned by the broadcast), a cluster counts as one draw: errors
    come from the totals of clusters by the delta method, degrees of freedom from their number (Welch and
    Satterthwaite's, at most clusters less arms), and conversion is compared as a mean of zeros and ones.

    Raises
    ------
    ParameterError
        A parameter is out of range.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> ids = np.arange(4000).astype(str)
    >>> when = pd.Timestamp("2026-10-01")
    >>> arms = np.where(np.arange(4000) < 2000, "A", "B")
    >>> people = pd.DataFrame({"experiment": "script", "variant": arms, "unit_id": ids, "assigned_at": when})
    >>> buyers = np.r_[ids[:200], ids[2000:2264]]
    >>> orders = pd.DataFrame({"customer_id": buyers, "ordered_at": when + pd.Timedelta("1h"), "amount": 50.0})
    >>> result = Experiment("script").analyse(people, orders, as_of="2026-10-31")
    >>> result.verdict, result.arm
    ('ship', 'B')
    >>> result.primary[["difference", "lower", "upper"]].round(4).values.tolist()
    [[0.032, 0.0122, 0.0519]]
    """

    name: str
    control: str = "A"
    metric: str = "conversion"
    window: str = "7D"
    level: float = 0.95
    min_per_arm: int = 2000
    shares: Mapping[str, float] | None = None
    minimum_effect: float | None = None
    power: float = 0.8
    looks: str = "once"
    guardrails: Mapping[str, float] | None = None
    planned_per_arm: int | None = None
    history: str = "28D"
    metrics: Sequence[Metric] = tuple(METRICS.values())
    permutations: int = 0

    def __post_init__(self) -> None:
        self._check_metrics()
        if self.looks not in LOOKS:
            raise ParameterError(f"looks: {self.looks!r} is none of {', '.join(LOOKS)}")
        for what, value in (("level", self.level), ("power", self.power)):
            if not 0 < value < 1:
                raise ParameterError(f"{what}: a share between 0 and 1 is needed, such as 0.95; found {value}")
        if not (self.permutations == 0 or self.permutations >= 100):
            raise ParameterError(f"permutations: 0 or at least 100 are needed; found {self.permutations}")
        if not self.min_per_arm >= 1:
            raise ParameterError(f"min_per_arm: at least 1 is needed; found {self.min_per_arm}")
        if self.planned_per_arm is not None and not self.planned_per_arm >= self.min_per_arm:
            raise ParameterError(
                f"planned_per_arm: at least min_per_arm, {self.min_per_arm}, is needed; found {self.planned_per_arm}"
            )
        if self.minimum_effect is not None and not self.minimum_effect > 0:
            raise ParameterError(f"minimum_effect: a positive difference is needed; found {self.minimum_effect}")
        if self.shares is not None and not all(0 < share < float("inf") for share in self.shares.values()):
            raise ParameterError(f"shares: every planned share must be positive; found {dict(self.shares)}")
        span(self.window, "window")
        span(self.history, "history")
        self._check_guardrails()

    def _check_metrics(self) -> None:
        wanted = [name for name in self.guardrails or {} if name in GUARDRAILS and name not in self._metrics]
        object.__setattr__(self, "metrics", (*self.metrics, *(GUARDRAILS[name] for name in wanted)))
        if self.metric not in self._metrics:
            raise ParameterError(f"metric: {self.metric!r} is none of {', '.join(self._metrics)}")
        if self._metrics[self.metric].better != "higher":
            raise ParameterError(f"metric: {self.metric} is to fall, so it can be a guardrail; what decides is to rise")

    def _check_guardrails(self) -> None:
        for name, margin in (self.guardrails or {}).items():
            if name not in self._metrics or name == self.metric:
                raise ParameterError(
                    f"guardrails: {name!r} is the primary metric or none of {', '.join(self._metrics)}"
                )
            if not 0 < margin < (1 if self._metrics[name].unit == "share" else np.inf):
                raise ParameterError(
                    f"guardrails: the margin of {name} must be positive, a share below 1; found {margin}"
                )

    def analyse(
        self,
        assignments: Table | pd.DataFrame,
        orders: Table | pd.DataFrame,
        *,
        as_of: str | dt.date | None = None,
        complaints: Table | pd.DataFrame | None = None,
        segments: tuple[Table | pd.DataFrame, str] | None = None,
    ) -> ExperimentResult:
        """Fetch the aggregates of this experiment, check them and decide.

        Parameters
        ----------
        assignments : Table or pandas.DataFrame
            Columns ``experiment``, ``variant``, ``unit_id``, ``assigned_at``, and ``cluster_id`` if there is one.
        orders : Table or pandas.DataFrame
            Columns ``customer_id`` (the ``unit_id`` of assignments), ``ordered_at``, and ``net_amount`` or ``amount``.
        as_of : str or date, optional
            Until when the data are known: to the end of a date, up to a time. The last time in the data when left out.
        complaints : Table or pandas.DataFrame, optional
            Columns ``customer_id`` and ``opened_at``, for the metrics that need them.
        segments : pair of Table or pandas.DataFrame and str, optional
            A table of people, by ``customer_id``, and its column in whose every part the split is checked.

        Raises
        ------
        EmptyDataError
            Nobody was assigned to this experiment, or nobody's window is over.
        MissingTableError
            A metric needs complaints, and there are none.
        DataError
            There is but one arm, or an amount is missing or infinite.
        ParameterError
            The control, or an arm with a planned share, is not among the arms.
        """
        window, history = span(self.window, "window"), span(self.history, "history")
        cells = fetch(
            assignments, orders, self.metrics, name=self.name, window=window, history=history, as_of=as_of,
            complaints=complaints, segments=segments,
        )  # fmt: skip
        return self.judge(cells, fetch_shared(assignments, orders, name=self.name, as_of=as_of))

    def of(self, shop: Shop, as_of: str | dt.date | None = None, segment: str = "") -> ExperimentResult:
        """Analyse the experiment as a shop recorded it; see :meth:`analyse`.

        Parameters
        ----------
        shop : Shop
            Whose experiment it is.
        as_of : str or date, optional
            Until when the data are known.
        segment : str
            Column of the table of customers in whose every part the split is checked; empty: none.

        Raises
        ------
        MissingTableError
            The shop has no assignments, or no orders.
        """
        needed = any("complaints" in metric.needs for metric in self.metrics)
        complaints = shop.table("complaints") if needed else None
        parts = (shop.table("customers"), segment) if segment else None
        people, orders = shop.table("assignments"), shop.table("orders")
        return self.analyse(people, orders, as_of=as_of, complaints=complaints, segments=parts)

    def analyse_people(self, people: Table | pd.DataFrame, *, as_of: str | dt.date) -> ExperimentResult:
        """Analyse a table that has a row per person already, by metrics of its columns.

        Parameters
        ----------
        people : Table or pandas.DataFrame
            A row per person whose window is over: ``variant``, ``cluster_id`` if clusters were assigned, and the
            columns that the metrics name. Whether people are there twice is not checked.
        as_of : str or date
            When this look was taken.

        Raises
        ------
        DataError
            There is but one arm, or a metric is missing or infinite for somebody.
        ParameterError
            The control, or an arm with a planned share, is not among the arms.

        Examples
        --------
        >>> import pandas as pd
        >>> from clvlib.abtest.metrics import Adjusted, Mean, Ratio
        >>> people = pd.DataFrame({"variant": ["A", "B"] * 50, "spend": range(100), "orders": [1, 2, 3, 4] * 25})
        >>> metrics = (Mean("spend", "spend"), Ratio("basket", "spend", denominator="orders"))
        >>> experiment = Experiment("script", metric="spend", metrics=metrics, min_per_arm=50)
        >>> experiment.analyse_people(people, as_of="2026-11-01").effects("basket")["value"].round(2).tolist()
        [16.67]
        """
        return self.judge(fetch_people(people, self.metrics, as_of=as_of))

    def judge(self, cells: pd.DataFrame, shared: pd.DataFrame | None = None) -> ExperimentResult:
        """Decide from aggregates, wherever they came from.

        Parameters
        ----------
        cells : pandas.DataFrame
            A row per ``variant``, ``status`` (``mature``, ``open``, ``double``) and ``look``, and per ``cluster_id`` if
            there are clusters, as :func:`clvlib.abtest.query.fetch` returns them.
        shared : pandas.DataFrame, optional
            People who are in other experiments too, as :func:`clvlib.abtest.query.fetch_shared` returns them.

        Raises
        ------
        ClvError
            As :meth:`analyse`.
        """
        if "cluster_id" in cells:
            clustered = tuple(metric.clustered() for metric in self.metrics)
            if clustered != tuple(self.metrics):
                return replace(self, metrics=clustered).judge(cells, shared)
        elif self.permutations:
            raise ParameterError("permutations: clusters are permuted, and these assignments name none (cluster_id)")
        shares = self._arms(cells)
        bad = int(cells["bad_amounts"].sum()) if "bad_amounts" in cells else 0
        if bad:
            text = mark("orders: {n:,} amounts in this experiment are missing or infinite; mend or leave them out")
            raise DataError(tr(text, n=bad))
        weeks = self._weeks(cells[(cells["status"] == "mature") & (cells["people"] > 0)], list(shares))
        fractions, used = self._fractions(weeks, list(shares))
        assigned = cells[cells["status"] != "double"]
        gate = check(self._counted(cells, used), shares, self.min_per_arm, assigned, shared)
        arms = weeks[used] if weeks else {}
        if self.control not in arms or len(arms) < 2:
            raise EmptyDataError(self._too_early(arms, assigned))
        table = self._table(arms, fractions)
        if self.permutations:
            counted = cells[(cells["status"] == "mature") & (cells["look"] <= used)]
            prepared, draws = self._prepared(arms), self.permutations
            table["p_permutation"] = self._comparing.permuted(self.metrics, counted, prepared, table, draws)
        primary = table[(table["role"] == "primary") & (table["arm"] != self.control)].reset_index(drop=True)
        complete = self.looks == "weekly" and bool(fractions) and fractions[-1] >= 1
        guardrails = table[(table["role"] == "guardrail") & (table["arm"] != self.control)]
        rule = Rule(
            self.control,
            self._open_until(cells, complete=complete),
            any_time=self.looks != "once",
            minimum_effect=self.minimum_effect,
            power=self.power,
            enough_by=self._enough_by(assigned, list(shares), used),
            stopped=self._stopped(assigned),
            planned=self._comparing.fraction(_people(assigned), list(shares)) >= 1,
        )
        decision = decide(primary, guardrails, gate, rule)
        return ExperimentResult(
            table=table,
            gate=gate,
            looks=self._comparing.at_looks(self._metrics[self.metric], weeks, list(shares)),
            split=self._comparing.split(self.metrics, self._prepared(arms)),
            name=self.name,
            control=self.control,
            metric=self.metric,
            verdict=decision.verdict,
            arm=decision.arm,
            sentence=decision.sentence,
            power=self.power,
            started=pd.Timestamp(cells["first_assigned"].min()) if "first_assigned" in cells else None,
        )

    def _too_early(self, arms: Mapping[str, Row], assigned: pd.DataFrame) -> str:
        """Say why there is nothing to compare yet, and from when on there may be."""
        if arms:
            text = mark("experiment {name!r}: only {arms} has people whose {window} are over")
            return tr(text, name=self.name, arms=tr(", ").join(arms), window=length(self.window))
        people = int(assigned["people"].sum())
        if "first_assigned" not in assigned or not people:
            text = mark("experiment {name!r}: there is nobody whose {window} are over")
            return tr(text, name=self.name, window=length(self.window))
        begun = pd.Timestamp(assigned["first_assigned"].min())
        text = mark(
            "experiment {name!r} has begun, {people:,} people are assigned, and nobody's {window} are over; the first "
            "can be told from {day:%Y-%m-%d} on"
        )
        day = begun + span(self.window, "window")
        return tr(text, name=self.name, people=people, window=length(self.window), day=day)

    # --- from aggregates to a verdict --------------------------------------------------------------------------------

    def _arms(self, cells: pd.DataFrame) -> dict[str, float]:
        """Planned share per arm, the control first."""
        found = sorted(cells.loc[cells["status"] != "double", "variant"].astype(str).unique())
        if not found:
            text = mark("assignments: nobody was assigned to one arm of an experiment named {name!r}")
            raise EmptyDataError(tr(text, name=self.name))
        planned = dict(self.shares) if self.shares is not None else dict.fromkeys(found, 1.0)
        unplanned = sorted(set(found) - set(planned))
        if unplanned:
            raise ParameterError(
                f"shares: no share is planned for {', '.join(unplanned)}, which people were assigned to"
            )
        if self.control not in planned:
            raise ParameterError(f"control: {self.control!r} is none of the arms {', '.join(planned)}")
        if len(planned) < 2:
            text = mark("experiment {name!r} has one arm, {arm}: there is nothing to compare it with")
            raise DataError(tr(text, name=self.name, arm=self.control))
        return {self.control: planned[self.control], **planned}

    @property
    def _metrics(self) -> dict[str, Metric]:
        return {metric.name: metric for metric in self.metrics}

    @property
    def _comparing(self) -> Comparing:
        planned = self.min_per_arm if self.planned_per_arm is None else self.planned_per_arm
        return Comparing(self.control, self.level, self.power, self.looks, planned)

    def _weeks(self, mature: pd.DataFrame, arms: list[str]) -> dict[Any, dict[str, Row]]:
        """Each arm's aggregates at the end of every week so far; the last holds everybody whose window is over."""
        weeks: dict[Any, dict[str, Row]] = {}
        for look in sorted(mature["look"].dropna().unique()):
            rows = merged(mature[mature["look"] <= look], ["variant"], self.metrics)
            by_arm = {str(row["variant"]): {str(k): v for k, v in row.items()} for row in rows.to_dict("records")}
            weeks[pd.Timestamp(look)] = {arm: by_arm[arm] for arm in arms if arm in by_arm}
        return weeks

    def _fractions(self, weeks: Mapping[Any, Mapping[str, Row]], arms: Sequence[str]) -> tuple[list[float], Any]:
        """Share of the planned people at each look that brought more, and the look that counts.

        That is the last one; under a weekly plan it is the one at which the plan is complete.
        """
        fractions, used = [0.0], None
        for look, there in weeks.items():
            used, fraction = look, self._comparing.fraction(there, arms)
            if fraction > fractions[-1]:
                fractions.append(fraction)
            if fraction >= 1 and self.looks == "weekly":
                break
        return fractions[1:], used

    def _counted(self, cells: pd.DataFrame, used: Any) -> pd.DataFrame:
        """Aggregates by arm and status of those who count at the look that does."""
        counted = cells[(cells["status"] != "mature") | (cells["look"] <= used)] if used is not None else cells
        return merged(counted, ["variant", "status"], self.metrics)

    def _table(self, arms: Mapping[str, Row], fractions: Sequence[float]) -> pd.DataFrame:
        arms, metrics = self._prepared(arms), self._metrics
        rows: list[dict[str, Any]] = []
        guardrails = dict(self.guardrails or {})
        secondary = [m for name, m in metrics.items() if name != self.metric and name not in guardrails]
        rows += self._comparing.family(arms, mark("primary"), [metrics[self.metric]], fractions)
        for name, margin in guardrails.items():
            rows += self._comparing.guardrail(arms, metrics[name], margin, fractions)
        rows += self._comparing.family(arms, mark("secondary"), secondary, fractions)
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _prepared(self, arms: Mapping[str, Row]) -> Mapping[str, Row]:
        for metric in self.metrics:
            arms = metric.prepare(arms)
        return arms

    def _open_until(self, cells: pd.DataFrame, *, complete: bool) -> pd.Timestamp | None:
        waiting = cells[cells["status"] == "open"]
        if complete or waiting.empty:
            return None
        return pd.Timestamp(waiting["last_assigned"].max()) + span(self.window, "window")

    def _stopped(self, assigned: pd.DataFrame) -> pd.Timestamp | None:
        """When the last person was assigned, if nobody has been for two weeks and all windows are over."""
        if "until" not in assigned or assigned.empty:
            return None
        last, now = pd.Timestamp(assigned["last_assigned"].max()), pd.Timestamp(assigned["until"].max())
        return last if now - last > max(span(self.window, "window"), _PAUSE) else None

    def _enough_by(self, assigned: pd.DataFrame, arms: list[str], used: Any) -> pd.Timestamp | None:
        """When the smallest arm has the people asked for with their windows over, at the pace of the time so far.

        Time in which nobody came counts too, up to the look that counts: people who stopped coming are not awaited.
        """
        if "first_assigned" not in assigned or assigned.empty:
            return None
        begin, end = pd.Timestamp(assigned["first_assigned"].min()), pd.Timestamp(assigned["last_assigned"].max())
        people = int(assigned.groupby("variant")["people"].sum().reindex(arms, fill_value=0).min())
        if people == 0 or end <= begin:
            return None
        if people < self.min_per_arm:
            end = begin + (max(end, pd.Timestamp(used)) - begin) * (self.min_per_arm / people)
        return end + span(self.window, "window")


def _people(assigned: pd.DataFrame) -> dict[str, Row]:
    """Everybody who was assigned, by arm."""
    return {str(arm): {"people": n} for arm, n in assigned.groupby("variant")["people"].sum().items()}
