"""Metrics of an experiment: each declares the aggregates that it needs and compares arms by these alone.

A metric never sees a person. It names SQL aggregates over one row per person (columns ``orders``, ``revenue``), which
are fetched for all metrics in one query, and reads them back from one row per arm.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from clvlib.errors import ThinDataWarning
from clvlib.stats.effect import Effect
from clvlib.stats.means import Moments, mean_difference, mean_interval, mean_ratio
from clvlib.stats.proportions import proportion_difference, proportion_interval, proportion_ratio
from clvlib.stats.sampling import detectable_difference, detectable_mean_difference

__all__ = ["METRICS", "Arm", "Mean", "Metric", "Proportion"]

Row = Mapping[str, Any]
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
    """

    n: int
    total: float
    value: float
    lower: float
    upper: float


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

    def aggregates(self) -> dict[str, str]:
        """SQL aggregates over people, by the name under which they come back."""
        ...

    def arm(self, row: Row, level: float) -> Arm:
        """One arm's value with its interval."""
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

    def aggregates(self) -> dict[str, str]:
        """Count the people with the event."""
        return {f"{self.name}_total": f"SUM(CASE WHEN {self.event} THEN 1 ELSE 0 END)"}

    def _counts(self, row: Row) -> tuple[int, int]:
        return int(row[f"{self.name}_total"]), int(row["people"])

    def arm(self, row: Row, level: float) -> Arm:
        """Rate with Wilson's interval."""
        x, n = self._counts(row)
        limits = proportion_interval(x, n, level).iloc[0]
        return Arm(n, x, x / n, float(limits["lower"]), float(limits["upper"]))

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

    Examples
    --------
    >>> revenue = Mean("revenue", "revenue")
    >>> sorted(revenue.aggregates())
    ['revenue_mean', 'revenue_variance']
    """

    name: str
    value: str
    unit: str = "money"

    def aggregates(self) -> dict[str, str]:
        """Mean and sample variance."""
        return {f"{self.name}_mean": f"AVG({self.value})", f"{self.name}_variance": f"VAR_SAMP({self.value})"}

    def _moments(self, row: Row) -> Moments:
        n = int(row["people"])
        return Moments(n, float(row[f"{self.name}_mean"]), float(row[f"{self.name}_variance"]) if n > 1 else 0.0)

    def arm(self, row: Row, level: float) -> Arm:
        """Mean with Student's interval."""
        m = self._moments(row)
        lower = upper = NAN
        if m.variance > 0:
            interval = mean_interval(m, level)
            lower, upper = interval.lower, interval.upper
        return Arm(int(m.n), m.mean * m.n, m.mean, lower, upper)

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Welch's test; without any variance there is no test, and a warning says so."""
        first, second = self._moments(treatment), self._moments(control)
        if min(first.n, second.n) < 2 or first.variance + second.variance == 0:
            warnings.warn(
                f"{self.name}: no interval for {first.mean:g} against {second.mean:g}, since nothing varies within "
                f"arms of {first.n:,} and {second.n:,} people",
                ThinDataWarning,
                stacklevel=2,
            )
            return Effect(first.mean - second.mean, NAN, NAN, 1.0, "none", level, null)
        return mean_difference(first, second, level, null=null)

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Fieller's interval, which inverts the same test; missing where the control's mean may be zero."""
        first, second = self._moments(treatment), self._moments(control)
        try:
            return mean_ratio(first, second, level)
        except ValueError:
            estimate = first.mean / second.mean if second.mean else NAN
            return Effect(estimate, NAN, NAN, 1.0, "none", level, 1.0)

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest difference at the variances seen."""
        error = self._moments(treatment).squared_error + self._moments(control).squared_error
        return detectable_mean_difference(error, power, alpha) if error > 0 else NAN


# what an experiment on orders can be judged by
METRICS: dict[str, Metric] = {
    "conversion": Proportion("conversion", "orders > 0"),
    "revenue": Mean("revenue", "revenue"),
}
