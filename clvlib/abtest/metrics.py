"""Metrics of an experiment: each declares the aggregates that it needs and compares arms by these alone.

A metric never sees a person. It names SQL aggregates over one row per person (columns ``orders``, ``revenue``), which
are fetched for all metrics in one query, and reads them back from one row per arm.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from clvlib.errors import ThinDataWarning
from clvlib.stats.effect import Effect
from clvlib.stats.means import Moments, difference_error, mean_difference, mean_interval, mean_ratio
from clvlib.stats.proportions import proportion_difference, proportion_interval, proportion_ratio
from clvlib.stats.sampling import detectable_difference, detectable_mean_difference
from clvlib.words import mark, tr

__all__ = [
    "GUARDRAILS",
    "METRICS",
    "Adjusted",
    "Arm",
    "ClusteredProportion",
    "Clusters",
    "Mean",
    "Metric",
    "Proportion",
    "Ratio",
    "Winsorised",
    "covariance",
]

Row = Mapping[str, Any]
Columns = Mapping[str, NDArray[np.float64]]  # of several groups that do not overlap; `cluster` where groups are of one
NAN = float("nan")


@dataclass(frozen=True)
class Arm:
    """One arm's value of one metric.

    Attributes
    ----------
    n : int
        People.
    total : float
        Sum of the metric over them: conversions, revenue.
    value : float
        Per person.
    lower, upper : float
        Confidence limits of ``value``; missing where nothing varies.
    error : float
        Standard error of ``value``.
    """

    n: int
    total: float
    value: float
    lower: float
    upper: float
    error: float


class Metric(Protocol):
    """What an experiment asks of a metric."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def unit(self) -> str:
        """Share, money or number."""
        ...

    @property
    def better(self) -> str:
        """Which way is good, higher or lower."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Tables, or columns written ``table.column``, without which it cannot be measured."""
        ...

    @property
    def family(self) -> str:
        """Distribution of an arm's value for those who have a prior: beta (of counts) or normal."""
        ...

    @property
    def per(self) -> Ratio | None:
        """Return the ratio by which a difference is split, if there is one."""
        ...

    @property
    def capped(self) -> Mapping[str, Winsorised]:
        """The same metric without its largest values, by how it is called in columns beside the metric's own."""
        ...

    def values(self) -> tuple[str, ...]:
        """SQL expressions that must have a finite value for everybody."""
        ...

    def aggregates(self) -> dict[str, str]:
        """SQL aggregates over people, by the name under which they come back."""
        ...

    def merge(self, rows: Columns) -> dict[str, float]:
        """Aggregates of several groups that do not overlap, from theirs."""
        ...

    def clustered(self) -> Metric:
        """The same where clusters were assigned and not people."""
        ...

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:
        """Of each cell what is summed up, and the sum that it is divided by; ``arm`` is any arm, prepared."""
        ...

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Add to each arm's aggregates what follows from those of all arms."""
        ...

    def arm(self, row: Row, level: float) -> Arm:
        """One arm's value with its interval."""
        ...

    def varies(self, treatment: Row, control: Row) -> bool:
        """Whether there is anything that a test could weigh."""
        ...

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Treatment less control."""
        ...

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Treatment over control, by the same test."""
        ...

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest difference that arms of these sizes find with ``power``."""
        ...


@dataclass(frozen=True)
class Proportion:
    """Share of people for whom ``event``, an SQL condition on a person's row, is true.

    Examples
    --------
    >>> conversion = Proportion("conversion", "orders > 0")
    >>> rows = ({"people": 2000, "conversion_total": 264}, {"people": 2000, "conversion_total": 200})
    >>> round(conversion.difference(*rows, level=0.95).lower, 6)
    0.012188
    """

    name: str
    event: str
    unit: str = "share"
    better: str = "higher"
    needs: tuple[str, ...] = ()
    family: ClassVar[str] = "beta"
    per: ClassVar[None] = None

    @property
    def capped(self) -> Mapping[str, Winsorised]:
        """Nothing: a share has no tail."""
        return {}

    def values(self) -> tuple[str, ...]:
        """Return the condition."""
        return (self.event,)

    def aggregates(self) -> dict[str, str]:
        """Count the people with the event."""
        return {f"{self.name}_total": f"SUM(CASE WHEN {self.event} THEN 1 ELSE 0 END)"}

    def merge(self, rows: Columns) -> dict[str, float]:
        """Add up."""
        return {f"{self.name}_total": float(rows[f"{self.name}_total"].sum())}

    def clustered(self) -> Metric:
        """Return the mean of zeros and ones, since a score test of counts takes people for independent."""
        return ClusteredProportion(self.name, self.event, self.unit, better=self.better, needs=self.needs)

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """People with the event, and people."""
        return cells[f"{self.name}_total"], cells["people"]

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Return them as they are."""
        return dict(arms)

    def _counts(self, row: Row) -> tuple[int, int]:
        return int(row[f"{self.name}_total"]), int(row["people"])

    def arm(self, row: Row, level: float) -> Arm:
        """Rate with Wilson's interval."""
        x, n = self._counts(row)
        limits = proportion_interval(x, n, level).iloc[0]
        error = (x * (n - x) / n**3) ** 0.5
        return Arm(n, x, x / n, float(limits["lower"]), float(limits["upper"]), error)

    def varies(self, treatment: Row, control: Row) -> bool:  # noqa: ARG002 - as for every metric
        """The score test needs no variance."""
        return True

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Miettinen and Nurminen's inverted score test."""
        return proportion_difference(*self._counts(treatment), *self._counts(control), level=level, null=null)

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Invert the same score test on the relative scale."""
        (x1, n1), (x2, n2) = self._counts(treatment), self._counts(control)
        if x1 == x2 == 0:
            return Effect(NAN, NAN, NAN, 1.0, "miettinen-nurminen", level, 1.0)
        return proportion_ratio(x1, n1, x2, n2, level=level)

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest rise over the control's rate."""
        (_, n1), (x2, n2) = self._counts(treatment), self._counts(control)
        return detectable_difference(x2 / n2, n1, n2, power, alpha)


