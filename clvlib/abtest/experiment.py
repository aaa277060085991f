"""An experiment from assignments and orders to a verdict, by way of one aggregate query."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clvlib.abtest.decision import Decision, Rule, decide, finding
from clvlib.abtest.gate import check
from clvlib.abtest.metrics import METRICS, Metric, Row
from clvlib.data.connect import Shop
from clvlib.data.engine import DuckDBEngine, Table, as_table, identifier, literal
from clvlib.errors import DataError, EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.effect import Effect
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.stats.sequential import anytime_alpha, anytime_p_value

__all__ = ["Experiment", "ExperimentResult"]

LOOKS = ("once", "any")
COLUMNS = (
    *("metric", "role", "unit", "arm", "n", "total", "value", "value_lower", "value_upper"),
    *("control_n", "difference", "lower", "upper", "level", "p_value", "p_adjusted"),
    *("relative", "relative_lower", "relative_upper", "detectable", "verdict"),
)


@dataclass(frozen=True)
class ExperimentResult(Result):
    """What an experiment showed and what to do about it.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per metric and arm: ``metric``, ``role`` (primary or secondary), ``unit``, ``arm``, ``n`` (people whose
        window is over), ``total``, ``value`` per person with ``value_lower``, ``value_upper``; then against the
        control, and blank in its own row: ``control_n``, ``difference``, ``lower``, ``upper``, ``level``, ``p_value``,
        ``p_adjusted``, ``relative`` (a share of the control's value), ``relative_lower``, ``relative_upper``,
        ``detectable`` (smallest difference found at the power asked for), ``verdict`` (better, worse, not
        told apart; control).
    gate : pandas.DataFrame
        A row per check of validity: ``check``, ``status``, ``found``, ``rule``.
    name, control, metric : str
        The experiment, its control arm, its primary metric.
    verdict : str
        ``ship``, ``do not ship``, ``keep running`` or ``invalid``.
    arm : str
        The arm to ship, if any.
    sentence : str
        The verdict and its reason, for the report.
    power : float
        At which the smallest detectable difference is stated.
    """

    gate: pd.DataFrame = field(repr=False)
    name: str
    control: str
    metric: str
    verdict: str
    arm: str
    sentence: str
    power: float

    @property
    def primary(self) -> pd.DataFrame:
        """The treatment arms' rows of the primary metric."""
        return self.effects(self.metric)

    @property
    def best(self) -> pd.Series:
        """The row of the arm that does best by the primary metric, shipped or not."""
        return self.primary.iloc[int(self.primary["difference"].to_numpy().argmax())]

    def rows(self, metric: str = "") -> pd.DataFrame:
        """Return every arm's row of ``metric``, the primary one when left out.

        Raises
        ------
        ParameterError
            The experiment has no such metric.
        """
        name = metric or self.metric
        rows = self.table[self.table["metric"] == name]
        if rows.empty:
            raise ParameterError(f"metric: {name!r} is none of {', '.join(self.table['metric'].unique())}")
        return rows.reset_index(drop=True)

    def effects(self, metric: str = "") -> pd.DataFrame:
        """Return the treatment arms' rows of ``metric``, the primary one when left out."""
        rows = self.rows(metric)
        return rows[rows["arm"] != self.control].reset_index(drop=True)

    def decision(self, metric: str = "") -> pd.DataFrame:
        """Return the columns of :meth:`rows` that a reader needs to follow the decision."""
        columns = ["arm", "n", "total", "value", "value_lower", "value_upper"]
        return self.rows(metric)[[*columns, "difference", "lower", "upper", "p_adjusted", "verdict"]]

    def formats(self, metric: str = "") -> dict[str, str]:
        """Return the unit of each column of :meth:`decision`, as the report names units."""
        share = self.rows(metric)["unit"].iloc[0] == "share"
        total, value, change = ("count", "share", "points") if share else ("money",) * 3
        units = {"n": "count", "total": total, "p_adjusted": ".2g"}
        units |= dict.fromkeys(("value", "value_lower", "value_upper"), value)
        return units | dict.fromkeys(("difference", "lower", "upper"), change)

    def finding(self, metric: str = "") -> str:
        """Say in words what ``metric`` showed in each treatment arm, with interval and p-value."""
        found = [finding(row, self.control) for _, row in self.effects(metric).iterrows()]
        return "; ".join(found) + "."


@dataclass(frozen=True)
class Experiment:
    """An A/B test of people, on what they order within a window after their assignment.

    Parameters
    ----------
    name : str
        Name of the experiment in the assignments.
    control : str
        The arm that the others are compared with.
    metric : {"conversion", "revenue"}
        What decides: the share of people who order, or the money net of refunds per person. The other is shown beside
        it.
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
    looks : {"once", "any"}
        ``"once"``: an ordinary test, decided when all windows are over, not before. ``"any"``: the primary metric has
        an asymptotic confidence sequence (Waudby-Smith et al. 2021), tuned to ``min_per_arm`` in each arm, and may be
        decided at any look; its intervals are wider, by about a half there.

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

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ParameterError(f"metric: {self.metric!r} is none of {', '.join(METRICS)}")
        if self.looks not in LOOKS:
            raise ParameterError(f"looks: {self.looks!r} is none of {', '.join(LOOKS)}")
        for what, value in (("level", self.level), ("power", self.power)):
            if not 0 < value < 1:
                raise ParameterError(f"{what}: a share between 0 and 1 is needed, such as 0.95; found {value}")
        if not self.min_per_arm >= 1:
            raise ParameterError(f"min_per_arm: at least 1 is needed; found {self.min_per_arm}")
        if self.minimum_effect is not None and not self.minimum_effect > 0:
            raise ParameterError(f"minimum_effect: a positive difference is needed; found {self.minimum_effect}")
        if self.shares is not None and not all(0 < share < float("inf") for share in self.shares.values()):
            raise ParameterError(f"shares: every planned share must be positive; found {dict(self.shares)}")
        self._span()

    def analyse(
        self,
        assignments: Table | pd.DataFrame,
        orders: Table | pd.DataFrame,
        *,
        as_of: str | dt.date | None = None,
    ) -> ExperimentResult:
        """Fetch the aggregates of this experiment in one query, check them and decide.

        Parameters
        ----------
        assignments : Table or pandas.DataFrame
            Columns ``experiment``, ``variant``, ``unit_id``, ``assigned_at``, and ``cluster_id`` if there is one.
        orders : Table or pandas.DataFrame
            Columns ``customer_id`` (the ``unit_id`` of assignments), ``ordered_at``, and ``net_amount`` or ``amount``.
        as_of : str or date, optional
            Until when the data are known: to the end of a date, up to a time. The last time in the data when left out.

        Raises
        ------
        EmptyDataError
            Nobody was assigned to this experiment, or nobody's window is over.
        DataError
            There is but one arm, or an amount is missing or infinite.
        ParameterError
            The control, or an arm with a planned share, is not among the arms.
        """
        people, purchases = _together(assignments, orders)
        cells = people.query(self._sql(people, purchases, _end(as_of)), orders=purchases)
        return self.judge(cells)

    def of(self, shop: Shop, as_of: str | dt.date | None = None) -> ExperimentResult:
        """Analyse the experiment as a shop recorded it; see :meth:`analyse`.

        Raises
        ------
        MissingTableError
            The shop has no assignments, or no orders.
        """
        return self.analyse(shop.table("assignments"), shop.table("orders"), as_of=as_of)

    def judge(self, cells: pd.DataFrame) -> ExperimentResult:
        """Decide from aggregates, wherever they came from.

        Parameters
        ----------
        cells : pandas.DataFrame
            A row per ``variant`` and ``status`` (``mature``, ``open``, ``double``) with ``people``, ``extra_rows``,
            ``bought_before``, ``clusters``, ``bad_amounts``, ``last_assigned``, and the aggregates of all metrics.

        Raises
        ------
        ClvError
            As :meth:`analyse`.
        """
        shares = self._arms(cells)
        bad = int(cells["bad_amounts"].sum())
        if bad:
            raise DataError(
                f"orders: {bad:,} amounts in this experiment are missing or infinite; mend or leave them out"
            )
        mature = cells[cells["status"] == "mature"].set_index("variant")
        mature = mature[mature["people"] > 0]
        gate = check(cells, shares, self.min_per_arm)
        present = [arm for arm in shares if arm in mature.index]
        if self.control not in present or len(present) < 2:
            there = ", ".join(present) or "no arm"
            raise EmptyDataError(f"experiment {self.name!r}: only {there} has people whose {self.window} are over")
        rows = {
            str(row["variant"]): {str(k): v for k, v in row.items()} for row in mature.reset_index().to_dict("records")
        }
        table = self._table({arm: rows[arm] for arm in present})
        primary = table[(table["role"] == "primary") & (table["arm"] != self.control)].reset_index(drop=True)
        decision = self._decision(primary, gate, cells)
        return ExperimentResult(
            table=table,
            gate=gate,
            name=self.name,
            control=self.control,
            metric=self.metric,
            verdict=decision.verdict,
            arm=decision.arm,
            sentence=decision.sentence,
            power=self.power,
        )

    # --- the question to the engine ----------------------------------------------------------------------------------

    def _span(self) -> int:
        try:
            seconds = pd.Timedelta(self.window).total_seconds()
        except ValueError as error:
            raise ParameterError(f"window: {self.window!r} is no span such as '7D' or '48h'") from error
        if not seconds >= 1:
            raise ParameterError(f"window: a span of at least a second is needed; found {self.window!r}")
        return round(seconds)

    def _sql(self, assignments: Table, orders: Table, end: str) -> str:
        money = "net_amount" if "net_amount" in orders.columns else "amount"
        cluster = "MIN(CAST(cluster_id AS VARCHAR))" if "cluster_id" in assignments.columns else "NULL"
        name = literal(self.name).replace("{", "{{").replace("}", "}}")
        window = f"INTERVAL {self._span()} SECOND"
        metrics = ", ".join(
            f"{sql} AS {identifier(key)}" for m in METRICS.values() for key, sql in m.aggregates().items()
        )
        # SQL goes from rows to people to arms. What a metric may use of a person is in the last but one step. A number
        # is finite where it less itself is zero, which every engine agrees upon.
        return f"""
WITH known AS (SELECT {end} AS until),
people AS (
  SELECT CAST(unit_id AS VARCHAR) AS unit_id, MIN(CAST(variant AS VARCHAR)) AS variant,
         COUNT(DISTINCT variant) AS variants, COUNT(*) AS seen, MIN(CAST(assigned_at AS TIMESTAMP)) AS assigned_at,
         {cluster} AS cluster_id
  FROM {{t}} AS _a, known
  WHERE experiment = {name} AND unit_id IS NOT NULL AND variant IS NOT NULL
    AND CAST(assigned_at AS TIMESTAMP) < known.until
  GROUP BY CAST(unit_id AS VARCHAR)
),
purchases AS (
  SELECT CAST(o.customer_id AS VARCHAR) AS unit_id, CAST(o.ordered_at AS TIMESTAMP) AS ordered_at,
         CAST(o.{money} AS DOUBLE) AS amount
  FROM {{orders}} AS o, known WHERE CAST(o.ordered_at AS TIMESTAMP) < known.until
),
outcomes AS (
  SELECT p.unit_id, p.variant, p.cluster_id, p.seen, p.assigned_at,
         CASE WHEN p.variants > 1 THEN 'double' WHEN p.assigned_at + {window} <= known.until THEN 'mature'
              ELSE 'open' END AS status,
         COUNT(CASE WHEN o.ordered_at >= p.assigned_at THEN 1 END) AS orders,
         COALESCE(SUM(CASE WHEN o.ordered_at >= p.assigned_at THEN o.amount END), 0) AS revenue,
         COUNT(CASE WHEN o.ordered_at < p.assigned_at THEN 1 END) AS orders_before,
         SUM(CASE WHEN o.ordered_at >= p.assigned_at AND o.amount - o.amount = 0 THEN 0
                  WHEN o.ordered_at >= p.assigned_at THEN 1 ELSE 0 END) AS bad_amounts
  FROM people AS p CROSS JOIN known LEFT JOIN purchases AS o
    ON o.unit_id = p.unit_id AND o.ordered_at >= p.assigned_at - {window} AND o.ordered_at < p.assigned_at + {window}
  GROUP BY p.unit_id, p.variant, p.cluster_id, p.seen, p.assigned_at, p.variants, known.until
)
SELECT variant, status, COUNT(*) AS people, SUM(seen - 1) AS extra_rows,
       SUM(CASE WHEN orders_before > 0 THEN 1 ELSE 0 END) AS bought_before,
       COUNT(DISTINCT cluster_id) AS clusters, SUM(bad_amounts) AS bad_amounts, MAX(assigned_at) AS last_assigned,
       {metrics}
FROM outcomes GROUP BY variant, status ORDER BY variant, status"""

    # --- from aggregates to a verdict --------------------------------------------------------------------------------

    def _arms(self, cells: pd.DataFrame) -> dict[str, float]:
        """Planned share per arm, the control first."""
        found = sorted(cells.loc[cells["status"] != "double", "variant"].astype(str).unique())
        if not found:
            raise EmptyDataError(f"assignments: nobody was assigned to one arm of an experiment named {self.name!r}")
        planned = dict(self.shares) if self.shares is not None else dict.fromkeys(found, 1.0)
        unplanned = sorted(set(found) - set(planned))
        if unplanned:
            raise ParameterError(
                f"shares: no share is planned for {', '.join(unplanned)}, which people were assigned to"
            )
        if self.control not in planned:
            raise ParameterError(f"control: {self.control!r} is none of the arms {', '.join(planned)}")
        if len(planned) < 2:
            raise DataError(
                f"experiment {self.name!r} has one arm, {self.control}: there is nothing to compare it with"
            )
        return {self.control: planned[self.control], **planned}

    def _table(self, arms: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
        rows: list[dict[str, Any]] = []
        secondary = [name for name in METRICS if name != self.metric]
        for role, names in (("primary", [self.metric]), ("secondary", secondary)):
            rows += self._family(arms, role, [METRICS[name] for name in names])
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _family(self, arms: Mapping[str, Mapping[str, Any]], role: str, metrics: list[Metric]) -> list[dict[str, Any]]:
        """Rows of metrics that are corrected together: Holm for what decides, Benjamini and Hochberg for the rest."""
        method = "holm" if role == "primary" else "benjamini-hochberg"
        control, alpha = arms[self.control], 1 - self.level
        pairs = [(m, arm) for m in metrics for arm in arms if arm != self.control]
        looks = [self._look(arms[arm], control, any_time=role == "primary" and self.looks == "any") for _, arm in pairs]
        first = [m.difference(arms[arm], control, self.level) for m, arm in pairs]
        p_values = [look.p_value(effect.p_value) for look, effect in zip(looks, first, strict=True)]
        adjusted, levels = adjust(p_values, method), agreeing_alpha(p_values, alpha, method)
        judged = {}
        for (m, arm), effect, look, p, q, a in zip(pairs, first, looks, p_values, adjusted, levels, strict=True):
            row = self._comparison(m, (arms[arm], control), effect, 1 - look.alpha(float(a)))
            judged[m.name, arm] = row | {"level": 1 - float(a), "p_value": p, "p_adjusted": float(q)}
        return [
            self._value(m, row, role, arm) | judged.get((m.name, arm), {"verdict": "control"})
            for m in metrics
            for arm, row in arms.items()
        ]

    def _look(self, treatment: Row, control: Row, *, any_time: bool) -> _Look:
        """Return the rule by which this look's p-values and levels are read."""
        n = float(treatment["people"]) + float(control["people"])
        return _Look(n, 2.0 * self.min_per_arm, 1 - self.level, any_time)

    def _value(self, metric: Metric, row: Row, role: str, arm: str) -> dict[str, Any]:
        value = metric.arm(row, self.level)
        named = {"metric": metric.name, "role": role, "unit": metric.unit, "arm": arm, "n": value.n}
        limits = {"value_lower": value.lower, "value_upper": value.upper}
        return named | {"total": value.total, "value": value.value} | limits

    def _comparison(self, metric: Metric, pair: tuple[Row, Row], effect: Effect, level: float) -> dict[str, Any]:
        """Treatment against control at an ordinary test's ``level``; ``effect`` is what they showed at our own."""
        if level != effect.level and np.isfinite(effect.lower):
            effect = metric.difference(*pair, level)
        relative = metric.ratio(*pair, effect.level)
        treatment, control = pair
        verdict = "not told apart"
        if effect.significant:
            verdict = "better" if effect.estimate > 0 else "worse"
        return {
            "difference": effect.estimate,
            "lower": effect.lower,
            "upper": effect.upper,
            "relative": relative.estimate - 1,
            "relative_lower": relative.lower - 1,
            "relative_upper": relative.upper - 1,
            "detectable": metric.detectable(treatment, control, self.power, 1 - effect.level),
            "control_n": int(control["people"]),
            "verdict": verdict,
        }

    def _decision(self, primary: pd.DataFrame, gate: pd.DataFrame, cells: pd.DataFrame) -> Decision:
        waiting = cells[cells["status"] == "open"]
        until = None
        if len(waiting):
            until = pd.Timestamp(waiting["last_assigned"].max()) + pd.Timedelta(seconds=self._span())
        rule = Rule(self.control, until, self.looks == "any", self.minimum_effect, self.power)
        return decide(primary, gate, rule)


@dataclass(frozen=True)
class _Look:
    """How one look translates between an ordinary test and one that may be looked at any time."""

    n: float
    tuned_to: float
    tuned_alpha: float
    any_time: bool

    def p_value(self, p: float) -> float:
        return anytime_p_value(p, self.n, self.tuned_to, self.tuned_alpha) if self.any_time else p

    def alpha(self, alpha: float) -> float:
        return anytime_alpha(alpha, self.n, self.tuned_to, self.tuned_alpha) if self.any_time else alpha


def _end(as_of: str | dt.date | None) -> str:
    """SQL of the first moment that is no longer known: after a date's end, at a time, or after the last one seen."""
    if as_of is None:
        return (
            "(SELECT MAX(moment) + INTERVAL 1 MICROSECOND FROM (SELECT MAX(CAST(ordered_at AS TIMESTAMP)) AS moment "
            "FROM {orders} AS _o UNION ALL SELECT MAX(CAST(assigned_at AS TIMESTAMP)) FROM {t} AS _a) AS _m)"
        )
    try:
        at = pd.Timestamp(as_of)
    except ValueError as error:
        raise ParameterError(f"as_of: {as_of!r} is no date or time") from error
    whole_day = not isinstance(as_of, dt.datetime) and at == at.normalize()
    return literal(at + pd.Timedelta("1D") if whole_day else at)


def _together(assignments: Table | pd.DataFrame, orders: Table | pd.DataFrame) -> tuple[Table, Table]:
    """Both as tables of one engine, since they are joined there."""
    first = as_table(assignments, "assignments", "experiment", "variant", "unit_id", "assigned_at")
    second = as_table(orders, "orders", "customer_id", "ordered_at")
    if isinstance(assignments, pd.DataFrame) and isinstance(orders, pd.DataFrame):
        engine = DuckDBEngine()
        engine.connection.register("assignments", assignments)
        engine.connection.register("orders", orders)
        first = Table(engine, first.name, "assignments", first.columns)
        second = Table(engine, second.name, "orders", second.columns)
    if first.engine is not second.engine:
        raise ParameterError(
            "assignments and orders are joined where they lie: pass both from one shop, or both as frames"
        )
    return first, second if "net_amount" in second.columns else second.require("amount")