@dataclass(frozen=True)
class Mean:
    """Mean per person of ``value``, an SQL expression of a person's row; people without it count as its zero.

    Attributes
    ----------
    capped : mapping of str to Winsorised
        What is shown beside it, by label.
    per : Ratio, optional
        The same sum per something else, such as per buyer, by which a difference is split.
    method : str
        How arms are compared, as in :func:`clvlib.stats.means.mean_difference`. ``"guarded"`` since money has a heavy
        tail: it is Welch's test for arms of one size, and covers where that does not when one arm is much smaller.
    better : str
        Which way is good, ``"higher"`` or ``"lower"``.
    needs : tuple of str
        Tables, or columns written ``table.column``, without which it cannot be measured.

    Examples
    --------
    >>> revenue = Mean("revenue", "revenue")
    >>> sorted(revenue.aggregates())
    ['revenue_mean', 'revenue_variance']
    """

    name: str
    value: str
    unit: str = "money"
    capped: Mapping[str, Winsorised] = field(default_factory=dict)
    per: Ratio | None = None
    method: str = "guarded"
    better: str = "higher"
    needs: tuple[str, ...] = ()
    family: ClassVar[str] = "normal"

    def values(self) -> tuple[str, ...]:
        """Return the value."""
        return (self.value,)

    def aggregates(self) -> dict[str, str]:
        """Mean and sample variance."""
        wanted = {f"{self.name}_mean": f"AVG({self.value})", f"{self.name}_variance": f"VAR_SAMP({self.value})"}
        for other in self._others:
            wanted |= other.aggregates()
        return wanted

    @property
    def _others(self) -> list[Mean]:
        return [*self.capped.values(), *([] if self.per is None else [self.per])]

    def merge(self, rows: Columns) -> dict[str, float]:
        """Join means and variances (Chan, Golub & LeVeque 1983)."""
        n, mean = rows["people"], rows[f"{self.name}_mean"]
        mean_all = float(np.average(mean, weights=n))
        joined = {f"{self.name}_mean": mean_all} | self._spread(rows, rows[f"{self.name}_variance"], mean - mean_all)
        for other in self._others:
            joined |= other.merge(rows)
        return joined

    def _spread(self, rows: Columns, within: NDArray[np.float64], distance: NDArray[np.float64]) -> dict[str, float]:
        """Joint variance; of clusters also how often it is that of as many independent people."""
        variance = covariance(rows, within, distance, distance)
        spread = {f"{self.name}_variance": variance}
        if "cluster" in rows:
            alone = covariance({"people": rows["people"]}, within, distance, distance)
            spread[f"{self.name}_design_effect"] = variance / alone if alone > 0 else NAN
        return spread

    def clustered(self) -> Metric:
        """Return itself: its joint variance is that of clusters wherever its aggregates are."""
        return self

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """Sum of the values, and people."""
        return cells["people"] * cells[f"{self.name}_mean"], cells["people"]

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Return them as they are, with what the split needs."""
        return dict(arms) if self.per is None else self.per.prepare(arms)

    def _moments(self, row: Row) -> Moments:
        """Moments of the independent units: of people, or of clusters that err as much together."""
        people, mean = float(row["people"]), float(row[f"{self.name}_mean"])
        clusters = row.get("clusters", 0)
        n = people if clusters == 0 else 1.0 if clusters == 1 else float(row["freedom"]) + 1
        return Moments(n, mean, float(row[f"{self.name}_variance"]) * n / people if n > 1 else 0.0)

    def arm(self, row: Row, level: float) -> Arm:
        """Mean with Student's interval."""
        m = self._moments(row)
        lower = upper = NAN
        if m.variance > 0:
            interval = mean_interval(m, level)
            lower, upper = interval.lower, interval.upper
        n = int(row["people"])
        return Arm(n, m.mean * n, m.mean, lower, upper, m.squared_error**0.5)

    def varies(self, treatment: Row, control: Row) -> bool:
        """Whether both have at least two people (clusters), and anybody differs from the others."""
        first, second = self._moments(treatment), self._moments(control)
        return min(first.n, second.n) >= 2 and first.variance + second.variance > 0

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Compare by Welch's test or its guarded form; without any variance there is none, and a warning says so."""
        first, second = self._moments(treatment), self._moments(control)
        if not self.varies(treatment, control):
            warnings.warn(
                tr(
                    "{metric}: no interval for {value:g} against {control:g}, since nothing varies within arms of "
                    "{n:,} and {control_n:,} people",
                    metric=tr(self.name),
                    value=first.mean,
                    control=second.mean,
                    n=int(treatment["people"]),
                    control_n=int(control["people"]),
                ),
                ThinDataWarning,
                stacklevel=2,
            )
            return Effect(first.mean - second.mean, NAN, NAN, 1.0, "none", level, null)
        return mean_difference(first, second, level, null=null, method=self.method)

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Fieller's interval, which inverts the same test; missing where the control's mean may be zero."""
        first, second = self._moments(treatment), self._moments(control)
        try:
            return mean_ratio(first, second, level, method=self.method)
        except ValueError:
            estimate = first.mean / second.mean if second.mean else NAN
            return Effect(estimate, NAN, NAN, 1.0, "none", level, 1.0)

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest difference at the variances seen."""
        if not self.varies(treatment, control):
            return NAN
        error, _ = difference_error(self._moments(treatment), self._moments(control), self.method)
        return detectable_mean_difference(error, power, alpha)


@dataclass(frozen=True)
class Winsorised(Mean):
    """Mean per person of what is left of ``value`` when all above ``cap`` count as ``cap``, one for all arms.

    What a few large orders decide is no longer seen; so it stands beside the mean itself and not in its place.

    Attributes
    ----------
    cap : str
        SQL expression, the same for everybody.
    """

    cap: str = "revenue_p99"

    def aggregates(self) -> dict[str, str]:
        """Mean, sample variance and the cap."""
        capped = f"LEAST({self.value}, {self.cap})"
        return Mean(self.name, capped).aggregates() | {f"{self.name}_cap": f"MAX({self.cap})"}

    def merge(self, rows: Columns) -> dict[str, float]:
        """Join means and variances."""
        return super().merge(rows) | {f"{self.name}_cap": float(rows[f"{self.name}_cap"].max())}


@dataclass(frozen=True)
class _Pair(Mean):
    """A mean that is made of two columns, by their means, variances and covariance."""

    parts: ClassVar[tuple[str, str]] = ("y", "x")

    def _columns(self) -> tuple[str, str]:
        """Both as SQL expressions of a person's row."""
        raise NotImplementedError

    def values(self) -> tuple[str, ...]:
        """Both columns."""
        return self._columns()

    def aggregates(self) -> dict[str, str]:
        """Means, sample variances and covariance."""
        y, x = self._columns()
        wanted: dict[str, str] = {}
        for part, value in zip(self.parts, (y, x), strict=True):
            wanted |= {
                f"{self.name}_{part}_mean": f"AVG({value})",
                f"{self.name}_{part}_variance": f"VAR_SAMP({value})",
            }
        return wanted | {f"{self.name}_covariance": f"COVAR_SAMP({y}, {x})"}

    def merge(self, rows: Columns) -> dict[str, float]:
        """Join means, variances and covariances."""
        n, names = rows["people"], [f"{self.name}_{part}" for part in self.parts]
        means = [float(np.average(rows[f"{name}_mean"], weights=n)) for name in names]
        distances = [rows[f"{name}_mean"] - mean for name, mean in zip(names, means, strict=True)]
        joined = {f"{self.name}_covariance": covariance(rows, rows[f"{self.name}_covariance"], *distances)}
        for name, mean, distance in zip(names, means, distances, strict=True):
            variance = covariance(rows, rows[f"{name}_variance"], distance, distance)
            joined |= {f"{name}_mean": mean, f"{name}_variance": variance}
        return joined

    def _joint(self, arms: Mapping[str, Row]) -> dict[str, NDArray[np.float64]]:
        """Return a figure per arm: ``n``, ``y``, ``x``, ``vy``, ``vx``, ``c``; variances that are missing are none."""
        y, x = (f"{self.name}_{part}" for part in self.parts)
        keys = {"n": "people", "y": f"{y}_mean", "x": f"{x}_mean"}
        spreads = {"vy": f"{y}_variance", "vx": f"{x}_variance", "c": f"{self.name}_covariance"}
        found = {
            short: np.array([row.get(key, NAN) for row in arms.values()], dtype=float)
            for short, key in (keys | spreads).items()
        }
        return found | {short: np.nan_to_num(found[short]) for short in spreads}

    def _added(self, arms: Mapping[str, Row], **figures: NDArray[np.float64] | float) -> dict[str, Row]:
        more = {f"{self.name}_{key}": np.broadcast_to(values, len(arms)).tolist() for key, values in figures.items()}
        return {
            arm: {**row, **{key: values[place] for key, values in more.items()}}
            for place, (arm, row) in enumerate(arms.items())
        }


@dataclass(frozen=True)
class Adjusted(_Pair):
    """Mean per person less what a covariate from before the assignment explains (CUPED; Deng et al. 2013).

    The covariate is no consequence of the arm, so the difference means the same and only its error shrinks: by the
    squared correlation of the two. One slope serves all arms.

    Attributes
    ----------
    covariate : str
        SQL expression of a person's row, known before the assignment: what they spent, what a model expected of them.
    """

    parts: ClassVar[tuple[str, str]] = ("raw", "before")
    covariate: str = "revenue_before"

    def _columns(self) -> tuple[str, str]:
        return self.value, self.covariate

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Add the adjusted mean and variance of each arm, and the share of the variance that is gone."""
        m = self._joint(arms)
        spread = float(((m["n"] - 1) * m["vx"]).sum())
        slope = float(((m["n"] - 1) * m["c"]).sum()) / spread if spread > 0 else 0.0
        mean = m["y"] - slope * (m["x"] - np.average(m["x"], weights=m["n"]))
        variance = np.maximum(m["vy"] - 2 * slope * m["c"] + slope * slope * m["vx"], 0.0)
        raw = float(((m["n"] - 1) * m["vy"]).sum())
        gone = 1 - float(((m["n"] - 1) * variance).sum()) / raw if raw > 0 else 0.0
        return self._added(arms, mean=mean, variance=variance, reduction=gone, slope=slope)

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:
        """Sum of the values less what the covariate explains, up to a constant per person."""
        name = self.name
        explained = float(arm[f"{name}_slope"]) * cells[f"{name}_before_mean"]
        return cells["people"] * (cells[f"{name}_raw_mean"] - explained), cells["people"]


@dataclass(frozen=True)
class Ratio(_Pair):
    """Sum of ``value`` over that of ``denominator``, such as spend per order, where it was people who were assigned.

    Its error comes from the delta method (Deng, Knoblich & Lu 2018, section 3): that of ``(y - R x) / mean(x)``.

    Attributes
    ----------
    denominator : str
        SQL expression of a person's row.
    counts : str
        What the denominator counts, such as orders or buyers.

    Examples
    --------
    >>> basket = Ratio("basket", "revenue", denominator="orders")
    >>> row = {"people": 1000, "basket_numerator_mean": 30, "basket_denominator_mean": 1.5, "basket_covariance": 20}
    >>> row |= {"basket_numerator_variance": 900, "basket_denominator_variance": 1}
    >>> ready = basket.prepare({"A": row})["A"]
    >>> ready["basket_mean"], round(ready["basket_variance"], 2)
    (20.0, 222.22)
    """

    parts: ClassVar[tuple[str, str]] = ("numerator", "denominator")
    denominator: str = "orders"
    counts: str = "orders"

    def _columns(self) -> tuple[str, str]:
        return self.value, self.denominator

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Add each arm's ratio and its variance; without a denominator both are nothing."""
        m = self._joint(arms)
        x = np.where(m["x"] != 0, m["x"], np.nan)
        ratio = np.nan_to_num(m["y"] / x)
        variance = np.nan_to_num(np.maximum(m["vy"] - 2 * ratio * m["c"] + ratio**2 * m["vx"], 0.0) / x**2)
        return self._added(arms, mean=ratio, variance=variance)

    def arm(self, row: Row, level: float) -> Arm:
        """Ratio with Student's interval; the total is the numerator's."""
        arm = replace(super().arm(row, level), total=float(row[f"{self.name}_numerator_mean"]) * int(row["people"]))
        return arm if row[f"{self.name}_denominator_mean"] else replace(arm, value=NAN)

    def varies(self, treatment: Row, control: Row) -> bool:
        """Whether both have a denominator, and anything varies."""
        there = treatment[f"{self.name}_denominator_mean"] and control[f"{self.name}_denominator_mean"]
        return bool(there) and super().varies(treatment, control)

    def split(self, treatment: Row, control: Row, level: float) -> dict[str, Effect]:
        """Split the difference of the numerator's mean into what the denominator and what the ratio brought.

        With ``p`` the denominator per person and ``s`` the ratio, a person brings ``p s``, and ``p1 s1 - p0 s0`` is
        exactly ``(p1 - p0) (s1 + s0) / 2`` and ``(s1 - s0) (p1 + p0) / 2``; errors by the delta method.
        """
        figures, variances = [], []
        for row in (treatment, control):
            n, x = float(row["people"]), float(row[f"{self.name}_denominator_mean"])
            vx, c = float(row[f"{self.name}_denominator_variance"]), float(row[f"{self.name}_covariance"])
            s = float(row[f"{self.name}_mean"])
            cross = (c - s * vx) / x
            figures.append((x, s))
            variances.append(np.array([[vx, cross], [cross, float(row[f"{self.name}_variance"])]]) / n)
        (p1, s1), (p0, s0) = figures
        dp, ds, p, s = p1 - p0, s1 - s0, (p1 + p0) / 2, (s1 + s0) / 2
        z = float(-special.ndtri((1 - level) / 2))
        effects = []
        for estimate, slopes in ((dp * s, ([s, dp / 2], [-s, dp / 2])), (ds * p, ([ds / 2, p], [ds / 2, -p]))):
            error = float(sum(np.array(g) @ v @ np.array(g) for g, v in zip(slopes, variances, strict=True))) ** 0.5
            p_value = float(2 * special.ndtr(-abs(estimate) / error)) if error > 0 else 1.0
            effects.append(Effect(estimate, estimate - z * error, estimate + z * error, p_value, "delta", level))
        return {self.counts: effects[0], self.name: effects[1]}

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """Sums of numerator and denominator."""
        sums = [cells["people"] * cells[f"{self.name}_{part}_mean"] for part in self.parts]
        return sums[0], sums[1]


@dataclass(frozen=True)
class ClusteredProportion(Mean):
    """Share of people for whom ``value``, an SQL condition, is true, where clusters of them were assigned.

    The cluster-robust mean of zeros and ones; an arm with too few successes to vary between clusters has no interval.
    """

    unit: str = "share"

    def aggregates(self) -> dict[str, str]:
        """Count the people with the event."""
        return Proportion(self.name, self.value).aggregates()

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """People with the event, and people."""
        return cells[f"{self.name}_total"], cells["people"]

    def merge(self, rows: Columns) -> dict[str, float]:
        """Mean and variance of zeros and ones follow from the counts."""
        name, n = self.name, rows["people"]
        share = rows[f"{name}_total"] / n
        total = float(rows[f"{name}_total"].sum())
        mean = total / float(n.sum())
        within = share * (1 - share) * n / np.maximum(n - 1, 1)
        return {f"{name}_total": total, f"{name}_mean": mean} | self._spread(rows, within, share - mean)


def covariance(rows: Columns, within: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Sample covariance of two columns over the union of groups, such that ``/ people`` gives that of their means.

    Parameters
    ----------
    rows : mapping of str to array
        ``people`` of each group; and ``cluster``, the number of the cluster that a group is part of, or -1 for people
        who were assigned one by one. With it, the covariance of the means is that of ratios of cluster totals by the
        delta method (Liang & Zeger 1986), each cluster's square enlarged for what it pulled the mean towards itself, as
        :class:`Clusters` says.
    within : array
        Sample covariance within each group.
    a, b : array
        Distances of each group's means from those of the union.
    """
    n = rows["people"]
    squares = (n - 1) * np.where(n > 1, within, 0.0) + n * a * b
    total = float(n.sum())
    if "cluster" not in rows:
        return float(squares.sum()) / (total - 1) if total > 1 else NAN
    clusters = Clusters.of(rows)
    if clusters.number <= 1:
        return NAN
    together = rows["cluster"] >= 0
    codes = rows["cluster"][together].astype(int)
    sums = [np.bincount(codes, (n * distance)[together], len(clusters.share)) for distance in (a, b)]
    alone = float(squares[~together].sum() / clusters.spread(np.array(1 / total)))
    return (alone + float((sums[0] * sums[1] / clusters.spread(clusters.share)).sum())) / total


@dataclass(frozen=True)
class Clusters:
    """The clusters of an arm, and what their number is worth.

    A large cluster pulls the arm's mean towards itself, so that its own distance from it is too small, and a few large
    ones know less than as many of one size. Both are put right as Bell & McCaffrey (2002) do, for clusters whose people
    resemble one another: the worst case, and of clusters of one size what G / (G - 1) and G - 1 degrees of freedom are.

    Attributes
    ----------
    share : array
        Share of the arm's people that each cluster has.
    alone, people : float
        People who belong to no cluster, each one of his own; and all.
    """

    share: NDArray[np.float64]
    alone: float
    people: float

    @classmethod
    def of(cls, rows: Columns) -> Clusters:
        """Read them from groups; see :func:`covariance`."""
        n, together = rows["people"], rows["cluster"] >= 0
        people = float(n.sum())
        sizes = np.bincount(rows["cluster"][together].astype(int), n[together])
        return cls(sizes / people, float(n[~together].sum()), people)

    @property
    def number(self) -> float:
        """Of clusters, and people who belong to none."""
        return float((self.share > 0).sum()) + self.alone

    def _sum(self, power: int) -> float:
        return float((self.share**power).sum()) + self.alone / self.people**power

    def spread(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of the distance of a cluster's mean from the arm's, where cluster means have variance 1."""
        return 1 - 2 * share + self._sum(2)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the arm's squared error, after Satterthwaite; missing for a single cluster."""
        if self.number <= 1:
            return NAN
        q = self._sum(2)
        share = np.append(self.share, 1 / self.people)
        count = np.append(np.ones(len(self.share)), self.alone)
        weight = share**2 / self.spread(share)
        s0, s1, s2 = (float((count * weight * share**k).sum()) for k in range(3))
        own = float((count * weight**2 * (1 + 2 * q - 4 * share)).sum())
        spread = q * q * s0 * s0 + 2 * s0 * s2 - 4 * q * s0 * s1 + 2 * s1 * s1 + own
        return max(1.0, float(q * q / spread))  # at least 1, but for rounding


# what an experiment on orders can be judged by
METRICS: dict[str, Metric] = {
    "conversion": Proportion(mark("conversion"), "orders > 0"),
    "revenue": Mean(
        mark("revenue"),
        "revenue",
        capped={
            "p99": Winsorised("revenue p99", "revenue", cap="revenue_p99"),
            "p99_9": Winsorised("revenue p99.9", "revenue", cap="revenue_p99_9"),
        },
        per=Ratio(
            mark("spend per buyer"),
            "revenue",
            denominator="CASE WHEN orders > 0 THEN 1.0 ELSE 0.0 END",
            counts=mark("buyers"),
        ),
    ),
    "adjusted revenue": Adjusted(mark("adjusted revenue"), "revenue"),
}

# what must not rise for it; not every shop has the tables
GUARDRAILS: dict[str, Metric] = {
    "refund share": Ratio(
        mark("refund share"),
        "refunded",
        unit="share",
        denominator="gross",
        counts=mark("orders"),
        better="lower",
        needs=("orders.amount", "orders.net_amount"),
    ),
    "complaint rate": Proportion(mark("complaint rate"), "complaints > 0", better="lower", needs=("complaints",)),
}
